"""Which segments overlap which, without looking at all pairs of a long video."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Int64

from cmsn_jax import segments as segments_lib

# Pairs whose tIoUs are computed in one go: some 100 MB.
_BLOCK = 1 << 20


def pairs(
  left: Float[np.ndarray, 'n 2'], right: Float[np.ndarray, 'm 2']
) -> Iterator[
  tuple[
    Int64[np.ndarray, ' p'], Int64[np.ndarray, ' p'], Float64[np.ndarray, ' p']
  ]
]:
  """Yields (index in left, index in right, tIoU) of pairs that overlap.

  Some at a time, by index in left. Of right only what may overlap is looked at:
  by start, from the first that ends after left begins; so one long segment does
  not make all the others be looked at, but those that begin after it.

  Args:
    left: segments, any order.
    right: segments in the same unit, any order.
  """
  order = np.argsort(right[:, 0], kind='stable')
  right = right[order]
  # Ends so far: it rises, so that it can be searched.
  reach = np.maximum.accumulate(right[:, 1]) if len(right) else right[:, 1]
  low = np.searchsorted(reach, left[:, 0], 'right')
  high = np.searchsorted(right[:, 0], left[:, 1], 'left')
  count = np.maximum(high - low, 0)
  total = np.cumsum(count)
  first = 0
  while first < len(left):
    done = total[first - 1] if first else 0
    stop = int(np.searchsorted(total, done + _BLOCK, 'right'))
    stop = max(stop, first + 1)
    own = count[first:stop]
    index = np.repeat(np.arange(first, stop), own)
    place = np.arange(len(index)) - np.repeat(np.cumsum(own) - own, own)
    other = low[index] + place
    tiou = segments_lib.paired_tiou(left[index], right[other])
    some = tiou > 0
    yield index[some], order[other[some]], tiou[some]
    first = stop


def best_tiou(
  left: Float[np.ndarray, 'n 2'], right: Float[np.ndarray, 'm 2']
) -> Float64[np.ndarray, ' n']:
  """Best tIoU of each segment of `left` with any of `right`; 0 without any."""
  best = np.zeros(len(left))
  for index, _, tiou in pairs(left, right):
    np.maximum.at(best, index, tiou)
  return best
