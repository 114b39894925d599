"""What a run trains and chooses on: annotations joined with their snippets."""

import dataclasses
import pathlib
import re
import sys
import warnings
from collections.abc import Iterable
from typing import Any

import ml_collections
import numpy as np
from absl import logging
from jaxtyping import Float, Int

from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.data import feature_checks, feature_timing, sources
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.data.synthetic import features
from cmsn_jax.files import feature_concat, feature_rates
from cmsn_jax.stages import targets as stage_targets
from cmsn_jax.video import video_files

# The one that data may lack: configs/default.py names it, whatever the data.
_EVAL_SUBSET = 'validation'


class MissingVideoWarning(UserWarning):
  """Annotated videos have no features or frames and are left out."""


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """Videos of a run and where their snippets come from.

  Attributes:
    annotations: the whole file, without excluded labels.
    train: videos to learn from, by id.
    held_out: videos to choose on, by id; may be empty.
    source: gives snippets of any of them.
    pool: rows of a feature file averaged into one snippet.
    file_fps: rows a second in the feature files (features only).
    sidecar: what the feature folder says of itself, or None.
    timing: how the rows of feature files lie in time (features only).
  """

  annotations: annotations_lib.Annotations
  train: dict[str, annotations_lib.Video]
  held_out: dict[str, annotations_lib.Video]
  source: Any
  pool: int = 1
  file_fps: float = 0.0
  sidecar: dict | None = None
  timing: feature_timing.Timing | None = None

  def grid_segments(self, video_id: str) -> Float[np.ndarray, 'n 2']:
    """A training video's instances in seconds of the source's grid.

    These times `source.feature_fps` are snippets, whatever the video's clock.
    """
    clock = sources.clock(self.source, video_id)
    return clock.to_grid(self.train[video_id].segments)


def open_data(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> TrainingData:
  """Opens what `config.data` names.

  Annotations "generated:NxS" stand for N generated sequences of S seconds,
  written to the workdir, so that a run needs no files.

  Raises:
    ValueError: see `open_features`.
  """
  config = config.copy_and_resolve_references()
  name = config.data.annotations
  if name.startswith('generated:'):
    generated = re.fullmatch(r'generated:(\d+)x(\d+)', name)
    if not generated:
      raise ValueError(
        "config.data.annotations must be a path or 'generated:NxS' (N videos "
        f'of S seconds), got {name!r}'
      )
    count, seconds = (int(text) for text in generated.groups())
    folder = workdir / 'generated'
    logging.warning(
      'no data are given: %d generated sequences of %d s take their place',
      count, seconds,
    )  # fmt: skip
    maker = features
    if config.data.input == 'video':
      from cmsn_jax.data.synthetic import video as maker
    config.data.annotations = str(
      maker.generate(folder, num_videos=count, duration_sec=float(seconds))
    )
    config.data.features = str(folder / 'features')
    config.data.videos = str(folder / 'videos')
  if config.data.input == 'video':
    return open_video(config, workdir)
  return open_features(config)


def open_video(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> TrainingData:
  """Joins annotations and frames, which are decoded here once.

  Raises:
    ValueError: where paths are missing, or videos cannot be decoded.
  """
  from cmsn_jax.data import frame_source
  from cmsn_jax.features.backbones import c3d
  from cmsn_jax.video import frame_store, frame_store_build

  data = config.data
  annotations = _annotations(data, 'videos')
  train, held_out = split(
    annotations, data.train_subset, data.eval_subset, data.holdout
  )
  found = video_files.find_videos(data.videos)
  train = _present(train, found, data.allow_missing, data.videos)
  held_out = _present(held_out, found, data.allow_missing, data.videos)
  folder = pathlib.Path(data.frames_cache or workdir / 'frames')
  wanted = {video_id: found[video_id] for video_id in {**train, **held_out}}
  report = frame_store_build.build(
    folder,
    wanted,
    frame_store.Format(fps=config.video.fps, size=tuple(config.video.size)),
    progress=sys.stderr.isatty(),
  )
  if report.failed and not data.allow_missing:
    raise ValueError(
      f'{len(report.failed)} of {len(wanted)} videos cannot be decoded: '
      + '; '.join(list(report.failed.values())[:3])
      + '; mend them, or set --config.data.allow_missing=True'
    )
  train = {k: v for k, v in train.items() if k not in report.failed}
  held_out = {k: v for k, v in held_out.items() if k not in report.failed}
  source = frame_source.FrameSource(
    frame_store.FrameStore(folder),
    stride=c3d.STRIDE_FRAMES,
    crop=tuple(config.video.crop),
    random_crop=config.video.random_crop,
    random_flip=config.video.random_flip,
  )
  feature_checks.check_lengths(
    {v: source.num_snippets(v) for v in wanted if v not in report.failed},
    {k: v.duration_sec for k, v in {**train, **held_out}.items()},
    feature_rates.Grid(source.feature_fps),
    data.videos,
  )
  return TrainingData(
    annotations, train, held_out, source, file_fps=source.feature_fps
  )


def _annotations(data, kind):
  for key in ('annotations', kind):
    if not data[key]:
      raise ValueError(f'config.data.{key} is empty; give its path')
  annotations = annotations_lib.read(data.annotations)
  if data.exclude_labels:
    annotations = annotations.without_labels(tuple(data.exclude_labels))
  return annotations


def open_features(config: ml_collections.ConfigDict) -> TrainingData:
  """Joins annotations and feature files, and checks that they fit.

  Raises:
    ValueError: where paths are missing, videos lack features, the rate is
      unknown or does not fit a video's duration.
  """
  data = config.data
  annotations = _annotations(data, 'features')
  store = feature_concat.open_features(
    data.features, key=data.feature_key or None
  )
  train, held_out = split(
    annotations, data.train_subset, data.eval_subset, data.holdout
  )
  train = _present(train, store.ids, data.allow_missing, data.features)
  held_out = _present(held_out, store.ids, data.allow_missing, data.features)
  videos = {**train, **held_out}
  timing = feature_timing.resolve(
    feature_timing.stated(data), store.sidecar, videos
  )
  durations = {k: v.duration_sec for k, v in videos.items()}
  feature_checks.check(
    store,
    durations,
    timing,
    from_video='extractor' in (store.sidecar or {}),
  )
  fps = feature_timing.typical_rate(timing, store, videos)
  if timing.line():
    logging.info('%s', timing.line())
  store = feature_timing.on_grid(store, timing)
  plain = TrainingData(
    annotations, train, held_out,
    feature_timing.source(store, fps, timing, durations),
  )  # fmt: skip
  pool = data.pool or pool_factor(
    map(plain.grid_segments, train), fps, data.target_snippets
  )
  logging.info(
    '%d training and %d held-out videos, %d-dimensional features at %g '
    'snippets a second, %d pooled into one',
    len(train), len(held_out), store.dim, fps, pool,
  )  # fmt: skip
  statistics = None
  if data.standardize:
    statistics = sources.statistics_of(
      store, train, pool, data.pool_deviation, quantiles=data.normal_scores
    )
  source = feature_timing.source(
    store,
    fps,
    timing,
    durations,
    pool=pool,
    deviation=data.pool_deviation,
    statistics=statistics,
  )
  return TrainingData(
    annotations, train, held_out, source, pool, fps, store.sidecar, timing
  )


def split(
  annotations: annotations_lib.Annotations,
  train_subset: str,
  eval_subset: str,
  holdout: float,
) -> tuple[dict[str, annotations_lib.Video], dict[str, annotations_lib.Video]]:
  """Training videos and those to choose on.

  Where no video is in the subset 'validation', which `eval_subset` is unless it
  is set, every 1/holdout-th training video, in the order of their names, is
  held out instead.

  Raises:
    ValueError: if there is no training video or no training instance, or no
      video in an `eval_subset` other than 'validation'.
  """
  train = {}
  if train_subset:
    train = _subset(annotations, 'train_subset', train_subset)
  subsets = {video.subset for video in annotations.videos.values()}
  held_out = {}
  if eval_subset in subsets or eval_subset not in ('', _EVAL_SUBSET):
    held_out = _subset(annotations, 'eval_subset', eval_subset)
  elif holdout > 0 and len(train) > 1:
    every = max(2, round(1 / holdout))
    names = sorted(train)[every // 2 :: every]
    held_out = {name: train[name] for name in names}
    train = {k: v for k, v in train.items() if k not in held_out}
    logging.info(
      'no %r videos: %d of the %r videos are held out to choose on: %s',
      eval_subset, len(held_out), train_subset, ', '.join(names),
    )  # fmt: skip
  if not held_out:
    logging.info(
      'no %r videos, and nothing is held out: all %d %r videos are trained on, '
      'no AR is reported on the way; --config.data.holdout=0.2 holds a fifth out',
      eval_subset, len(train), train_subset,
    )  # fmt: skip
  if not any(len(video.segments) for video in train.values()):
    raise ValueError(
      f'no training instance: subset {train_subset!r} has {len(train)} videos '
      f'without any segment; the annotations have subsets {sorted(subsets)}. '
      'Check config.data.annotations, train_subset and exclude_labels'
    )
  return train, held_out


def _subset(annotations, key, name):
  try:
    return annotations.subset(name)
  except ValueError as error:
    raise ValueError(f'config.data.{key}: {error}') from None


def training_windows(
  data: TrainingData, length: int, hop: int, require_instance: bool
) -> list[windows_lib.Window]:
  """The windows of the training videos; see `windows.training_windows`."""
  return windows_lib.training_windows(
    {video_id: data.source.num_snippets(video_id) for video_id in data.train},
    {video_id: data.grid_segments(video_id) for video_id in data.train},
    data.source.feature_fps,
    length=length,
    hop=hop,
    require_instance=require_instance,
  )


def stage_labels(
  video: annotations_lib.Video, source: Any, rule: str
) -> Int[np.ndarray, ' t']:
  """Stage labels of all snippets of a video; `rule` as in `targets`."""
  clock = sources.clock(source, video.video_id)
  return stage_targets.stage_labels(
    clock.to_grid(video.segments),
    source.num_snippets(video.video_id),
    source.feature_fps,
    rule=rule,
  )


def pool_factor(
  segments: Iterable[Float[np.ndarray, 'n 2']],
  feature_fps: float,
  target_snippets: float,
) -> int:
  """Rows to average so that a median instance spans `target_snippets`.

  Args:
    segments: of each video, in seconds of a grid of `feature_fps` rows.
    feature_fps: rows a second.
    target_snippets: how many a median instance shall span.
  """
  durations = np.concatenate([one[:, 1] - one[:, 0] for one in segments])
  return max(1, round(np.median(durations) * feature_fps / target_snippets))


def _present(videos, ids, allow_missing, path):
  missing = sorted(set(videos) - set(ids))
  if not missing:
    return videos
  message = (
    f'{len(missing)} of {len(videos)} annotated videos have no file in {path}: '
    + ', '.join(missing[:5])
    + (' ...' if len(missing) > 5 else '')
  )
  if not allow_missing or len(missing) == len(videos):
    raise ValueError(
      message + '; add them, or set --config.data.allow_missing=True'
    )
  warnings.warn(message, MissingVideoWarning, stacklevel=2)
  return {k: v for k, v in videos.items() if k not in missing}
