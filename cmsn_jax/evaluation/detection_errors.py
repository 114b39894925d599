"""What is wrong with detections that are not right, and what is missed.

After Alwassel et al., `Diagnosing Error in Temporal Action Detectors
<https://arxiv.org/abs/1807.10706>`, 2018 (DETAD): the best detections of each
class, ten for every instance it has, fall into

  right         finds an instance at the tIoU looked at
  double        would, but a better one has found it
  confusion     reaches that tIoU, or overlaps, with an instance of another class
  localisation  overlaps an instance of its class, by less than that tIoU
  background    overlaps nothing, by .1 tIoU or more

and instances that no detection finds are missed. The first that holds in this
order: right, double, confusion at the tIoU looked at, localisation, confusion,
background.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from cmsn_jax.evaluation import average_precision, detection_matching

KINDS = ('right', 'double', 'confusion', 'localisation', 'background')
# tIoU from which a detection is about an instance at all (DETAD).
OVERLAP = 0.1
# Detections that are looked at, for each instance of their class (DETAD).
DEPTH = 10


@dataclasses.dataclass(frozen=True, eq=False)
class ErrorSplit:
  """How the best detections of all classes fall into kinds.

  Attributes:
    tiou: that counts as found.
    counts: row i: of the detections ranked (i G, (i + 1) G] of a class with G
      instances, those of each of `KINDS`, `[10, 5]`.
    gains: by how much mAP at `tiou` rises without the detections of a kind
      (among those looked at), by kind; 'missed': without the instances that no
      detection finds.
    missed: instances that no detection finds.
    num_instances: all of them.
  """

  tiou: float
  counts: Int64[np.ndarray, 'depth kinds']
  gains: dict[str, float]
  missed: int
  num_instances: int

  def to_json(self) -> dict:
    """Plain numbers, strings and lists."""
    return {
      'tiou': self.tiou,
      'detections': dict(zip(KINDS, self.counts.sum(axis=0).tolist())),
      'detections_by_rank': [
        dict(zip(KINDS, row)) for row in self.counts.tolist()
      ],
      'map_gain': self.gains,
      'missed': self.missed,
      'num_ground_truth': self.num_instances,
    }


def split(
  found: Any,
  true: Any,
  right: Bool[np.ndarray, ' n'],
  is_found: Bool[np.ndarray, ' g'],
  left_out: Bool[np.ndarray, ' n'],
  bounds: Int64[np.ndarray, ' c1'],
  tiou: float | int,
) -> ErrorSplit:
  """Tells the errors of detections apart.

  Args:
    found: detections by class, then best first, with `segments` `[n, 2]`,
      `video` `[n]` and `label` `[n]`.
    true: instances, likewise `[g]`.
    right: detections that find an instance at `tiou`.
    is_found: instances that one finds.
    left_out: detections that do not count.
    bounds: where the detections of each class begin, and where the last end.
    tiou: that counts as found.
  """
  instances = np.bincount(true.label, minlength=len(bounds) - 1)
  before = np.concatenate([[0], np.cumsum(~left_out)])
  rank = before[:-1] - before[bounds[found.label]]
  step = rank // np.maximum(instances, 1)[found.label]
  looked_at = np.flatnonzero(~left_out & (step < DEPTH))
  kind = _kinds(found, true, right, looked_at, tiou)
  counts = np.zeros((DEPTH, len(KINDS)), np.int64)
  np.add.at(counts, (step[looked_at], kind), 1)

  def ap(counted):
    return average_precision.by_class(right, counted, bounds, instances)

  all_counted = right | ~left_out
  base = ap(all_counted)
  gains = {}
  for number, name in enumerate(KINDS[1:], start=1):
    counted = all_counted.copy()
    counted[looked_at[kind == number]] = False
    gains[name] = float(ap(counted).mean() - base.mean())
  gains['missed'] = _gain_of_missed(base, true.label, is_found, instances)
  return ErrorSplit(
    float(tiou), counts, gains, int((~is_found).sum()), len(is_found)
  )


def _kinds(found, true, right, looked_at, tiou) -> Int64[np.ndarray, ' k']:
  """The kind of each detection that is looked at, as a place in `KINDS`."""
  close = detection_matching.pairs(
    found.segments[looked_at], found.video[looked_at],
    true.segments, true.video, OVERLAP,
  )  # fmt: skip
  same = found.label[looked_at][close.detections] == true.label[close.instances]
  own, other = np.zeros(len(looked_at)), np.zeros(len(looked_at))
  np.maximum.at(own, close.detections[same], close.tiou[same])
  np.maximum.at(other, close.detections[~same], close.tiou[~same])
  right = right[looked_at]
  return np.select(
    [right, own >= tiou, other >= tiou, own >= OVERLAP, other >= OVERLAP],
    [0, 1, 2, 3, 2],
    4,
  )


def _gain_of_missed(ap, label, is_found, instances) -> float:
  """How much mAP rises without the instances that no detection finds."""
  number = np.bincount(label[is_found], minlength=len(instances))
  # A class of which nothing is found leaves the mean.
  any_found = number > 0
  if not any_found.any():
    return 0.0
  mended = ap[any_found] * instances[any_found] / number[any_found]
  return float(mended.mean() - ap.mean())
