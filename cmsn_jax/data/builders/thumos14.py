"""TFDS builder: THUMOS14 from videos and annotations downloaded by hand.

    builder = tfds.builder('thumos14')   # after importing this module
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir='thumos14/'))

The folder holds the videos, at any depth, and the original annotation folders
(`<Class>_val.txt`, `<Class>_test.txt`) or an ActivityNet JSON made of them,
`annotations.json`. Of the thousands of test videos only the annotated 213 are
decoded. At 25 frames a second and 128 x 171 those 213 are 1.1 million frames
(12.5 hours), about 8 GB as JPEG; what is needed is logged before decoding.
"""

import pathlib

import tensorflow_datasets as tfds

from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.annotations import importers
from cmsn_jax.annotations import lengths as video_lengths
from cmsn_jax.data.builders import video_folder
from cmsn_jax.video import decoding, video_files


class Thumos14(video_folder.VideoFolder):
  """THUMOS14's untrimmed videos with temporal annotations of 20 sports.

  Its validation set is the subset "training", its test set "testing".
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Put the THUMOS14 validation and test videos (video_validation_*.mp4, '
    'video_test_*.mp4) and the temporal annotation folders into manual_dir.'
  )
  BUILDER_CONFIGS = [video_folder.Config(name='25fps')]

  def sources(
    self, dl_manager: tfds.download.DownloadManager
  ) -> tuple[annotations_lib.Annotations, dict[str, pathlib.Path]]:
    """(annotations, video files by id) in the manual folder.

    Raises:
      ValueError: where two files are of one video.
    """
    folder = pathlib.Path(dl_manager.manual_dir)
    files = {}
    for file in sorted(folder.rglob('video_*')):
      if file.suffix.lower() not in video_files.SUFFIXES:
        continue
      if file.stem in files:
        raise ValueError(
          f'{files[file.stem]} and {file} are the same video; remove one'
        )
      files[file.stem] = file
    document = folder / 'annotations.json'
    if document.exists():
      return annotations_lib.read(document), files
    lengths = {}
    for video_id, file in files.items():
      try:
        info = decoding.probe(file)
      except decoding.VideoError:
        continue  # reported when it is to be decoded
      lengths[video_id] = video_lengths.Length(info.duration_sec, info.fps)
    return importers.thumos14(folder, lengths=lengths), files
