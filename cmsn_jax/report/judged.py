"""What a least score leaves, and how labels come out, as JSON-ready numbers."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from cmsn_jax import segments
from cmsn_jax.evaluation import detection, operating_curve, operating_point

# At which precision and recall can be looked at; confusion at the second.
TIOUS = (0.3, 0.5, 0.7)
_CONFUSION_TIOU = 0.5
# Average precision is shown at these, and averaged over THUMOS14's five.
_AP_TIOUS = np.linspace(0.1, 0.9, 17)
_NO_LABEL = 0xFFFF


def labels_known(videos: Sequence[Any]) -> bool:
  """Whether proposals and ground truth both say what happens."""
  return (
    any(video.proposals.labels for video in videos)
    and any(video.labels for video in videos)
    and all(
      video.proposals.labels is not None
      for video in videos
      if len(video.proposals.scores)
    )
  )


def operating(
  videos: Sequence[Any], labels: Sequence[str]
) -> dict[str, Any] | None:
  """Precision and recall at least scores; None without any proposal.

  Args:
    videos: `report_page.Entry`s.
    labels: all names; confusion is told by their indices.
  """
  own = [
    operating_point.Video(
      video.proposals.segments, video.proposals.scores, _truth(video)
    )
    for video in videos
  ]
  if not any(len(video.scores) for video in own):
    return None
  numbers = _numbers(videos, labels) if labels_known(videos) else None
  counted = [~_not_looked_at(video) for video in videos]
  found, packed = [], {}
  for tiou in TIOUS:
    with_labels = numbers if tiou == _CONFUSION_TIOU else None
    curve = operating_curve.curve(own, tiou, with_labels, counted)
    found.append(
      {
        'tiou': tiou,
        'min_scores': curve.min_scores.round(5).tolist(),
        'kept': curve.kept.tolist(),
        'right': curve.right.tolist(),
        'named': curve.named.tolist(),
      }
    )
    if with_labels:
      packed = {'confusion': _packed(curve.confusion)}
  return {
    'curves': found,
    'num_truth': sum(len(video.instances) for video in own),
    'num_videos': len(own),
    'truth_by_label': _counts(videos, labels),
    **packed,
  }


def average_precision(
  videos: Sequence[Any], labels: Sequence[str]
) -> dict[str, Any] | None:
  """Average precision of each label over tIoU; None where labels lack.

  Args:
    videos: `report_page.Entry`s.
    labels: all names.
  """
  if not labels_known(videos):
    return None
  truth, ambiguous = detection.clear_and_ambiguous(
    {video.video_id: (_truth(video), video.labels) for video in videos}
  )
  with_any = {name for _, names in truth.values() for name in names}
  if not with_any:
    return None
  found = {}
  for video in videos:
    proposals = video.proposals
    if proposals.labels is None:
      continue
    # Other labels' proposals enter no class's precision.
    known = np.array([x in with_any for x in proposals.labels], bool)
    known &= ~_not_looked_at(video)
    proposals = proposals.take(np.flatnonzero(known))
    found[video.video_id] = (
      proposals.segments,
      proposals.scores,
      proposals.labels or (),
    )
  figures = detection.evaluate(
    found,
    truth,
    tiou_thresholds=_AP_TIOUS.tolist(),
    ambiguous=ambiguous,
  )
  thumos = np.isclose(
    _AP_TIOUS[:, None], detection.THRESHOLDS['map'], atol=1e-9
  ).any(axis=1)
  index = {name: k for k, name in enumerate(labels)}
  return {
    'tious': _AP_TIOUS.round(3).tolist(),
    'mean': figures.ap.mean(axis=0).round(5).tolist(),
    'map': round(float(figures.ap[:, thumos].mean()), 5),
    'classes': [
      {
        'label': index[name],
        'ap': figures.ap[k].round(4).tolist(),
        'at_half': round(float(figures.ap[k][8]), 4),
        'map': round(float(figures.ap[k][thumos].mean()), 4),
        'count': int(figures.num_instances[k]),
        'proposals': int(figures.num_detections[k]),
      }
      for k, name in enumerate(figures.labels)
    ],
  }


def _truth(video):
  if video.segments_sec is None:
    return segments.empty()
  return video.segments_sec


def _not_looked_at(video):
  """Proposals with more than half of their length in ignored spans."""
  return segments.mostly_within(video.proposals.segments, video.ignore)


def _numbers(videos, labels):
  index = {name: k for k, name in enumerate(labels)}

  def of(names):
    return np.array([index[name] for name in names or ()], np.int64)

  return [
    operating_curve.Labels(of(video.proposals.labels), of(video.labels))
    for video in videos
  ]


def _counts(videos, labels):
  counts = dict.fromkeys(labels, 0)
  for video in videos:
    for name in video.labels:
      counts[name] += 1
  return list(counts.values())


def _packed(confusion: np.ndarray) -> str:
  """Rows of (step, true, predicted, count) as uint16, in base64.

  No label is 65535; a count above that takes several rows.
  """
  rows = confusion.copy()
  rows[rows[:, 1] == operating_curve.NOTHING, 1] = _NO_LABEL
  parts = []
  while len(rows):
    part = rows.copy()
    part[:, 3] = np.minimum(part[:, 3], 65535)
    parts.append(part)
    rows = rows[rows[:, 3] > 65535]
    rows[:, 3] -= 65535
  joined = np.concatenate([np.zeros((0, 4), np.int64), *parts])
  return base64.b64encode(joined.astype('<u2').tobytes()).decode('ascii')
