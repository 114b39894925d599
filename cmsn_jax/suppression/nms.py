"""Scored proposals to kept proposals: Soft-NMS and Greedy-NMS.

Exact, full length, independent of the input's order. Scores only fall, so a
proposal that is ahead of all its neighbours now will be chosen before them,
and nothing later touches it: all such proposals, of all videos, are chosen in
one round of numpy calls, some thirty rounds in place of a step a proposal. Only
the best few thousand (a block) take part in rounds; what they do to the others
is computed once, when they are chosen.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int64

from cmsn_jax import segments as segments_lib

# Proposals that are worked on together.
_TOGETHER = 8192
# Proposals of the first block; the next are as large as rounds stay cheap.
_BLOCK = 2048
_LEAST_BLOCK = 64
_MOST_EDGES = 1 << 17
# Pairs that are looked at in one call: bounds the memory.
_PAIRS = 1 << 16
# Squared tIoUs add up as whole numbers of this unit: in whatever order, the
# sum is the same, so equal proposals stay equal.
_UNIT = 2.0**-48
_LARGEST = 1 << 61
# Widens the slices against rounding; never the result, which tIoU decides.
_SLACK = 1e-9

Kept = tuple[Int64[np.ndarray, ' k'], Float64[np.ndarray, ' k']]


def soft_nms(
  segments: Float[np.ndarray, 'n 2'],
  scores: Float[np.ndarray, ' n'],
  *,
  sigma: float | int = 0.75,
  threshold: float | int = 0.65,
  max_proposals: int | None = None,
  min_score: float | int = 0.0,
) -> Kept:
  """Gaussian Soft-NMS of one video, best first.

  The best remaining proposal is kept; every other one whose tIoU with it is
  above `threshold` has its score multiplied by `exp(-tIoU^2 / sigma)`; and so
  on to the last one. Equal scores: the earlier start, then the earlier end.
  The exponents of a proposal are summed to 48 binary places, whatever their
  order.

  Args:
    segments: `[n, 2]`, any unit.
    scores: `[n]`, at least 0.
    sigma: width of the Gaussian (BSN's .75 for THUMOS14).
    threshold: only proposals above this tIoU decay (BSN's .65 for THUMOS14).
    max_proposals: keep at most this many; None keeps all.
    min_score: stop at the first decayed score below this.
  Returns:
    indices into the input `[k]` and their decayed scores `[k]`, best first.
  Raises:
    ValueError: on malformed segments, a negative or non-finite score, or an
      option out of range.
  References:
    Bodla et al., `Soft-NMS <https://arxiv.org/abs/1704.04503>`, 2017;
    Lin et al., `BSN <https://arxiv.org/abs/1806.02964>`, 2018.
  """
  return soft_nms_many(
    [segments],
    [scores],
    sigma=sigma,
    threshold=threshold,
    max_proposals=max_proposals,
    min_score=min_score,
  )[0]


def soft_nms_many(
  segments: Sequence[Float[np.ndarray, '_ 2']],
  scores: Sequence[Float[np.ndarray, ' _']],
  *,
  sigma: float | int = 0.75,
  threshold: float | int = 0.65,
  max_proposals: int | None = None,
  min_score: float | int = 0.0,
) -> list[Kept]:
  """`soft_nms` of many videos at once: same results, far fewer steps.

  Args:
    segments: of each video, `[n, 2]`, any unit.
    scores: of each video, `[n]`, at least 0.
    sigma: see `soft_nms`; so are the others.
    threshold: likewise.
    max_proposals: likewise, a video.
    min_score: likewise.
  Returns:
    what is kept of each video.
  Raises:
    ValueError: on malformed segments or scores, or an option out of range.
  """
  if not sigma > 0:
    raise ValueError(f'sigma must be > 0, got {sigma}')
  return _suppress_many(
    segments, scores, threshold, sigma, max_proposals, min_score
  )


def greedy_nms(
  segments: Float[np.ndarray, 'n 2'],
  scores: Float[np.ndarray, ' n'],
  *,
  tiou: float | int = 0.8,
  max_proposals: int | None = None,
) -> Kept:
  """Greedy NMS of one video, best first.

  The best remaining proposal is kept, those whose tIoU with it is above
  `tiou` are dropped. Equal scores: the earlier start, then the earlier end.

  Args:
    segments: `[n, 2]`, any unit.
    scores: `[n]`, at least 0.
    tiou: tIoU above which the lower-scored of two proposals is dropped.
    max_proposals: keep at most this many; None keeps all.
  Returns:
    indices into the input `[k]` and their unchanged scores `[k]`, best first.
  Raises:
    ValueError: as `soft_nms`.
  """
  return greedy_nms_many(
    [segments], [scores], tiou=tiou, max_proposals=max_proposals
  )[0]


def greedy_nms_many(
  segments: Sequence[Float[np.ndarray, '_ 2']],
  scores: Sequence[Float[np.ndarray, ' _']],
  *,
  tiou: float | int = 0.8,
  max_proposals: int | None = None,
) -> list[Kept]:
  """`greedy_nms` of many videos at once: same results, far fewer steps."""
  return _suppress_many(segments, scores, tiou, None, max_proposals, 0.0)


def _suppress_many(
  segments, scores, threshold, sigma, max_proposals, min_score
):
  if len(segments) != len(scores):
    raise ValueError(
      f'segments and scores must be of as many videos, got {len(segments)} '
      f'and {len(scores)}'
    )
  if not 0 <= threshold <= 1:
    raise ValueError(f'the tIoU threshold must be in 0..1, got {threshold}')
  if max_proposals is not None and max_proposals < 0:
    raise ValueError(
      f'max_proposals must be None or at least 0, got {max_proposals}'
    )
  videos = [_by_time(*_check(*pair)) for pair in zip(segments, scores)]
  # Videos together, as many as a core's cache holds.
  starts = np.cumsum([0, *(len(order) for order, _, _ in videos)])
  found, low = [], 0
  while low < len(videos):
    high = np.searchsorted(starts, starts[low] + _TOGETHER, 'right') - 1
    high = max(low + 1, int(high))
    found += _suppress_group(
      videos[low:high], threshold, sigma, max_proposals, min_score
    )
    low = high
  return found


def _suppress_group(videos, threshold, sigma, max_proposals, min_score):
  counts = [len(order) for order, _, _ in videos]
  order, spans, values = (np.concatenate(x) for x in zip(*videos))
  video = np.repeat(np.arange(len(videos)), counts)
  field = _Field(spans, values, video, float(threshold), sigma)
  chosen = field.run(max_proposals, float(min_score))
  # Scores only fall, so sorting by score is the order of choice.
  best = np.lexsort((chosen, -field.score[chosen], video[chosen]))
  borders = np.cumsum(np.bincount(video[chosen], minlength=len(videos)))[:-1]
  kept = [part[:max_proposals] for part in np.split(chosen[best], borders)]
  return [(order[cells], field.score[cells]) for cells in kept]


def _check(segments, scores):
  segments = segments_lib.check(segments)
  scores = np.asarray(scores, np.float64)
  if scores.shape != (len(segments),):
    raise ValueError(
      f'scores must have one entry per segment, got shapes '
      f'{list(scores.shape)} and {list(segments.shape)}'
    )
  bad = ~(np.isfinite(scores) & (scores >= 0))
  if bad.any():
    row = int(np.argmax(bad))
    raise ValueError(
      f'scores must be finite and >= 0 (decay would raise a negative one), '
      f'got {scores[row]} in row {row}'
    )
  return segments, scores


def _by_time(segments, scores):
  """Input indices, segments and scores by (start, end)."""
  order = np.lexsort((segments[:, 1], segments[:, 0]))
  return order, segments[order], scores[order]


class _Field:
  """Proposals ("cells") of all videos, by (video, start, end).

  Of equal scores the lower cell is ahead. `score` is what a cell has left, and
  what it was chosen with once it is no longer `free`.
  """

  def __init__(self, segments, scores, video, threshold, sigma):
    self._start, self._end = segments.T.copy()
    self._video = video
    self._threshold, self._sigma = threshold, sigma
    self._first, self.score = scores, scores.copy()
    self._decay = np.zeros(len(scores), np.int64)
    self.free = np.ones(len(scores), bool)
    self._length = self._end - self._start
    # Videos one after the other, too far apart to touch. Centres within
    # rounding of a border are looked at, tIoU decides.
    centre = segments.mean(axis=1)
    centre -= centre.min(initial=0.0)
    longest = self._length.max(initial=0.0)
    pitch = centre.max(initial=0.0) + 2 * longest + 1.0
    self._centre = centre + video * pitch
    top = self._centre.max(initial=0.0)
    self._slack = _SLACK * longest + 8 * np.finfo(np.float64).eps * top
    self._longest = longest
    self._sort(np.arange(len(scores)))

  def _sort(self, cells):
    """Free cells by their centres, without those that overlap nothing."""
    cells = cells[self._length[cells] > 0]
    self._sorted = cells[np.argsort(self._centre[cells], kind='stable')]
    self._sorted_centre = self._centre[self._sorted]

  def run(self, max_proposals: int | None, min_score: float) -> np.ndarray:
    """The cells chosen, at least the best `max_proposals` of each video."""
    found, size = [np.zeros(0, np.int64)], _BLOCK
    most = np.inf if max_proposals is None else max_proposals
    count = np.zeros(self._video.max(initial=0) + 1, np.int64)
    while True:
      self.free &= (self.score >= min_score) & (count[self._video] < most)
      cells = np.flatnonzero(self.free)
      if not len(cells):
        return np.concatenate(found)
      block = self._ahead(cells, size)
      rest = len(block) < len(cells)
      chosen, edges = self._resolve(block, None if rest else min_score)
      found.append(chosen)
      count += np.bincount(self._video[chosen], minlength=len(count))
      self.free[chosen] = False
      if rest:
        self._spread(chosen, block)
        if 2 * np.count_nonzero(self.free) < len(self._sorted):
          self._sort(np.flatnonzero(self.free))
      if 2 * len(chosen) > size and edges < _MOST_EDGES:
        size *= 2
      elif 8 * len(chosen) < size or edges > _MOST_EDGES:
        size = max(_LEAST_BLOCK, size // 2)

  def _ahead(self, cells, size):
    """The `size` cells that are ahead of all others, in (score, cell) order."""
    if size < len(cells):
      score = self.score[cells]
      least = np.partition(score, len(cells) - size)[len(cells) - size]
      cells = cells[score >= least]
    return cells[np.lexsort((cells, -self.score[cells]))[:size]]

  def _resolve(self, block, least):
    """Chooses from a block while its cells stay ahead of all others.

    Args:
      block: best first.
      least: score that a cell must have; None: there are others, so it must
        stay ahead of the last of the block.
    Returns:
      the cells chosen, and how many pairs of the block overlap too much.
    """
    last, last_cell = self.score[block[-1]], block[-1]
    if least is not None:
      last, last_cell = least, len(self.score)
    block = np.sort(block)
    a, b, weight = self._pairs(block)
    edges, early = len(a), block <= last_cell
    score, decay = self.score[block], self._decay[block]
    free, picked = np.ones((2, len(block)), bool)
    picked[:] = False
    while True:
      ahead = free & ((score > last) | ((score == last) & early))
      chosen = ahead.copy()
      chosen[np.where(score[a] >= score[b], b, a)] = False
      if not chosen.any():
        break
      picked |= chosen
      free &= ~chosen
      from_a, from_b = chosen[a], chosen[b]
      reached = np.concatenate([b[from_a], a[from_b]])
      left = ~(from_a | from_b) & (ahead[a] | ahead[b])
      if self._sigma is None:
        free[reached] = False
        left &= free[a] & free[b]
      else:
        np.add.at(
          decay, reached, np.concatenate([weight[from_a], weight[from_b]])
        )
        score[reached] = self._decayed(block[reached], decay[reached])
      a, b, weight = a[left], b[left], weight[left]
    self.free[block], self.score[block] = free, score
    self._decay[block] = decay
    return block[picked], edges

  def _spread(self, chosen, block):
    """What the chosen cells of a block do to the free ones outside of it."""
    outside = self.free.copy()
    outside[block] = False
    chosen = chosen[self._length[chosen] > 0]
    # tIoU > t needs lengths within a factor t, and an intersection above
    # t (d + D) / (1 + t), hence centres within (1 - t) / (1 + t) (d + D) / 2.
    length, t = self._length[chosen], self._threshold
    other = np.minimum(length / t, self._longest) if t else self._longest
    reach = (1 - t) / (1 + t) * (length + other) / 2
    for mine, theirs in self._near(
      self._centre[chosen], reach, self._sorted_centre
    ):
      theirs = self._sorted[theirs]
      there = outside[theirs]
      mine, theirs = chosen[mine[there]], theirs[there]
      hit, weight = self._over(mine, theirs)
      theirs = theirs[hit]
      if self._sigma is None:
        self.free[theirs] = False
        continue
      np.add.at(self._decay, theirs, weight)
      np.minimum(self._decay, _LARGEST, out=self._decay)
      self.score[theirs] = self._decayed(theirs, self._decay[theirs])

  def _pairs(self, block):
    """Places (a < b) in a sorted block of all pairs above the threshold."""
    places = np.flatnonzero(self._length[block] > 0)
    centre = self._centre[block[places]]
    order = np.argsort(centre, kind='stable')
    places, centre = places[order], centre[order]
    cells, t = block[places], self._threshold
    length = self._length[cells]
    least = length * (t * (1 - _SLACK))
    # Found from the longer one of a pair.
    reach = (1 - t) / (1 + t) * length
    found = [(np.zeros(0, np.int64),) * 3]
    for longer, other in self._near(centre, reach, centre):
      size, own = length[other], length[longer]
      once = (size < own) & (size >= least[longer])
      once |= (size == own) & (other < longer)
      longer, other = longer[once], other[once]
      hit, weight = self._over(cells[longer], cells[other])
      longer, other = places[longer[hit]], places[other[hit]]
      found.append(
        (np.minimum(longer, other), np.maximum(longer, other), weight)
      )
    return tuple(np.concatenate(x) for x in zip(*found))

  def _near(self, centre, reach, others):
    """Places in `centre` and in sorted `others` within `reach`, some at once."""
    reach = reach + self._slack
    first = np.searchsorted(others, centre - reach, 'left')
    count = np.searchsorted(others, centre + reach, 'right') - first
    return segments_lib.expanded(first, count, _PAIRS)

  def _over(self, a, b):
    """Which pairs of cells overlap too much, and what that takes away."""
    inside = np.minimum(self._end[a], self._end[b])
    inside -= np.maximum(self._start[a], self._start[b])
    tiou = inside / (self._length[a] + self._length[b] - inside)
    hit = np.flatnonzero(tiou > self._threshold)
    return hit, np.rint(np.square(tiou[hit]) / _UNIT).astype(np.int64)

  def _decayed(self, cells, decay):
    return self._first[cells] * np.exp(decay * -_UNIT / self._sigma)
