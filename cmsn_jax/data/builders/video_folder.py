"""TFDS builder: any folder of videos with an ActivityNet JSON.

    builder = tfds.builder('video_folder', config=video_folder.Config(
        name='mine', videos='clips/', annotations='mine.json'))
    builder.download_and_prepare()
    builder.frame_store().read('some_id', 0, 768)   # uint8 [768, 128, 171, 3]

Frames are decoded once into a frame store beside the data set: random access
by window, resumed where it was interrupted, which TFDS's own files are not.
The TFDS part holds one example a video: its segments, labels and length
(seconds in float32, which is what TFDS's files keep).
"""

import dataclasses
import os
import pathlib

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # it greets on stderr

import numpy as np  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
from absl import logging  # noqa: E402

from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.video import frame_store, frame_store_build, video_files


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """One folder of videos.

  Attributes:
    videos: folder; file names without suffix are the video ids.
    annotations: ActivityNet JSON. Only videos it names are decoded.
    frames: rate, size and encoding of the stored frames.
    allow_missing: leave out, with a message, annotated videos that are absent
      or cannot be decoded; else they are an error, after all others are done.
    num_workers: videos decoded at a time; None: one a core.
  """

  videos: str = ''
  annotations: str = ''
  frames: frame_store.Format = frame_store.Format()
  allow_missing: bool = False
  num_workers: int | None = None


class VideoFolder(tfds.core.GeneratorBasedBuilder):
  """One example a video, and `frame_store()` with all their frames."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIG_CLASS = Config

  def frame_store(self) -> frame_store.FrameStore:
    """The decoded frames, by video id."""
    return frame_store.FrameStore(self.frames_folder)

  @property
  def frames_folder(self) -> pathlib.Path:
    """Where the frames of this configuration are."""
    made = self.builder_config.frames
    height, width = made.size
    kind = made.encoding + (
      str(made.quality) if made.encoding == 'jpeg' else ''
    )
    name = f'frames_{made.fps:g}fps_{height}x{width}_{kind}'
    return pathlib.Path(self.data_dir).parent / name

  def sources(
    self, dl_manager: tfds.download.DownloadManager
  ) -> tuple[annotations_lib.Annotations, dict[str, pathlib.Path]]:
    """(annotations, video files by id).

    Raises:
      ValueError: where the paths are not given.
    """
    del dl_manager
    config = self.builder_config
    if config is None or not config.videos or not config.annotations:
      raise ValueError(
        "'video_folder' needs its paths: tfds.builder('video_folder', "
        'config=video_folder.Config(name=…, videos=…, annotations=…))'
      )
    return (
      annotations_lib.read(config.annotations),
      video_files.find_videos(config.videos),
    )

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=type(self).__doc__,
      features=tfds.features.FeaturesDict(
        {
          'video_id': tfds.features.Text(),
          'duration_sec': np.float64,
          'num_frames': np.int64,
          'fps': np.float64,
          'segments': tfds.features.Tensor(shape=(None, 2), dtype=np.float64),
          'labels': tfds.features.Sequence(tfds.features.Text()),
        }
      ),
    )

  def _split_generators(self, dl_manager):
    truth, files = self.sources(dl_manager)
    wanted = {i: files[i] for i in truth.videos if i in files}
    lost = {i: 'no such file' for i in truth.videos if i not in files}
    if not wanted:
      raise ValueError(
        f'none of the {len(truth.videos)} annotated videos has a file; ids '
        f'are file names without suffix: annotated {next(iter(lost), None)!r}, '
        f'found {next(iter(files), None)!r}'
      )
    config = self.builder_config
    report = frame_store_build.build(
      self.frames_folder, wanted, config.frames, num_workers=config.num_workers
    )
    lost |= report.failed
    if lost:
      words = '; '.join(f'{i}: {why}' for i, why in sorted(lost.items())[:5])
      message = (
        f'{len(lost)} of {len(truth.videos)} videos are missing: {words}'
      )
      if not config.allow_missing:
        raise ValueError(
          f'{message}; add them and call again, which decodes only what is '
          'new, or set allow_missing'
        )
      logging.warning('left out: %s', message)
    usable = {i: v for i, v in truth.videos.items() if i not in lost}
    return {
      subset: self._generate_examples(
        [v for v in usable.values() if v.subset == subset]
      )
      for subset in annotations_lib.SUBSETS
      if any(v.subset == subset for v in usable.values())
    }

  def _generate_examples(self, videos):
    store = self.frame_store()
    for video in videos:
      yield (
        video.video_id,
        {
          'video_id': video.video_id,
          'duration_sec': video.duration_sec,
          'num_frames': store.num_frames(video.video_id),
          'fps': store.fps,
          'segments': video.segments,
          'labels': list(video.labels),
        },
      )
