"""Temporal actionness grouping: a watershed of the actionness of snippets."""

import numpy as np
from jaxtyping import Float, Int

# Levels and tolerances that are tried (Xiong et al., Sec. 4.1).
STEP = 0.05


def group(
  actionness: Float[np.ndarray, ' t'],
  step: float = STEP,
) -> Int[np.ndarray, 'n 2']:
  """Segments [start, end) in snippets, each once, in (start, end) order.

  At each level the snippets at or above it make basins. From every basin on,
  the following ones are absorbed as long as basins are at least a share of the
  segment, for every tolerated share.

  Args:
    actionness: in 0..1.
    step: from one level, and from one share, to the next.
  References:
    Xiong et al., `A Pursuit of Temporal Accuracy
    <https://arxiv.org/abs/1703.02716>`, 2017, Sec. 4.1;
    Zhao et al., `SSN <https://arxiv.org/abs/1704.06228>`, 2017, Sec. 5.
  """
  grid = np.arange(1, round(1 / step) + 1) * step
  found = [np.zeros((0, 2), np.int64)]
  for level in grid:
    starts, ends = _basins(actionness, level)
    if not len(starts):
      continue
    # A share of 1 absorbs nothing: the basins themselves.
    for share in grid:
      found.append(np.stack([starts, _absorbed(starts, ends, share)], axis=1))
  return np.unique(np.concatenate(found), axis=0)


def _basins(actionness, level):
  # Levels are sums of steps: what is as high as one is not below it.
  inside = np.pad(actionness >= level - 1e-9, 1).astype(np.int8)
  change = np.diff(inside)
  return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def _absorbed(starts, ends, share):
  """Ends of the segments that grow from each basin.

  From basin k to l, the basins are at least `share` of the segment where
  filled[l] - share ends[l] >= filled[k - 1] - share starts[k]: the segment
  ends before the first l that falls below.
  """
  filled = np.cumsum(ends - starts)
  after = filled - share * ends
  need = filled - (ends - starts) - share * starts
  return ends[_first_below(after, need - 1e-9) - 1]


def _first_below(values, limits):
  """For each k the first l >= k with values[l] < limits[k], or the number.

  Minima of stretches of 1, 2, 4, ... values, from the longest to the shortest:
  whatever is not below in whole is stepped over.
  """
  count = len(values)
  minima = [values]
  while 2 ** len(minima) <= count:
    half = 2 ** (len(minima) - 1)
    minima.append(np.minimum(minima[-1][:-half], minima[-1][half:]))
  place = np.arange(count)
  for power in range(len(minima) - 1, -1, -1):
    table = minima[power]
    inside = place < len(table)
    low = table[np.minimum(place, len(table) - 1)]
    place = np.where(inside & (low >= limits), place + 2**power, place)
  return place


def mean_inside(
  actionness: Float[np.ndarray, ' t'], segments: Int[np.ndarray, 'n 2']
) -> Float[np.ndarray, ' n']:
  """Mean actionness of each segment."""
  sums = np.concatenate([[0.0], np.cumsum(actionness, dtype=np.float64)])
  inside = sums[segments[:, 1]] - sums[segments[:, 0]]
  return inside / np.maximum(segments[:, 1] - segments[:, 0], 1)
