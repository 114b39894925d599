"""What a run trains and chooses on: annotations joined with their snippets."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Bool, Float, Int

from cmsn_jax import segments as segments_lib
from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.data import feature_timing, sources
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.stages import targets as stage_targets

# The one that data may lack: configs/default.py names it, whatever the data.
_EVAL_SUBSET = 'validation'
# More are free text, one for each instance, and are not told apart.
MAX_LABELS = 300


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

  def grid_unknown(self, video_id: str) -> Float[np.ndarray, 'n 2']:
    """Where a video teaches nothing, in seconds of the source's grid.

    What its annotations ignore, and where most of its features are missing.
    """
    video = self.train.get(video_id) or self.held_out[video_id]
    ignored = sources.clock(self.source, video_id).to_grid(video.unknown)
    missing = getattr(self.source, 'missing', None)
    if missing is None:
      return ignored
    return segments_lib.union(np.concatenate([ignored, missing(video_id)]))

  def unknown_snippets(self, video_id: str) -> Bool[np.ndarray, ' t']:
    """Which snippets have their centre in `grid_unknown`."""
    return stage_targets.within(
      self.grid_unknown(video_id) * self.source.feature_fps,
      self.source.num_snippets(video_id),
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


def share_of(
  videos: dict[str, annotations_lib.Video], share: float, seed: int
) -> dict[str, annotations_lib.Video]:
  """Whole videos, drawn at random, with a share of the instances.

  Videos are drawn until they hold the share, so that they hold a little more;
  one at least that has an instance.

  Args:
    videos: by id.
    share: of their instances; 1: all videos.
    seed: of the draw; it does not depend on the videos' order.
  Returns:
    those drawn, in their order.
  """
  if share >= 1:
    return videos
  names = sorted(videos)
  total = sum(len(video.segments) for video in videos.values())
  drawn, held = set(), 0
  for index in np.random.default_rng(seed).permutation(len(names)):
    if held and held >= share * total:
      break
    drawn.add(names[index])
    held += len(videos[names[index]].segments)
  logging.info(
    'data.train_share=%g: %d of %d videos with %d of %d instances: %s',
    share, len(drawn), len(videos), held, total, ', '.join(sorted(drawn)),
  )  # fmt: skip
  return {name: video for name, video in videos.items() if name in drawn}


def _subset(annotations, key, name):
  try:
    return annotations.subset(name)
  except ValueError as error:
    raise ValueError(f'config.data.{key}: {error}') from None


def label_names(data: TrainingData) -> list[str]:
  """Labels of the training instances, sorted: action 1, 2, ..."""
  return sorted({label for v in data.train.values() for label in v.labels})


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
    unknown_sec={
      video_id: data.grid_unknown(video_id) for video_id in data.train
    },
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
