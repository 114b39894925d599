"""Which segments overlap which, without looking at all pairs of a long video."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from cmsn_jax import segments as segments_lib

# Pairs whose tIoUs are computed in one go: some 100 MB.
_BLOCK = 1 << 20
# So few are quicker looked at than sorted.
_FEW = 1 << 13


def pairs(
  left: Float[np.ndarray, 'n 2'],
  right: Float[np.ndarray, 'm 2'],
  left_groups: Int[np.ndarray, ' n'] | None = None,
  right_groups: Int[np.ndarray, ' m'] | None = None,
) -> Iterator[
  tuple[
    Int64[np.ndarray, ' p'], Int64[np.ndarray, ' p'], Float64[np.ndarray, ' p']
  ]
]:
  """Yields (index in left, index in right, tIoU) of pairs that overlap.

  Some at a time, by index in left. Of right only what may overlap is looked at:
  by start, from the first after which one ends after left begins; so one long
  segment makes those be looked at that begin after it, and no others.

  Args:
    left: segments, any order.
    right: segments in the same unit, any order.
    left_groups: the group of each, as its video, from 0; None: all are of one.
    right_groups: likewise. Pairs are of one group.
  """
  if not len(left) or not len(right):
    return
  if left_groups is None and len(left) * len(right) <= _FEW:
    table = segments_lib.tiou(left, right)
    index, other = np.nonzero(table)
    yield index, other, table[index, other]
    return
  if left_groups is None or right_groups is None:
    left_groups = np.zeros(len(left), np.int64)
    right_groups = np.zeros(len(right), np.int64)
  # Groups one after the other on one axis. That rounds, so a little more is
  # looked at; what overlaps is decided by the segments themselves.
  zero = min(left[:, 0].min(), right[:, 0].min())
  span = max(left[:, 1].max(), right[:, 1].max()) - zero + 1.0
  shift = right_groups * span - zero
  order = np.argsort(right[:, 0] + shift, kind='stable')
  starts = (right[:, 0] + shift)[order]
  # Ends so far: they rise, so that they can be searched.
  reach = np.maximum.accumulate((right[:, 1] + shift)[order])
  shift = left_groups * span - zero
  slack = 1e-12 * (abs(starts).max() + abs(shift).max() + span)
  low = np.searchsorted(reach, left[:, 0] + shift - slack, 'right')
  high = np.searchsorted(starts, left[:, 1] + shift + slack, 'left')
  count = np.maximum(high - low, 0)
  for index, place in segments_lib.expanded(low, count, _BLOCK):
    other = order[place]
    tiou = segments_lib.paired_tiou(left[index], right[other])
    some = (tiou > 0) & (left_groups[index] == right_groups[other])
    yield index[some], other[some], tiou[some]


def best_tiou(
  left: Float[np.ndarray, 'n 2'], right: Float[np.ndarray, 'm 2']
) -> Float64[np.ndarray, ' n']:
  """Best tIoU of each segment of `left` with any of `right`; 0 without any."""
  best = np.zeros(len(left))
  for index, _, tiou in pairs(left, right):
    np.maximum.at(best, index, tiou)
  return best
