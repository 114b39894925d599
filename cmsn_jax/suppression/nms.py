"""Scored proposals to kept proposals: Soft-NMS and Greedy-NMS.

Exact, full length, independent of the input's order. Two ideas replace the
Python loop over pairs. Videos, and parts of a video between which nothing
overlaps, step together, each choosing its best proposal in the same few numpy
calls. And tIoU > t means lengths within a factor t and centres close together,
so with proposals sorted by (class of length, centre) all that a chosen one may
touch lies in three short slices.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float64, Int64

from cmsn_jax import segments as segments_lib

# Parts of a video between which nothing overlaps have about this many
# proposals at least, so that a part costs more to work on than to make.
_PART = 64
# Parts step together in groups of about this many padded cells: few enough to
# stay in a core's cache, enough to hide numpy's cost per call.
_CELLS_PER_GROUP = 1 << 17
# Widens the slices against rounding; never the result, which tIoU decides.
_SLACK = 1e-9
# Slices are found anew, without what can no longer change, when half has gone
# and they are long enough for that to pay. Looked at every so many steps.
_LONG_SLICES = 48
_STEPS_PER_LOOK = 32

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

  def decay(tiou: Float64[np.ndarray, ' p']) -> Float64[np.ndarray, ' p']:
    return np.exp(-np.square(tiou) / sigma)

  return _suppress_many(
    segments, scores, threshold, decay, max_proposals, min_score
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
  segments, scores, threshold, decay, max_proposals, min_score
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
  parts = [
    (video, span)
    for video, (_, segments_, _) in enumerate(videos)
    for span in _parts(segments_, max_proposals)
  ]
  results: list = [[] for _ in videos]
  for members in _groups([span.stop - span.start for _, span in parts]):
    rows = [[a[parts[m][1]] for a in videos[parts[m][0]][1:]] for m in members]
    group = _Group(rows, float(threshold), decay)
    for m, kept in zip(members, group.run(max_proposals, float(min_score))):
      video, span = parts[m]
      results[video].append((kept[0] + span.start, kept[1]))
  return [
    _merged(kept, video, max_proposals) for kept, video in zip(results, videos)
  ]


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


def _parts(segments, max_proposals: int | None) -> list[slice]:
  """Slices of a sorted video across whose borders nothing overlaps.

  Each is then a video of its own, and all step together.
  """
  n = len(segments)
  # One by one is shorter where only a few are wanted.
  if max_proposals is not None and max_proposals < n / 4:
    return [slice(0, n)]
  covered = np.maximum.accumulate(segments[:, 1])
  borders = np.flatnonzero(segments[1:, 0] >= covered[:-1]) + 1
  _, chosen = np.unique(borders // _PART, return_index=True)
  borders = [0, *borders[chosen].tolist(), n]
  return [slice(*pair) for pair in zip(borders[:-1], borders[1:])]


def _merged(parts: list, video: tuple, max_proposals: int | None) -> Kept:
  """What is kept of a video's parts, best first, as indices of the input.

  Scores only fall, so sorting by score is the order of choice; equal scores
  are in (start, end) order in each part, hence by their place in the video.
  """
  place = np.concatenate([place for place, _ in parts])
  score = np.concatenate([score for _, score in parts])
  if len(parts) > 1:
    order = np.lexsort((place, -score))[:max_proposals]
    place, score = place[order], score[order]
  return video[0][place], score


def _groups(lengths: list[int]) -> list[list[int]]:
  """Videos of like length together, so that little of a group is padding."""
  order = np.argsort(lengths, kind='stable')[::-1].tolist()
  groups = []
  while order:
    count = max(1, _CELLS_PER_GROUP // max(lengths[order[0]], 1))
    groups.append(order[:count])
    order = order[count:]
  return groups


class _Group:
  """Parts that step together, as padded `[v, n]` arrays.

  A row is sorted by (start, end), so the first maximum of `score` is the
  earliest of equal scores. `score` is -1 where there is nothing to choose:
  padding, chosen, dropped. Cells are numbered `row * n + column`.
  """

  def __init__(self, rows: list, threshold: float, decay: Callable | None):
    self.threshold, self.decay = threshold, decay
    shape = (len(rows), max(len(scores) for _, scores in rows))
    self.start, self.end = np.zeros(shape), np.zeros(shape)
    self.score = np.full(shape, -1.0)
    for row, (segments, scores) in enumerate(rows):
      self.start[row, : len(scores)] = segments[:, 0]
      self.end[row, : len(scores)] = segments[:, 1]
      self.score[row, : len(scores)] = scores
    self._find_neighbours()

  def _live(self) -> np.ndarray:
    """What can still change: a score of 0 decays no further, but can go."""
    return self.score >= 0 if self.decay is None else self.score > 0

  def _find_neighbours(self):
    """Per cell three slices of `cells` holding all that it may suppress.

    With the lengths d and D of two segments, tIoU > t needs an intersection
    above t (d + D) / (1 + t), hence a distance between their centres below
    (1 - t) / (1 + t) * (d + D) / 2, and t < d / D < 1 / t.
    """
    t = self.threshold
    length = self.end - self.start
    # Padding and segments without length have tIoU 0 with everything.
    cells = np.flatnonzero((length > 0) & self._live())
    length = length.ravel()[cells]
    centre = (self.start.ravel()[cells] + self.end.ravel()[cells]) / 2
    # A class spans a factor of at least 1 / t: only neighbour classes match.
    # A very low t has one class, whose upper bound is the longest segment.
    width = max(-np.log(t), 0.05) * (1 + _SLACK) if t > 0.05 else np.inf
    klass = np.floor(np.log(length) / width) if t > 0.05 else 0 * length
    lowest = klass.min(initial=0.0)
    klass -= lowest
    longest = length.max(initial=0.0)

    # One sorted key for all rows, classes and centres.
    centre -= centre.min(initial=0.0)
    span = centre.max(initial=0.0)
    pitch = 2.5 * span + 1.0
    num_classes = klass.max(initial=0.0) + 3
    row = cells // max(self.score.shape[1], 1)
    key = (row * num_classes + klass + 1) * pitch + centre
    order = np.argsort(key, kind='stable')
    key, cells = key[order], cells[order]
    klass, length = klass[order], length[order]
    slack = _SLACK * span + 8 * np.finfo(np.float64).eps * key.max(initial=0.0)

    self.first = np.zeros((self.score.size, 3), np.int64)
    self.count = np.zeros((self.score.size, 3), np.int64)
    for column, step in enumerate((-1, 0, 1)):
      upper = np.full(len(cells), longest)
      if t > 0.05:
        top = np.exp((klass + lowest + step + 1) * width) * (1 + _SLACK)
        upper = np.minimum(upper, top)
      reach = (1 - t) / (1 + t) * (length + upper) / 2
      reach = np.minimum(reach, span) + slack
      first = np.searchsorted(key, key + step * pitch - reach, 'left')
      stop = np.searchsorted(key, key + step * pitch + reach, 'right')
      self.first[cells, column] = first
      self.count[cells, column] = stop - first
    self.cells = cells
    self.sorted_start = self.start.ravel()[cells]
    self.sorted_end = self.end.ravel()[cells]

  def run(self, max_proposals: int | None, min_score: float) -> list[Kept]:
    """Columns kept of each row and their scores, in the order of choice."""
    num_rows, n = self.score.shape
    steps = n if max_proposals is None else min(n, max_proposals)
    kept = np.zeros((steps, num_rows), np.int64)
    kept_score = np.full((steps, num_rows), -1.0)
    score, floor = self.score.ravel(), max(min_score, 0.0)
    rows = np.arange(num_rows)
    for step in range(steps):
      if step % _STEPS_PER_LOOK == 0 and step:
        self._drop_the_dead()
      chosen = rows * n + self.score.argmax(axis=1)
      best = score[chosen]
      going = best >= floor
      if not going.all():
        chosen, best = chosen[going], best[going]
        if not len(chosen):
          break
      row = chosen // n
      kept[step, row], kept_score[step, row] = chosen - row * n, best
      score[chosen] = -1.0
      self._suppress(chosen, score)
    count = (kept_score >= 0).sum(axis=0)
    return [
      (kept[:k, row], kept_score[:k, row])
      for row, k in enumerate(count.tolist())
    ]

  def _drop_the_dead(self):
    if self.count.sum() < _LONG_SLICES * len(self.cells):
      return
    if 2 * np.count_nonzero(self._live()) < len(self.cells):
      self._find_neighbours()

  def _suppress(self, chosen: np.ndarray, score: np.ndarray):
    """Decays, or drops, what overlaps the chosen cells too much."""
    first, count = self.first[chosen].ravel(), self.count[chosen]
    start, end = self.start.ravel()[chosen], self.end.ravel()[chosen]
    # Positions of all slices one after the other, beside their chosen ones.
    each = count.sum(axis=1)
    count = count.ravel()
    stop = np.cumsum(count)
    position = np.repeat(first - stop + count, count)
    position += np.arange(stop[-1])
    start, end = np.repeat(start, each), np.repeat(end, each)
    other_start = self.sorted_start[position]
    other_end = self.sorted_end[position]
    inside = np.minimum(end, other_end) - np.maximum(start, other_start)
    tiou = inside / ((end - start) + (other_end - other_start) - inside)
    hit = np.flatnonzero(tiou > self.threshold)
    cell = self.cells[position[hit]]
    if self.decay is None:
      score[cell] = -1.0
      return
    # Chosen cells must stay at -1; those at 0 cannot fall further.
    live = score[cell] > 0
    cell = cell[live]
    score[cell] *= self.decay(tiou[hit[live]])
