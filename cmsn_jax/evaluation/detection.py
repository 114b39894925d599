"""Mean average precision (mAP) of proposals that say what happens.

Average precision of a class is the area under its precision-recall curve,
where precision is made not to rise with recall, as in the public ActivityNet
evaluation; mAP is the mean over the classes that have ground truth.

  map       tIoU .3, .4, ... .7, as tables on THUMOS14 have it
  map_anet  tIoU .5, .55, ... .95, ActivityNet's

It asks another question than AR@AN, and figures of the two do not compare.
"""

import collections
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from cmsn_jax import segments as segments_lib
from cmsn_jax.evaluation import (
  average_precision,
  detection_errors,
  detection_matching,
  metrics,
)

THRESHOLDS = {
  'map': np.linspace(0.3, 0.7, 5),
  'map_anet': segments_lib.TIOU_THRESHOLDS,
}
PROTOCOLS = tuple(THRESHOLDS)
# Ground truth of these labels is neither right nor wrong, unless said otherwise.
AMBIGUOUS = ('Ambiguous',)


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionMetrics:
  """mAP of one set of labelled proposals. Fractions in 0..1.

  Attributes:
    protocol: 'map' or 'map_anet'.
    tiou_thresholds: `[k]`.
    labels: classes with ground truth, sorted, `[c]`.
    ap: average precision of each class at each threshold, `[c, k]`.
    num_instances: ground truth of each class, `[c]`.
    num_detections: of each class, `[c]`.
    num_videos: of the subset.
    num_ambiguous: spans that are neither right nor wrong.
    unknown_labels: detections of labels without ground truth, by label; they
      do not enter the mean.
    videos_without_detections: ids, sorted.
    errors: what goes wrong at one tIoU.
  """

  protocol: str
  tiou_thresholds: Float64[np.ndarray, ' k']
  labels: tuple[str, ...]
  ap: Float64[np.ndarray, 'c k']
  num_instances: Int64[np.ndarray, ' c']
  num_detections: Int64[np.ndarray, ' c']
  num_videos: int
  num_ambiguous: int
  unknown_labels: dict[str, int]
  videos_without_detections: tuple[str, ...]
  errors: detection_errors.ErrorSplit

  @property
  def map_at_tiou(self) -> dict[float, float]:
    """Mean over the classes by tIoU threshold."""
    mean = self.ap.mean(axis=0).tolist()
    return dict(zip(self.tiou_thresholds.tolist(), mean))

  @property
  def average_map(self) -> float:
    """Mean of mAP over the thresholds."""
    return float(self.ap.mean())

  def to_json(self) -> dict:
    """The contents of metrics.json: plain numbers, strings, lists, None."""
    names = [f'{tiou:.2f}' for tiou in self.tiou_thresholds]
    return {
      'protocol': self.protocol,
      'tiou_thresholds': self.tiou_thresholds.round(10).tolist(),
      'map': self.average_map,
      'map_at_tiou': dict(zip(names, self.map_at_tiou.values())),
      'ap_at_tiou': {
        label: dict(zip(names, row))
        for label, row in zip(self.labels, self.ap.tolist())
      },
      'num_videos': self.num_videos,
      'num_ground_truth': int(self.num_instances.sum()),
      'num_detections': int(self.num_detections.sum()),
      'num_ambiguous': self.num_ambiguous,
      'ground_truth_by_label': self._by_label(self.num_instances),
      'detections_by_label': self._by_label(self.num_detections),
      'detections_of_unknown_labels': self.unknown_labels,
      'videos_without_detections': list(self.videos_without_detections),
      'errors': self.errors.to_json(),
    }

  def _by_label(self, counts):
    return dict(zip(self.labels, counts.tolist()))


class _Flat(NamedTuple):
  """Segments of all videos and classes in one array."""

  segments: Float64[np.ndarray, 'n 2']
  video: Int64[np.ndarray, ' n']
  label: Int64[np.ndarray, ' n']

  def take(self, order) -> '_Flat':
    return _Flat(*(column[order] for column in self))

  def groups(self, num_labels) -> Int64[np.ndarray, ' n']:
    """One number for each video and class."""
    return self.video * num_labels + self.label


def evaluate(
  detections: Mapping[str, tuple[np.ndarray, np.ndarray, Sequence[str]]],
  ground_truth: Mapping[str, tuple[np.ndarray, Sequence[str]]],
  *,
  protocol: str = 'map',
  tiou_thresholds: Sequence[float] | None = None,
  ambiguous: Mapping[str, np.ndarray] | None = None,
  error_tiou: float | int = 0.5,
) -> DetectionMetrics:
  """Average precision of labelled proposals against ground truth.

  A class's detections count by score, best first; equal scores in the order
  given. Each is right if its tIoU with an instance of its class that no better
  one has found reaches the threshold; of several instances it finds the one
  with the highest tIoU. One that is not right but overlaps an ambiguous span,
  by however little, is left out, as THUMOS14's own evaluation does.

  Args:
    detections: video id -> (segments in seconds `[n, 2]`, scores `[n]`, labels
      `[n]`). A missing id is a video without detections; ids that are not in
      the ground truth are left out with a warning.
    ground_truth: video id -> (segments in seconds `[g, 2]`, labels `[g]`),
      every video of the subset, those without segments too.
    protocol: 'map' or 'map_anet', see the module.
    tiou_thresholds: instead of the protocol's.
    ambiguous: video id -> spans `[a, 2]` where it cannot be told what happens.
    error_tiou: at which errors are told apart.
  Returns:
    the figures.
  Raises:
    ValueError: on an unknown protocol, a malformed segment or score, no ground
      truth at all, or detections of other videos only.
  References:
    Caba Heilbron et al., `ActivityNet`, 2015; Jiang et al., `THUMOS Challenge
    2014 <https://www.crcv.ucf.edu/THUMOS14/>`.
  """
  if protocol not in PROTOCOLS:
    raise ValueError(f'protocol must be one of {PROTOCOLS}, got {protocol!r}')
  thresholds = _thresholds(tiou_thresholds, protocol)
  metrics.check_ids(detections, ground_truth)
  labels = tuple(
    sorted({x for _, names in ground_truth.values() for x in names})
  )
  if not labels:
    raise ValueError(
      f'the ground truth of {len(ground_truth)} videos has no segments'
    )
  found, unknown = _detections(detections, ground_truth, labels)
  true = _ground_truth(ground_truth, labels)
  unclear = _spans(ambiguous or {}, ground_truth)
  left_out = _overlap(found, unclear)

  least = min(thresholds[0], error_tiou)
  close = detection_matching.pairs(
    found.segments, found.groups(len(labels)),
    true.segments, true.groups(len(labels)), least,
  )  # fmt: skip

  def match(tiou):
    sizes = len(found.segments), len(true.segments)
    return detection_matching.match(close, tiou, *sizes)

  bounds = np.searchsorted(found.label, np.arange(len(labels) + 1))
  instances = np.bincount(true.label, minlength=len(labels))
  ap = np.zeros((len(labels), len(thresholds)))
  for k, tiou in enumerate(thresholds):
    right, _ = match(tiou)
    ap[:, k] = average_precision.by_class(
      right, right | ~left_out, bounds, instances
    )
  right, is_found = match(error_tiou)
  return DetectionMetrics(
    protocol=protocol,
    tiou_thresholds=thresholds,
    labels=labels,
    ap=ap,
    num_instances=instances,
    num_detections=np.diff(bounds),
    num_videos=len(ground_truth),
    num_ambiguous=len(unclear.segments),
    unknown_labels=unknown,
    videos_without_detections=tuple(
      sorted(v for v in ground_truth if not _has_any(detections, v))
    ),
    errors=detection_errors.split(
      found, true, right, is_found, left_out & ~right, bounds, error_tiou
    ),
  )


def clear_and_ambiguous(
  ground_truth: Mapping[str, tuple[np.ndarray, Sequence[str]]],
  ambiguous_labels: Sequence[str] = AMBIGUOUS,
) -> tuple[
  dict[str, tuple[np.ndarray, tuple[str, ...]]], dict[str, np.ndarray]
]:
  """Ground truth, and the spans where it cannot be told what happens.

  Args:
    ground_truth: video id -> (segments `[g, 2]`, labels `[g]`).
    ambiguous_labels: of those spans.
  Returns:
    `ground_truth` and `ambiguous` of `evaluate`.
  """
  clear, ambiguous = {}, {}
  for video_id, (segments, names) in ground_truth.items():
    unclear = np.array([name in ambiguous_labels for name in names], bool)
    kept = tuple(name for name in names if name not in ambiguous_labels)
    clear[video_id] = segments[~unclear], kept
    ambiguous[video_id] = segments[unclear]
  return clear, ambiguous


def _thresholds(given, protocol) -> Float64[np.ndarray, ' k']:
  if given is None:
    return np.array(THRESHOLDS[protocol])
  thresholds = np.sort(np.asarray(given, np.float64))
  if not thresholds.size or not ((thresholds > 0) & (thresholds <= 1)).all():
    raise ValueError(
      f'tiou_thresholds must be numbers above 0 and up to 1, got {given}'
    )
  return thresholds


def _has_any(detections, video_id) -> bool:
  return video_id in detections and len(detections[video_id][1]) > 0


def _detections(detections, ground_truth, labels):
  """Detections of known classes by class, best first; how many of others."""
  number = {label: k for k, label in enumerate(labels)}
  videos = {video_id: k for k, video_id in enumerate(ground_truth)}
  parts, all_scores = [], [np.zeros(0)]
  unknown = collections.Counter()
  for video_id, (segments, scores, names) in detections.items():
    if video_id not in videos:
      continue
    segments = segments_lib.check(segments, f'detections of {video_id!r}')
    scores = np.asarray(scores, np.float64)
    if not len(segments) == len(scores) == len(names):
      raise ValueError(
        f'detections of {video_id!r} need one score and one label a segment, '
        f'got {len(segments)} segments, {len(scores)} scores and {len(names)} '
        'labels'
      )
    if not np.isfinite(scores).all():
      raise ValueError(
        f'detections of {video_id!r} have scores that are not finite'
      )
    label = np.array([number.get(name, -1) for name in names], np.int64)
    known = label >= 0
    if not known.all():
      unknown.update(name for name in names if name not in number)
    parts.append(
      _Flat(
        segments[known], np.full(known.sum(), videos[video_id]), label[known]
      )
    )
    all_scores.append(scores[known])
  flat = _joined(parts)
  order = np.lexsort((-np.concatenate(all_scores), flat.label))
  if unknown:
    _warn_unknown(unknown, labels)
  return flat.take(order), dict(unknown.most_common())


def _warn_unknown(unknown, labels) -> None:
  warnings.warn(
    f'{sum(unknown.values())} detections of {len(unknown)} labels that have no '
    f'ground truth here do not count: {metrics.some(list(unknown))}; the ground '
    f'truth has {metrics.some(labels)}',
    metrics.MetricsWarning,
    stacklevel=4,
  )


def _ground_truth(ground_truth, labels) -> _Flat:
  number = {label: k for k, label in enumerate(labels)}
  parts = []
  for video, (video_id, (segments, names)) in enumerate(ground_truth.items()):
    segments = segments_lib.check(segments, f'ground truth of {video_id!r}')
    if len(segments) != len(names):
      raise ValueError(
        f'the ground truth of {video_id!r} has {len(segments)} segments, but '
        f'{len(names)} labels'
      )
    label = np.array([number[name] for name in names], np.int64)
    parts.append(_Flat(segments, np.full(len(names), video), label))
  return _joined(parts)


def _spans(ambiguous, ground_truth) -> _Flat:
  parts = []
  for video, video_id in enumerate(ground_truth):
    spans = segments_lib.check(
      ambiguous.get(video_id, ()), f'ambiguous spans of {video_id!r}'
    )
    none = np.zeros(len(spans), np.int64)
    parts.append(_Flat(spans, none + video, none))
  return _joined(parts)


def _joined(parts: list[_Flat]) -> _Flat:
  none = np.zeros(0, np.int64)
  parts = [_Flat(segments_lib.empty(), none, none), *parts]
  return _Flat(*(np.concatenate(column) for column in zip(*parts)))


def _overlap(found: _Flat, spans: _Flat) -> Bool[np.ndarray, ' n']:
  """Which detections overlap any of the spans in their video."""
  touching = np.zeros(len(found.segments), bool)
  close = detection_matching.pairs(
    found.segments, found.video, spans.segments, spans.video
  )
  touching[close.detections] = True
  return touching
