"""What to look at next: where a decision tells the next model most.

Four reasons, each a gain of 0 to 1:
- a calibrated score near the threshold: the model does not know;
- members whose scores are apart: it depends on chance;
- a high score where the annotations have nothing: an instance was missed;
- an annotation that no proposal comes near: its borders, or it itself, may be
  wrong.
What was looked at already, or would be with a segment that is ranked before,
comes last: two looks at one place tell little more than one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from cmsn_jax import segments as segments_lib
from cmsn_jax.review import edits

UNSURE = 'score near the threshold'
APART = 'members disagree'
MISSED = 'high score, not annotated'
STRANGE = 'annotated, never proposed'
# A proposal says the same as an annotation from here on.
_SAME_TIOU = 0.5
# More of a segment than this was looked at: nothing new is seen there.
_MOST_SEEN = 0.5
_CELLS_PER_SEC, _MOST_CELLS = 10.0, 2_000_000
# Nobody looks at more in one sitting: what follows is by gain alone.
_MOST_SPREAD = 500
_BLOCK = 512


class Ranked(NamedTuple):
  """A segment that is worth a look.

  Attributes:
    key: the item's id.
    gain: 0 to 1, or somewhat more where members disagree.
    reason: for people.
  """

  key: str
  gain: float
  reason: str


class _Grid:
  """Which of a recording's time was looked at, in cells."""

  def __init__(self, duration_sec: float | int, spans):
    self.rate = min(_CELLS_PER_SEC, _MOST_CELLS / max(duration_sec, 1.0))
    self.seen = np.zeros(int(duration_sec * self.rate) + 2, bool)
    for start, end in spans:
      self.add(start, end)

  def _cells(self, start, end) -> Bool[np.ndarray, ' k']:
    first = int(start * self.rate)
    return self.seen[first : max(first + 1, int(np.ceil(end * self.rate)))]

  def add(self, start, end) -> None:
    self._cells(start, end)[:] = True

  def share(self, start, end) -> float:
    cells = self._cells(start, end)
    return float(cells.mean()) if len(cells) else 1.0

  def shares(
    self, spans: Float64[np.ndarray, 'n 2']
  ) -> Float64[np.ndarray, ' n']:
    """`share` of many at once, as the grid is now."""
    total = np.concatenate([[0], np.cumsum(self.seen)])
    first = (spans[:, 0] * self.rate).astype(int)
    last = np.maximum(first + 1, np.ceil(spans[:, 1] * self.rate).astype(int))
    first, last = (np.minimum(x, len(self.seen)) for x in (first, last))
    return (total[last] - total[first]) / np.maximum(last - first, 1)


def rank(
  items: Mapping[str, edits.Item],
  looked_at: Sequence[edits.Span],
  duration_sec: float | int,
  *,
  threshold: float = 0.5,
  disagreement: Mapping[str, float] | None = None,
  done: bool = False,
) -> list[Ranked]:
  """The segments of a recording that nobody decided about, best look first.

  Args:
    items: of the recording.
    looked_at: spans that somebody looked at, seconds.
    duration_sec: of the recording.
    threshold: the score at which a proposal would be taken, in (0, 1).
    disagreement: how far members are apart, 0 to 1, by item.
    done: the recording is finished: nothing of it is worth a look.
  Raises:
    ValueError: if the threshold is not within (0, 1).
  """
  if not 0 < threshold < 1:
    raise ValueError(f'threshold must be within (0, 1), got {threshold}')
  if done:
    return []
  proposed = {k: i for k, i in items.items() if i.status == 'open'}
  kept = {k: i for k, i in items.items() if i.status in edits.KEPT}
  grid = _Grid(duration_sec, looked_at)
  found = _of_proposals(proposed, kept, grid, threshold, disagreement or {})
  found += _of_annotations(items, kept)
  found.sort(key=lambda ranked: -ranked.gain)
  return _spread(found, items, duration_sec)


def _of_proposals(proposed, kept, grid, threshold, disagreement):
  if not proposed:
    return []
  spans = _spans(proposed.values())
  scores = probabilities([item.score or 0.0 for item in proposed.values()])
  unsure = np.minimum(scores / threshold, (1 - scores) / (1 - threshold))
  explained = _best_tiou(spans, _spans(kept.values())) >= _SAME_TIOU
  shares = grid.shares(spans)
  apart = np.array([disagreement.get(key, 0.0) for key in proposed])
  missed = shares > _MOST_SEEN
  gains = np.where(missed, scores * shares, (unsure + apart) * (1 - shares))
  gains[explained] = 0.0
  return [
    Ranked(key, gain, MISSED if seen else APART if other else UNSURE)
    for key, gain, seen, other in zip(
      proposed, gains.tolist(), missed, apart > unsure
    )
    if gain > 0
  ]


def _of_annotations(items, kept):
  """Annotations that were given and that no proposal comes near."""
  given = {k: item for k, item in kept.items() if item.status == 'given'}
  proposed = [item for item in items.values() if item.source == 'proposal']
  if not given or not proposed:
    return []
  best = _best_tiou(_spans(given.values()), _spans(proposed))
  return [
    Ranked(key, float(1 - tiou), STRANGE)
    for key, tiou in zip(given, best)
    if tiou < _SAME_TIOU
  ]


def _spread(found, items, duration_sec):
  """Those that show something new first; the rest after them."""
  grid, first, later = _Grid(duration_sec, []), [], []
  for k, ranked in enumerate(found):
    if len(first) == _MOST_SPREAD:
      later += found[k:]
      break
    item = items[ranked.key]
    share = grid.share(item.start, item.end)
    if share > _MOST_SEEN:
      later.append(ranked._replace(gain=ranked.gain * (1 - share)))
      continue
    grid.add(item.start, item.end)
    first.append(ranked)
  return first + sorted(later, key=lambda ranked: -ranked.gain)


def probabilities(
  scores: Sequence[float] | Float[np.ndarray, ' n'],
) -> Float64[np.ndarray, ' n']:
  """Scores within [0, 1]: as they are, or else their share of the ranks."""
  scores = np.asarray(scores, np.float64)
  if not len(scores) or (scores.min() >= 0 and scores.max() <= 1):
    return scores
  order = np.argsort(np.argsort(scores, kind='stable'), kind='stable')
  return (order + 0.5) / len(scores)


def _spans(items) -> Float64[np.ndarray, 'n 2']:
  rows = [(item.start, item.end) for item in items]
  return np.array(rows, np.float64).reshape(-1, 2)


def _best_tiou(spans, others) -> Float64[np.ndarray, ' n']:
  best = np.zeros(len(spans))
  if len(others):
    for k in range(0, len(spans), _BLOCK):
      tiou = segments_lib.tiou(spans[k : k + _BLOCK], others)
      best[k : k + _BLOCK] = tiou.max(axis=1)
  return best
