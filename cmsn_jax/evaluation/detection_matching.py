"""Which detection finds which instance, for many videos and classes at once.

The public ActivityNet evaluation goes through the detections of a class, best
first: each takes, of the instances that no better one has taken, the one with
which its tIoU is highest, if that reaches the threshold. Where all instances
prefer the better detection, that is the one stable matching, so detections can
ask in rounds: each asks its best instance, each instance keeps the best that
asked, and whoever is turned down asks the next. No loop over detections.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from cmsn_jax.evaluation import overlaps

_NOBODY = np.iinfo(np.int64).max


class Pairs(NamedTuple):
  """Detections and instances that overlap enough.

  Sorted by detection, then by tIoU, highest first, then by instance, the last
  first, as the public evaluation has it.

  Attributes:
    detections: index, `[p]`.
    instances: index, `[p]`.
    tiou: of each pair, `[p]`.
  """

  detections: Int64[np.ndarray, ' p']
  instances: Int64[np.ndarray, ' p']
  tiou: Float64[np.ndarray, ' p']


def pairs(
  detections: Float[np.ndarray, 'n 2'],
  detection_groups: Int[np.ndarray, ' n'],
  instances: Float[np.ndarray, 'g 2'],
  instance_groups: Int[np.ndarray, ' g'],
  least: float | int = 0.0,
) -> Pairs:
  """All pairs of one group, as a video, whose tIoU is `least` and above 0.

  Args:
    detections: segments.
    detection_groups: the group of each.
    instances: segments in the same unit.
    instance_groups: the group of each.
    least: tIoU.
  """
  parts = [Pairs(*(np.zeros(0, t) for t in (np.int64, np.int64, np.float64)))]
  for found, true, tiou in overlaps.pairs(
    detections, instances, detection_groups, instance_groups
  ):
    near = tiou >= least
    parts.append(Pairs(found[near], true[near], tiou[near]))
  found, true, tiou = (np.concatenate(column) for column in zip(*parts))
  order = np.lexsort((-true, -tiou, found))
  return Pairs(found[order], true[order], tiou[order])


def match(
  found: Pairs, threshold: float | int, num_detections: int, num_instances: int
) -> tuple[Bool[np.ndarray, ' n'], Bool[np.ndarray, ' g']]:
  """Which detections are right and which instances found.

  Args:
    found: of detections whose index says which is better: the lower.
    threshold: tIoU that counts.
    num_detections: n.
    num_instances: g.
  Returns:
    true where a detection is the one that finds an instance, and where an
    instance is found.
  """
  detection = assign(found, threshold, num_instances)
  is_found = detection >= 0
  right = np.zeros(num_detections, bool)
  right[detection[is_found]] = True
  return right, is_found


def assign(
  found: Pairs, threshold: float | int, num_instances: int
) -> Int64[np.ndarray, ' g']:
  """The detection that finds each instance, -1 where none does; see `match`."""
  enough = found.tiou >= threshold
  detections, instances = found.detections[enough], found.instances[enough]
  asking, at = np.unique(detections, return_index=True)
  end = np.append(at[1:], len(detections))
  # By place in `asking`, which keeps their order: who holds each instance.
  holder = np.full(num_instances, _NOBODY)
  free = np.arange(len(asking))
  while len(free):
    wanted = instances[at[free]]
    before = holder[wanted]
    np.minimum.at(holder, wanted, free)
    after = holder[wanted]
    ousted = np.unique(before[(before != after) & (before != _NOBODY)])
    free = np.concatenate([free[after != free], ousted])
    at[free] += 1
    free = free[at[free] < end[free]]
  is_found = holder != _NOBODY
  result = np.full(num_instances, -1)
  result[is_found] = asking[holder[is_found]]
  return result
