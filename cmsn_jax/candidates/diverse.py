"""The best segments, and the best of every place and duration.

The segments that score highest crowd around the same few instances: each is
there many times over, a little shifted, and instances that score less have
none. So a part of the budget goes to different segments first: the best one of
each cell of place and duration.
"""

import numpy as np
from jaxtyping import Float, Float64, Int64

# Segments of one cell have durations within this factor of one another, and
# centres within this share of that duration: a tIoU of .6 or more.
DURATION_RATIO = 1.3
CENTRE_STEP = 1 / 4
# To number cells without gaps takes a sort, which costs more than all the rest.
_SPARSE = 8


def select(
  segments: Float[np.ndarray, 'n 2'],
  scores: Float[np.ndarray, ' n'],
  *,
  count: int,
  different: int,
) -> Int64[np.ndarray, ' k']:
  """The best segments, of which the first are the best of their cells.

  The best segment of each cell (see `cells`) stands for it; the `different`
  best of those are selected, then the best of all that are left, until there
  are `count`. Equal scores: the earlier start, then the earlier end.

  Args:
    segments: in snippets, `[n, 2]`, of positive duration.
    scores: higher is better, `[n]`.
    count: segments to select; all, where there are no more.
    different: of them, those that stand for their cells; 0: only scores count.
  Returns:
    indices of min(count, n) segments, best first.
  Raises:
    ValueError: on a segment without duration, a score that is not finite,
      or a negative number.
  """
  if count < 0 or different < 0:
    raise ValueError(
      f'count and different must be at least 0, got {count} and {different}'
    )
  if not np.isfinite(scores).all():
    raise ValueError('scores must be finite')
  cell = cells(segments)
  count = min(count, len(scores))
  if not count:
    return np.zeros(0, np.int64)
  best = np.full(cell.max() + 1, -np.inf)
  np.maximum.at(best, cell, scores)
  # Whatever is selected is among the `count` best, or the best of its cell, and
  # that among the best of the cells.
  near = scores >= _nth(scores, count)
  if different:
    least = _nth(best[best > -np.inf], different)
    near |= scores == np.where(best < least, np.inf, best)[cell]
  near = np.flatnonzero(near)
  starts, ends = segments[near].T
  order = near[np.lexsort((ends, starts, -scores[near]))]
  first = np.sort(np.unique(cell[order], return_index=True)[1])
  selected = np.zeros(len(order), bool)
  selected[first[: min(different, count)]] = True
  rest = np.flatnonzero(~selected)
  selected[rest[: count - np.count_nonzero(selected)]] = True
  return order[selected]


def cells(segments: Float[np.ndarray, 'n 2']) -> Int64[np.ndarray, ' n']:
  """The number of each segment's cell of place and duration, from 0.

  A cell holds durations of one factor `DURATION_RATIO`, and centres of one
  `CENTRE_STEP` of the least duration in it. All numbers are below `_SPARSE` times
  the number of segments; some may be of cells without any.

  Args:
    segments: any unit, `[n, 2]`, of positive duration.
  Raises:
    ValueError: on a segment without duration.
  """
  duration: Float64[np.ndarray, ' n'] = segments[:, 1] - segments[:, 0]
  if not (duration > 0).all():
    raise ValueError('segments must have positive durations')
  if not len(segments):
    return np.zeros(0, np.int64)
  scale = np.floor(np.log(duration) / np.log(DURATION_RATIO))
  first, last = scale.min(), scale.max()
  scale = (scale - first).astype(np.int64)
  step = DURATION_RATIO ** np.arange(first, last + 1) * CENTRE_STEP
  centre = (segments[:, 0] + segments[:, 1]) / 2
  place = np.floor(centre / step[scale])
  # The cells of one duration, then those of the next.
  low, high = (np.floor(end / step) for end in (centre.min(), centre.max()))
  end = np.cumsum(high - low + 1)
  key = place + (end - high - 1)[scale]
  if end[-1] < _SPARSE * len(key):
    return key.astype(np.int64)
  return np.unique(key, return_inverse=True)[1]


def _nth(values, count):
  """The `count`-th best of some values; of fewer the worst."""
  place = max(len(values) - count, 0)
  return np.partition(values, place)[place]
