"""What a data set looks like to the stage network, before training.

Shares of the six stages, durations, instances too short for the rate,
overlaps, and a window length and rate that would suit them.
"""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64

from cmsn_jax import segments as segments_lib
from cmsn_jax import stage_names
from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.stages import targets

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
# One snippet each of Start, Confirm and End.
MIN_SNIPPETS = 3
# A guess that did well from 2 s to 8 s instances: fine enough to place a
# boundary, and a pre-score that ends 1/.09 = 11 snippets from it still
# reaches (Eq. 1).
TARGET_SNIPPETS = 24
# 25 frames a second, a snippet every 8 (Sec. 5.1).
PAPER_FEATURE_FPS = 25 / 8
_STAGE_WORK = 10_000_000


@dataclasses.dataclass(frozen=True)
class LabelStatistics:
  """Statistics of one group of videos at one rate.

  Counts of overlaps are of distinct segments: the labels of identical ones
  are the same stages.

  Attributes:
    name: the subset, or 'all'.
    feature_fps: snippets per second.
    num_videos: videos.
    num_empty: videos without any instance.
    num_instances: annotated instances.
    num_distinct: instances after merging identical segments of a video.
    labels: instances by label, most frequent first.
    hours: sum of the videos' durations.
    inside: share of the time inside an instance.
    video_sec: the `PERCENTILES` of the videos' durations.
    instance_sec: the `PERCENTILES` of the instances' durations; NaN where
      there are none.
    stage_shares: share of the snippets in each stage, `stage_names.NAMES`.
    num_short: distinct instances shorter than three snippets.
    num_unseen: distinct instances without any snippet's centre.
    num_overlapping: distinct instances that overlap another.
    num_context: distinct instances whose Ready or Follow (half a duration on
      each side), or self, reaches into another instance.
    num_past_end: instances that begin behind their video's end.
  """

  name: str
  feature_fps: float
  num_videos: int
  num_empty: int
  num_instances: int
  num_distinct: int
  labels: dict[str, int]
  hours: float
  inside: float
  video_sec: Float64[np.ndarray, ' p']
  instance_sec: Float64[np.ndarray, ' p']
  stage_shares: Float64[np.ndarray, ' s']
  num_short: int
  num_unseen: int
  num_overlapping: int
  num_context: int
  num_past_end: int


@dataclasses.dataclass(frozen=True)
class Suggestion:
  """A rate and window that suit the instances' durations.

  Attributes:
    min_feature_fps: at this rate 95 % of the instances have three snippets.
    feature_fps: at this rate the median instance has `TARGET_SNIPPETS`.
    window_sec: half-overlapping windows of this length hold 95 % of the
      instances whole, with their Ready and Follow.
    window_snippets: the same at the rate the statistics are of, a multiple of
      16.
  """

  min_feature_fps: float
  feature_fps: float
  window_sec: float
  window_snippets: int


def label_statistics(
  videos: Sequence[annotations_lib.Video],
  feature_fps: float | int,
  *,
  name: str = 'all',
) -> LabelStatistics:
  """Statistics of videos whose features have `feature_fps` snippets a second.

  Args:
    videos: e.g. `annotations.subset('training').values()`.
    feature_fps: snippets per second.
    name: what to call the group.
  Returns:
    the statistics.
  Raises:
    ValueError: if there is no video or the rate is not positive.
  """
  videos = list(videos)
  if not videos:
    raise ValueError(f'no videos in {name!r} to take statistics of')
  if not (np.isfinite(feature_fps) and feature_fps > 0):
    raise ValueError(f'feature_fps must be positive, got {feature_fps}')
  distinct = [segments_lib.unique(video.segments) for video in videos]
  durations = np.array([video.duration_sec for video in videos])
  instance_sec = np.concatenate(
    [segments_lib.durations(video.segments) for video in videos]
  )
  lengths = np.concatenate([segments_lib.durations(d) for d in distinct])
  inside = sum(_covered(d, v.duration_sec) for d, v in zip(distinct, videos))
  labels = collections.Counter(label for v in videos for label in v.labels)
  return LabelStatistics(
    name=name,
    feature_fps=float(feature_fps),
    num_videos=len(videos),
    num_empty=sum(not len(video.segments) for video in videos),
    num_instances=len(instance_sec),
    num_distinct=len(lengths),
    labels=dict(labels.most_common()),
    hours=float(durations.sum() / 3600),
    inside=float(inside / durations.sum()),
    video_sec=_percentiles(durations),
    instance_sec=_percentiles(instance_sec),
    stage_shares=_stage_shares(videos, feature_fps),
    num_short=int((lengths * feature_fps < MIN_SNIPPETS).sum()),
    num_unseen=sum(int(_unseen(d, feature_fps).sum()) for d in distinct),
    num_overlapping=sum(int(_hits(d, d).sum()) for d in distinct),
    num_context=sum(int(_hits(_with_context(d), d).sum()) for d in distinct),
    num_past_end=sum(
      int((video.segments[:, 0] >= video.duration_sec).sum())
      for video in videos
    ),
  )


def by_subset(
  annotations: annotations_lib.Annotations, feature_fps: float | int
) -> list[LabelStatistics]:
  """Statistics of each subset present and, where there are several, of all."""
  groups = {
    subset: [
      v.counted() for v in annotations.videos.values() if v.subset == subset
    ]
    for subset in annotations_lib.SUBSETS
  }
  groups = {subset: videos for subset, videos in groups.items() if videos}
  if len(groups) != 1:
    groups['all'] = [v.counted() for v in annotations.videos.values()]
  return [
    label_statistics(videos, feature_fps, name=subset)
    for subset, videos in groups.items()
  ]


def suggest(
  videos: Sequence[annotations_lib.Video], feature_fps: float | int
) -> Suggestion | None:
  """A rate and window length for these instances; None without any.

  Args:
    videos: the training videos.
    feature_fps: snippets per second, for the window's length in snippets.
  """
  parts = [segments_lib.durations(video.segments) for video in videos]
  lengths = np.concatenate(parts) if parts else np.zeros(0)
  if not len(lengths):
    return None
  short, median, long = np.percentile(lengths, [5, 50, 95]).tolist()
  # Some window of a half-overlapping row holds every span of half its length,
  # and an instance with Ready and Follow is twice the instance.
  window_sec = 4 * long
  snippets = window_sec * feature_fps
  return Suggestion(
    min_feature_fps=MIN_SNIPPETS / short,
    feature_fps=TARGET_SNIPPETS / median,
    window_sec=window_sec,
    window_snippets=max(32, int(np.ceil(snippets / 16)) * 16),
  )


def format_table(groups: Sequence[LabelStatistics]) -> str:
  """The statistics side by side, one column a group, as aligned text."""
  rows = [('', [group.name for group in groups])]

  def add(title: str, cells: list[str]):
    rows.append((title, cells))

  add('videos', [f'{g.num_videos}' for g in groups])
  add('  without instances', [f'{g.num_empty}' for g in groups])
  add('hours', [f'{g.hours:.2f}' for g in groups])
  add('  inside an instance', [f'{g.inside:.1%}' for g in groups])
  add('instances', [f'{g.num_instances}' for g in groups])
  add('  distinct segments', [f'{g.num_distinct}' for g in groups])
  add('  labels', [f'{len(g.labels)}' for g in groups])
  for field, title in (
    ('video_sec', 'video seconds'),
    ('instance_sec', 'instance seconds'),
  ):
    for k, percentile in enumerate(PERCENTILES):
      shown = {0: 'min', 50: 'median', 100: 'max'}.get(
        percentile, f'{percentile} %'
      )
      add(f'{title}, {shown}', [f'{getattr(g, field)[k]:.2f}' for g in groups])
  for stage, stage_name in enumerate(stage_names.NAMES):
    add(f'stage {stage_name}', [f'{g.stage_shares[stage]:.1%}' for g in groups])
  for field, title in (
    ('num_short', 'too short for 3 snippets'),
    ('num_unseen', 'between two snippets'),
    ('num_overlapping', 'overlapping another'),
    ('num_context', 'context hits another'),
  ):
    counts = [(getattr(g, field), g.num_distinct) for g in groups]
    add(title, [f'{n} ({n / max(1, of):.1%})' for n, of in counts])
  if any(g.num_past_end for g in groups):
    add('behind the end', [f'{g.num_past_end}' for g in groups])
  return _aligned(rows)


def format_labels(group: LabelStatistics) -> str:
  """Instances by label, most frequent first, as aligned text."""
  rows = [(label, [str(count)]) for label, count in group.labels.items()]
  return _aligned(rows) if rows else '(no instances)'


def format_suggestion(suggestion: Suggestion, feature_fps: float | int) -> str:
  """The suggestion in words, measured against the present rate."""
  lines = [
    f'rate: at least {suggestion.min_feature_fps:.3g} snippets a second give '
    f'95 % of the instances {MIN_SNIPPETS} snippets; about '
    f'{suggestion.feature_fps:.3g} give the median one {TARGET_SNIPPETS}',
    f'window: {suggestion.window_sec:.3g} s ({suggestion.window_snippets} '
    f'snippets at {feature_fps:g} a second) hold 95 % of the instances whole, '
    'with Ready and Follow, at half overlap',
  ]
  if feature_fps < suggestion.min_feature_fps:
    lines.append(
      f'the present {feature_fps:g} snippets a second are too few for more '
      'than 5 % of the instances: use a smaller stride'
    )
  elif feature_fps > 2 * suggestion.feature_fps:
    factor = round(feature_fps / suggestion.feature_fps)
    lines.append(
      f'the present {feature_fps:g} snippets a second are more than needed: '
      f'pool {factor} into one (config.data.pool)'
    )
  return '\n'.join(lines)


def _percentiles(values: Float[np.ndarray, ' n']) -> Float64[np.ndarray, ' p']:
  if not len(values):
    return np.full(len(PERCENTILES), np.nan)
  return np.percentile(values, PERCENTILES).astype(np.float64)


def _with_context(segments: Float[np.ndarray, 'n 2']):
  half = segments_lib.durations(segments)[:, None] / 2
  return segments + half * np.array([[-1.0, 1.0]])


def _hits(
  spans: Float[np.ndarray, 'n 2'], segments: Float[np.ndarray, 'n 2']
) -> Bool[np.ndarray, ' n']:
  """Whether each span meets a segment other than the one in its own row.

  The segments are distinct and in order, so counting those that begin before
  a span's end, less those that end before its start, counts its overlaps
  without an n × n table.
  """
  begun = np.searchsorted(segments[:, 0], spans[:, 1], side='left')
  ended = np.searchsorted(np.sort(segments[:, 1]), spans[:, 0], side='right')
  return begun - ended > 1


def _covered(segments: Float[np.ndarray, 'n 2'], duration_sec: float) -> float:
  """Seconds of the video inside any of the ordered segments."""
  if not len(segments):
    return 0.0
  clipped = np.minimum(segments, duration_sec)
  reached = np.maximum.accumulate(clipped[:, 1])
  before = np.concatenate([[0.0], reached[:-1]])
  return float(
    np.maximum(clipped[:, 1] - np.maximum(clipped[:, 0], before), 0).sum()
  )


def _unseen(
  segments: Float[np.ndarray, 'n 2'], feature_fps: float | int
) -> Bool[np.ndarray, ' n']:
  """Whether no snippet's centre (i + .5) / feature_fps is in the segment."""
  first = np.ceil(segments * feature_fps - 0.5)
  return first[:, 1] <= first[:, 0]


def _stage_shares(
  videos: Sequence[annotations_lib.Video], feature_fps: float | int
) -> Float64[np.ndarray, ' s']:
  counts = np.zeros(stage_names.COUNT)
  for video in videos:
    num_snippets = max(1, round(video.duration_sec * feature_fps))
    # A rate for hours at hundreds of snippets a second is thinned out: shares
    # need no more.
    rate = feature_fps * min(1.0, _STAGE_WORK / num_snippets)
    num_snippets = min(num_snippets, _STAGE_WORK)
    labels = targets.stage_labels(video.segments, num_snippets, rate)
    weight = feature_fps / rate
    counts += weight * np.bincount(labels, minlength=stage_names.COUNT)
  return counts / counts.sum()


def _aligned(rows: Sequence[tuple[str, list[str]]]) -> str:
  title_width = max(len(title) for title, _ in rows)
  widths = [
    max(len(cells[k]) for _, cells in rows) for k in range(len(rows[0][1]))
  ]
  return '\n'.join(
    '  '.join(
      [title.ljust(title_width)]
      + [cell.rjust(width) for cell, width in zip(cells, widths)]
    ).rstrip()
    for title, cells in rows
  )
