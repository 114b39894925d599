"""Threshold-wise NMS: from P(tIoU >= t) of each candidate to kept proposals.

AR averages recall over tIoU thresholds, so a candidate is worth the mean over
thresholds of the chance that it matches an instance there. A chosen proposal
makes another one worthless only where it already covers the *same instance at
the same threshold*: at .5 every close neighbour, at .95 hardly any. Soft-NMS
has one decay for all and therefore a sigma and a threshold to tune on every
data set; here the decay of each threshold follows from geometry, and nothing
is left to tune.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from cmsn_jax import segments as segments_lib

# The ten thresholds of ActivityNet's AR.
# tIoU is looked up, and interpolated, on this many equal steps of [0, 1].
_BINS = 20
_SAMPLES = 200_000
_NEGLIGIBLE = 0.02
# Scores are searched for their maximum block by block.
_BLOCK = 128
_SLACK, _TINY = 1e-9, 1e-300


class Kept(NamedTuple):
  """Indices of kept candidates [k] and their gains [k], best first."""

  indices: Int64[np.ndarray, ' k']
  scores: Float64[np.ndarray, ' k']


@functools.cache
def coverage_table() -> Float64[np.ndarray, 'bins thresholds']:
  """P(s matches the instance at t | c matches it at t, tIoU(s, c) = o).

  By simulation, with a fixed seed: c jitters an instance, s jitters c, with
  relative deviations from 2 % to 60 % (80 %). Row i is o = i / 20, column j
  is `segments.TIOU_THRESHOLDS[j]`; the last row is 1, so a duplicate is worth
  nothing.

  Returns:
    probabilities, non-decreasing in o.
  """
  rng = np.random.default_rng(0)
  instance = np.tile([[-0.5, 0.5]], (_SAMPLES, 1))

  def jittered(base, most):
    deviation = np.exp(rng.uniform(np.log(0.02), np.log(most), (_SAMPLES, 1)))
    length = base[:, 1:] - base[:, :1]
    return base + rng.normal(size=(_SAMPLES, 2)) * deviation * length

  candidate = jittered(instance, 0.6)
  chosen = jittered(candidate, 0.8)
  valid = (np.diff(candidate)[:, 0] > 0.05) & (np.diff(chosen)[:, 0] > 0.05)
  candidate, chosen, instance = (
    x[valid] for x in (candidate, chosen, instance)
  )
  between = segments_lib.paired_tiou(candidate, chosen)
  candidate_tiou = segments_lib.paired_tiou(candidate, instance)
  chosen_tiou = segments_lib.paired_tiou(chosen, instance)
  table = np.zeros((_BINS + 1, len(segments_lib.TIOU_THRESHOLDS)))
  rows = np.round(between * _BINS).astype(int)
  for row in range(_BINS + 1):
    for column, threshold in enumerate(segments_lib.TIOU_THRESHOLDS):
      given = (rows == row) & (candidate_tiou >= threshold)
      if given.sum() > 20:
        table[row, column] = np.mean(chosen_tiou[given] >= threshold)
  table[-1] = 1.0
  # Rare events at small tIoU only widen what each step must look at.
  table[table < _NEGLIGIBLE] = 0.0
  return np.maximum.accumulate(table, axis=0)


def mean_coverage(
  tiou: Float[np.ndarray, '*shape'],
) -> Float64[np.ndarray, '*shape']:
  """Share of a segment's matches that one of this tIoU with it has too.

  `coverage_table`, over all thresholds.
  """
  places = np.linspace(0.0, 1.0, _BINS + 1)
  return np.interp(tiou, places, coverage_table().mean(axis=1))


def select(
  segments: Float[np.ndarray, 'n 2'],
  probabilities: Float[np.ndarray, 'n thresholds'],
  *,
  max_proposals: int | None = None,
  min_score: float | int = 1e-4,
) -> Kept:
  """Chooses proposals one by one, each for what it adds to the chosen ones.

  The candidate with the largest mean over t of p_t is kept; every other one's
  p_t is multiplied by 1 - coverage(tIoU with it, t); and so on. Equal scores:
  the earlier start, then the earlier end. The returned score is the gain when
  chosen, so it never increases from one proposal to the next.

  Args:
    segments: `[n, 2]`, any unit.
    probabilities: `[n, 10]`, P(tIoU with its instance >= t) for each of
      `segments.TIOU_THRESHOLDS`, within [0, 1].
    max_proposals: keep at most this many; None: all that gain `min_score`.
    min_score: stop at the first gain below this, above 0.
  Returns:
    indices into the input and gains, best first.
  Raises:
    ValueError: on malformed segments or probabilities, or an option out of
      range.
  """
  segments_lib.check(segments)
  expected = len(segments), len(segments_lib.TIOU_THRESHOLDS)
  if probabilities.shape != expected:
    raise ValueError(
      f'probabilities must have shape {expected}, '
      f'one column a threshold, got {probabilities.shape}'
    )
  if not np.all((probabilities >= 0) & (probabilities <= 1)):
    raise ValueError('probabilities must be within [0, 1], without NaN')
  if max_proposals is not None and max_proposals < 1:
    raise ValueError(f'max_proposals must be at least 1, got {max_proposals}')
  if not min_score > 0:
    raise ValueError(f'min_score must be above 0, got {min_score}')
  # By centre: all that a chosen proposal may touch is then one short slice.
  centres = segments.mean(axis=1)
  order = np.lexsort((segments[:, 1], segments[:, 0], centres))
  kept, gains = _select_sorted(
    np.asarray(segments, np.float64)[order],
    np.asarray(probabilities, np.float64)[order],
    len(segments) if max_proposals is None else max_proposals,
    min_score,
  )
  return Kept(order[kept], gains)


def _select_sorted(segments, remaining, most, min_score):
  """`select` of segments by centre; uses `remaining` up.

  Chosen are all at once that score highest of all that they may touch: nothing
  that is chosen before them, one by one, would change their scores.
  """
  decay = 1.0 - coverage_table()
  slope = np.diff(decay, axis=0, append=decay[-1:])
  # Below this tIoU nothing decays, which bounds how far a proposal reaches.
  least = (np.flatnonzero(np.any(decay < 1, axis=1))[0] - 1) / _BINS
  starts, ends = np.ascontiguousarray(segments.T)
  low, high = _reached(segments.mean(axis=1), ends - starts, least)
  peaks = _Peaks(remaining.mean(axis=1), segments, low, high)
  scores, number = peaks.scores, remaining.shape[1]
  kept, gains = [], _Gains(most, min_score)
  while len(best := peaks.highest(gains.least)):
    kept.append(best)
    gains.add(scores[best])
    near, count = _ranges(low[best], high[best])
    start, end = starts[near], ends[near]
    own_start, own_end = (np.repeat(x[best], count) for x in (starts, ends))
    union = np.maximum(end, own_end) - np.minimum(start, own_start)
    tiou = np.minimum(end, own_end, out=end)
    tiou -= np.maximum(start, own_start, out=start)
    # Without any length they have nothing in common.
    tiou /= np.maximum(union, _TINY, out=union)
    touched = (tiou > least).nonzero()[0]
    place = tiou[touched]
    place *= _BINS
    row = place.astype(np.int64)
    place -= row
    left = slope.take(row, axis=0)
    left *= place[:, None]
    left += decay.take(row, axis=0)
    touched = near[touched]
    left *= remaining.take(touched, axis=0)
    remaining[touched] = left
    scores[touched] = np.add.reduce(left, axis=1) / number
    remaining[best] = 0.0
    scores[best] = -1.0
    peaks.update(best)
  kept, gains = np.concatenate([[], *kept]).astype(np.int64), gains.all()
  order = np.lexsort((ends[kept], starts[kept], -gains))[:most]
  return kept[order], gains[order]


class _Gains:
  """What was gained, and what another must gain to be among the `most` best.

  Args:
    most: that are kept.
    least: that anything must gain.
  """

  def __init__(self, most, least):
    self._most, self._parts, self._count = most, [np.zeros(0)], 0
    self.least = least

  def all(self):
    return np.concatenate(self._parts)

  def add(self, gains):
    self._parts.append(gains)
    self._count += len(gains)
    if self._count >= self._most:
      found = np.partition(self.all(), -self._most)[-self._most]
      self.least = max(self.least, found)


def _reached(centres, lengths, least):
  """First, and one past the last, of the segments that each may touch.

  A tIoU above `least` needs a length below own / least, and centres within half
  the sum of both lengths.
  """
  longest = np.minimum(lengths / least, lengths.max(initial=0.0))
  reach = (lengths + longest) / 2 * (1 + _SLACK) + _SLACK
  low = np.searchsorted(centres, centres - reach, 'left')
  high = np.searchsorted(centres, centres + reach, 'right')
  return low, high


def _ranges(first, last):
  """All numbers of several ranges, one after the other, and how many of each."""
  count = last - first
  if len(count) == 1:
    return np.arange(first[0], last[0]), count
  end = count.cumsum()
  number = np.arange(end[-1])
  number += np.repeat(last - end, count)
  return number, count


class _Peaks:
  """The best of many scores, found anew only in the blocks that changed.

  Args:
    scores: at least 0.
    segments: the order of equal scores.
    low: of each the first that it may change.
    high: and one past the last.
  """

  def __init__(self, scores, segments, low, high):
    blocks = -(-max(len(scores), 1) // _BLOCK)
    # What pads the last block is never chosen.
    self._rows = np.full((blocks, _BLOCK), -1.0)
    self.scores = self._rows.reshape(-1)
    self.scores[: len(scores)] = scores
    self._low, self._high = low, high
    self._blocks = low // _BLOCK, -(-high // _BLOCK)
    # Of equal scores the earlier start, then the earlier end.
    self._turn = np.arange(blocks * _BLOCK)
    order = np.lexsort((segments[:, 1], segments[:, 0]))
    self._turn[order] = np.arange(len(order))
    self._best, self._at = np.zeros(blocks), np.zeros(blocks, np.int64)
    self._find(np.arange(blocks))

  def update(self, chosen):
    """Scores that these may change are others now."""
    first, last = self._blocks
    self._find(_ranges(first[chosen], last[chosen])[0])

  def highest(self, least):
    """Those that score highest of all that they may change, by place.

    Args:
      least: that they have to score.
    Returns:
      indices; no two of them may change one and the same.
    """
    blocks = (self._best >= least).nonzero()[0]
    at = self._at[blocks]
    if len(blocks) < 2:
      return at
    order = np.lexsort((self._turn[at], -self._best[blocks]))
    # Where each block stands; those below, and what is past the end, are last.
    rank = np.full(len(self._best) + 1, len(blocks))
    rank[blocks[order]] = np.arange(len(blocks))
    ends = np.empty((len(blocks), 2), np.int64)
    for column, end in enumerate(self._blocks):
      end.take(at, out=ends[:, column])
    first = np.minimum.reduceat(rank, ends.reshape(-1))[::2]
    found = at[first == rank[blocks]]
    if len(found) < 2:
      return found
    before = np.maximum.accumulate(self._high[found[:-1]])
    return found[np.append(True, self._low[found[1:]] >= before)]

  def _find(self, blocks):
    """The best of these blocks, and where it is."""
    rows = self._rows.take(blocks, axis=0)
    column = rows.argmax(axis=1)
    best = rows[np.arange(len(rows)), column]
    ties = rows == best[:, None]
    if np.count_nonzero(ties) > len(rows):
      turn = self._turn.reshape(-1, _BLOCK)[blocks]
      column = np.where(ties, turn, self._turn.size).argmin(axis=1)
    self._best[blocks] = best
    self._at[blocks] = blocks * _BLOCK + column
