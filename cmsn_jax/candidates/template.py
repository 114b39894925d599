"""Stage posteriors to candidate proposals by the six-stage template.

The paper's generator (proposals.py) reads the arg-max stage sequence, so one
wrong label hides an instance from it. Here every (start, duration) of a grid is
scored by how well the stage *probabilities* fit the template that an instance
of this start and duration would have: Ready before it, Start, Confirm and End
in its thirds, Follow after it (Sec. 3.1). Prefix sums make that independent of
the durations, and exact between snippets.
"""

import collections
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from cmsn_jax import segments as segments_lib
from cmsn_jax import stage_names
from cmsn_jax.candidates import diverse

# Stage, and where its part begins and ends, in durations from the start.
_PARTS = (
  (1, -1 / 2, 0.0),
  (2, 0.0, 1 / 3),
  (3, 1 / 3, 2 / 3),
  (4, 2 / 3, 1.0),
  (5, 1.0, 3 / 2),
)

# Of instances that touch, or are shorter than a snippet or two, even perfect
# stages show no clear borders.
_UNCLEAR = 0.01


class _Places(NamedTuple):
  """Points in time: the snippet that each is in, and how far into it."""

  index: np.ndarray
  rest: np.ndarray


class StageSums:
  """Integrals of the stage probabilities up to any point in time.

  Args:
    probabilities: of every snippet, `[t, 6]`.
  """

  def __init__(self, probabilities: Float[np.ndarray, 't stages']):
    # A stage after the other, and a snippet of nothing for the end of the last.
    shape = stage_names.COUNT, len(probabilities) + 1
    self._rows, self._sums = np.zeros(shape), np.zeros(shape)
    self._rows[:, :-1] = probabilities.T
    np.cumsum(self._rows[:, :-1], axis=1, out=self._sums[:, 1:])

  def __len__(self):
    return self._rows.shape[1] - 1

  def places(self, time: Float64[np.ndarray, ' n']) -> _Places:
    """Points in time, in snippets, that stages are integrated to by `at`."""
    time = np.clip(time, 0, len(self))
    index = time.astype(np.int64)
    time -= index
    return _Places(index, time)

  def at(
    self, weights: dict[int, float], places: _Places
  ) -> Float64[np.ndarray, ' n']:
    """Integral from 0 to each place of the stages that have a weight."""
    # Weighted first: places are looked up once, however many stages there are.
    rows = sum(weight * self._rows[i] for i, weight in weights.items())
    sums = sum(weight * self._sums[i] for i, weight in weights.items())
    found = rows.take(places.index)
    found *= places.rest
    found += sums.take(places.index)
    return found


class TemplateCandidates(NamedTuple):
  """Candidate proposals, best first.

  Attributes:
    segments: `[start, end)` in snippets with fractions, `[n, 2]`, float64.
    scores: fit to the template, in 0..1, times what the borders are worth,
      `[n]`, float64.
  """

  segments: Float64[np.ndarray, 'n 2']
  scores: Float64[np.ndarray, ' n']


def fit_scores(
  sums: StageSums,
  segments: Float[np.ndarray, 'n 2'],
  context_weight: float | int = 0.5,
) -> Float64[np.ndarray, ' n']:
  """Fit of any segments to the stage template.

  The mean probability of Start, Confirm and End over the three thirds and,
  weighted by `context_weight`, of Ready and Follow over half a duration before
  and after. What lies outside the video counts 0.

  Args:
    sums: of the video.
    segments: in snippets, fractions allowed, `[n, 2]`, of positive duration.
    context_weight: of Ready and Follow; the inner parts have 1.
  Returns:
    weighted mean in 0..1, `[n]`.
  """
  start = segments[:, 0]
  duration = segments[:, 1] - start
  fit = np.zeros(len(segments))
  for share, weights in _ends(context_weight):
    fit += sums.at(weights, sums.places(start + share * duration))
  fit /= duration * (3 + 2 * context_weight)
  return np.clip(fit, 0, 1)


def _ends(context_weight):
  """Where parts end and begin, and what each stage's integral counts there."""
  found = collections.defaultdict(dict)
  for stage, begin, end in _PARTS:
    weight = context_weight if stage in (1, 5) else 1.0
    weight /= end - begin
    found[begin][stage] = -weight
    found[end][stage] = weight
  return found.items()


def border_scores(
  sums: StageSums,
  segments: Float[np.ndarray, 'n 2'],
  *,
  reach: float | int = 4.0,
) -> Float64[np.ndarray, ' n']:
  """How clearly the stages change at both borders of any segments.

  The mean probability of Ready just before the start and of Start just after
  it, times that of End just before the end and of Follow just after it; at the
  ends of a video, of what there is.

  Args:
    sums: of the stage probabilities.
    segments: in snippets, fractions allowed, `[n, 2]`, of positive duration.
    reach: snippets on either side of a border, a third of the duration at most.
  Returns:
    in 0..1, `[n]`.
  """
  start, end = np.asarray(segments, np.float64).T
  width = np.minimum(reach, (end - start) / 3)
  before = np.clip(start / width, 0, 1)
  after = np.clip((len(sums) - end) / width, 0, 1)

  def around(border, stage):
    """Of the stage before a border and of the next one behind it."""
    found = sums.at({stage: 1.0, stage + 1: -1.0}, sums.places(border))
    found -= sums.at({stage: 1.0}, sums.places(border - width))
    found += sums.at({stage + 1: 1.0}, sums.places(border + width))
    return found / width

  opening = around(start, 1) / (1 + before)
  closing = around(end, 4) / (1 + after)
  return np.clip(opening * closing, 0, 1)


def border_tiou(
  segments: Float[np.ndarray, 'n 2'], error: float | int
) -> Float64[np.ndarray, ' n']:
  """What tIoU segments keep where both borders are off, in 0..1, `[n]`.

  Args:
    segments: in snippets, `[n, 2]`, of positive duration.
    error: by which each border is off, outwards, in snippets.
  """
  duration = segments[:, 1] - segments[:, 0]
  return duration / (duration + 2 * error)


def generate(
  probabilities: Float[np.ndarray, 't stages'],
  durations: Float[np.ndarray, ' k'],
  *,
  per_snippet: float | int = 3.2,
  different_per_snippet: float | int = 0.0,
  region: int = 256,
  start_step: float | int = 0.5,
  relative_step: float | int = 1 / 16,
  context_weight: float | int = 0.5,
  clear_weight: float | int = 0.0,
) -> TemplateCandidates:
  """The candidates that fit the stage template best, and whose borders are clear.

  All starts on a grid (`start_step`, or `relative_step` of the duration where
  that is longer) with all `durations`; of those that begin in the same
  `region` snippets `diverse.select` keeps the best, so that a busy stretch of a
  video cannot use up the candidates of a quiet one. A region is scored at a
  time: memory does not grow with the video but by what is kept.

  Args:
    probabilities: stage probabilities of every snippet, `[t, 6]`.
    durations: in snippets, `[k]`; longer ones than the video are left out,
      but for the shortest of those, which becomes the whole video.
    per_snippet: candidates to keep, a snippet of the video.
    different_per_snippet: of them, those that are the best of their cell of
      place and duration; 0: the best of all.
    region: snippets that share their candidates.
    start_step: least step of the starts, in snippets.
    relative_step: step of the starts in durations.
    context_weight: of Ready and Follow; the inner parts have 1.
    clear_weight: power of `border_scores`, by which fits are multiplied; 0: only
      the fit counts. What begins and ends within an instance may fit as well,
      above all what is short; its borders are not clear.
  Returns:
    candidates of all regions, best first; ties: earlier start, then end.
  Raises:
    ValueError: on a malformed argument.
  """
  _check(probabilities, context_weight)
  for name, value in (
    ('per_snippet', per_snippet),
    ('region', region),
    ('start_step', start_step),
    ('relative_step', relative_step),
  ):
    if not value > 0:
      raise ValueError(f'{name} must be > 0, got {value}')
  if different_per_snippet < 0:
    raise ValueError(
      f'different_per_snippet must be >= 0, got {different_per_snippet}'
    )
  total = len(probabilities)
  if total == 0:
    return TemplateCandidates(segments_lib.empty(), np.zeros(0))
  durations = _within(durations, total)
  longest = math.ceil(durations[-1])
  found, scores = [], []
  for first in range(0, total, region):
    stop = min(first + region, total)
    grid = _grid(first, stop, total, durations, start_step, relative_step)
    # All that these segments and what is around them can reach.
    low = max(0, first - longest)
    sums = StageSums(probabilities[low : stop + 2 * longest])
    placed = grid - low
    fit = fit_scores(sums, placed, context_weight)
    if clear_weight:
      clear = border_scores(sums, placed) + _UNCLEAR
      fit *= (clear / (1 + _UNCLEAR)) ** clear_weight
    best = diverse.select(
      grid,
      fit,
      count=math.ceil(per_snippet * (stop - first)),
      different=math.ceil(different_per_snippet * (stop - first)),
    )
    found.append(grid[best])
    scores.append(fit[best])
  found, scores = np.concatenate(found), np.concatenate(scores)
  order = np.lexsort((found[:, 1], found[:, 0], -scores))
  return TemplateCandidates(found[order], scores[order])


def grid(
  total: int,
  durations: Float[np.ndarray, ' k'],
  *,
  region: int = 256,
  start_step: float | int = 0.5,
  relative_step: float | int = 1 / 16,
) -> Iterator[Float64[np.ndarray, 'n 2']]:
  """Yields all segments that `generate` chooses from, region by region.

  Args:
    total: snippets of the video.
    durations: see `generate`, as the other arguments.
  """
  if not total:
    return
  durations = _within(durations, total)
  for first in range(0, total, region):
    stop = min(first + region, total)
    yield _grid(first, stop, total, durations, start_step, relative_step)


def duration_grid(
  durations_sec: Float[np.ndarray, ' n'],
  feature_fps: float | int,
  *,
  ratio: float | int = 1.15,
) -> Float64[np.ndarray, ' k']:
  """Geometric grid of durations, in snippets, that covers a data set's.

  From the 1 % to the 99.5 % quantile of the training instances, at least 1.5
  snippets.

  Args:
    durations_sec: of the training instances, `[n]`, positive.
    feature_fps: snippets a second.
    ratio: the most by which neighbouring durations differ.
  Returns:
    durations in snippets, ascending, `[k]`.
  Raises:
    ValueError: without an instance, or if ratio is not above 1.
  """
  if not ratio > 1:
    raise ValueError(f'ratio must be above 1, got {ratio}')
  if not len(durations_sec):
    raise ValueError('durations_sec must hold at least one instance')
  low, high = np.quantile(durations_sec, [0.01, 0.995]) * feature_fps
  low = max(low, 1.5)
  high = max(high, low)
  count = int(np.ceil(np.log(high / low) / np.log(ratio))) + 1
  return np.geomspace(low, high, count)


def _within(durations, total):
  durations = np.sort(np.asarray(durations, np.float64))
  if not len(durations) or not np.all(durations > 0):
    raise ValueError(
      f'durations must hold at least one, all above 0, got {durations.tolist()}'
    )
  fitting = durations[durations <= total]
  if len(fitting) < len(durations):
    fitting = np.append(fitting, float(total))
  return fitting


def _grid(first, stop, total, durations, start_step, relative_step):
  """Segments that start in [first, stop) and end within the video."""
  step = np.maximum(start_step, relative_step * durations)
  low = np.ceil(first / step)
  high = np.floor(np.minimum(stop - 1e-9, total - durations) / step)
  count = np.maximum(high - low + 1, 0).astype(np.int64)
  # Of each duration the numbers from `low` to `high`, one after the other.
  number = np.arange(count.sum(), dtype=np.float64)
  number += np.repeat(low - (np.cumsum(count) - count), count)
  grid = np.empty((2, len(number)))
  np.multiply(number, np.repeat(step, count), out=grid[0])
  np.add(grid[0], np.repeat(durations, count), out=grid[1])
  return grid.T


def _check(probabilities, context_weight):
  if probabilities.ndim != 2 or probabilities.shape[1] != stage_names.COUNT:
    raise ValueError(
      f'probabilities must have shape [t, {stage_names.COUNT}], got '
      f'{list(probabilities.shape)}'
    )
  if context_weight < 0:
    raise ValueError(f'context_weight must be >= 0, got {context_weight}')
