"""Stage sequences to candidate proposals (PGS, the paper's Section 3.2).

Host-side numpy without a loop over runs or pairs: for each starting snippet
the ending snippets that make a candidate are one slice of the ascending list
of ending snippets.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64, Shaped

from cmsn_jax import stage_names

STAGE_RULES = ('any', 'all')

# Mean probabilities closer than this are a tie: below it, the order would be
# decided by the rounding of running sums.
_TIE = 1e-9


class Candidates(NamedTuple):
  """Candidate proposals, best first.

  Attributes:
    starts: first snippet, `[n]`, int64.
    ends: last snippet, inclusive, `[n]`, int64.
    pre_scores: Eq. (1), in (0, 1], `[n]`, float64.
    mean_probabilities: mean over the candidate's snippets of the probability
      of their own stage, `[n]`, float64; 0 without probabilities.
  """

  starts: Int64[np.ndarray, ' n']
  ends: Int64[np.ndarray, ' n']
  pre_scores: Float64[np.ndarray, ' n']
  mean_probabilities: Float64[np.ndarray, ' n']


def split_runs(
  stages: Int[np.ndarray, ' t'], *, split: bool = True
) -> tuple[Int64[np.ndarray, ' r'], Int64[np.ndarray, ' r']]:
  """First and last snippet of every run: a maximal stretch of one action.

  A run holds no Background; with `split` it also ends where End or Follow is
  followed by Ready or Start, the sign of the next instance.

  Args:
    stages: stage 0-5 of each snippet, `[t]`.
    split: whether to split at End or Follow before Ready or Start.
  Returns:
    first and last snippet (inclusive) of each run, in time order.
  Raises:
    ValueError: on a stage outside 0-5.
  """
  stages = _check_stages(stages)
  active = stages != stage_names.BACKGROUND
  begins = active.copy()
  begins[1:] &= ~active[:-1]
  if split:
    before, after = stages[:-1], stages[1:]
    begins[1:] |= (before >= stage_names.END) & (
      (after == stage_names.READY) | (after == stage_names.START)
    )
  finishes = active.copy()
  finishes[:-1] &= ~active[1:] | begins[1:]
  return np.flatnonzero(begins), np.flatnonzero(finishes)


def generate(
  stages: Int[np.ndarray, ' t'],
  probabilities: Shaped[np.ndarray, '_ s'] | None = None,
  *,
  decay_rate: float | int = 0.09,
  split: bool = True,
  stage_set: Sequence[int] = (
    stage_names.START,
    stage_names.CONFIRM,
    stage_names.FOLLOW,
  ),
  stage_rule: str = 'any',
) -> Candidates:
  """All candidates of a video that can score above 0, best first.

  In a run, Ready, Start and the first half of the Confirm snippets may start
  a candidate, the second half of Confirm, End and Follow may end one (the odd
  middle Confirm may do either); the start lies before the end, and `any` or
  `all` of `stage_set` occur from start to end. The pre-score is Eq. (1) with
  either factor kept from falling below 0:

    max(0, 1 - d_s * r) * max(0, 1 - d_e * r)

  d_s is the distance from the run's first Start, d_e from its last End;
  without Start (End) from the first (last) Confirm, else from the run's own
  border. Only candidates with both factors above 0 are made, at most about
  (2 / r)^2 a run however long it is.

  Args:
    stages: stage 0-5 of each snippet, `[t]`.
    probabilities: of each stage, `[t, 6]`; breaks ties of the pre-score by
      the mean over the candidate. None leaves ties to time.
    decay_rate: the paper's decay rate r, a share of the score lost per
      snippet of distance, above 0.
    split: see `split_runs`.
    stage_set: the stages of which `stage_rule` speaks; empty asks nothing.
    stage_rule: 'any' or 'all'.
  Returns:
    candidates by pre-score, then mean probability, then start, then end.
  Raises:
    ValueError: on stages outside 0-5, probabilities of another shape, or an
      option out of range.
  """
  stages = _check_stages(stages)
  confidence = _stage_confidence(stages, probabilities)
  if not (np.isfinite(decay_rate) and decay_rate > 0):
    raise ValueError(
      f'decay_rate must be above 0 (0 would make every pair of a run a '
      f'candidate), got {decay_rate}'
    )
  if stage_rule not in STAGE_RULES:
    raise ValueError(
      f'stage_rule must be one of {STAGE_RULES}, got {stage_rule!r}'
    )
  first, last = split_runs(stages, split=split)
  if not len(first):
    none = np.zeros(0, np.int64)
    return Candidates(none, none, np.zeros(0), np.zeros(0))

  # Background snippets belong to no run; they are neither starts nor ends.
  run = np.cumsum(_marks(len(stages), first)) - 1
  run = np.maximum(run, 0)
  may_start, may_end = _roles(stages, run, len(first))
  start_anchor, end_anchor = _anchors(stages, run, first, last)
  time = np.arange(len(stages))
  start_factor = 1 - np.abs(time - start_anchor[run]) * decay_rate
  end_factor = 1 - np.abs(time - end_anchor[run]) * decay_rate
  starts = np.flatnonzero(may_start & (start_factor > 0))
  ends = np.flatnonzero(may_end & (end_factor > 0))

  earliest = _earliest_end(stages, stage_set, stage_rule)[starts]
  earliest = np.maximum(earliest, starts + 1)
  low = np.searchsorted(ends, earliest, 'left')
  high = np.searchsorted(ends, last[run[starts]], 'right')
  count = np.maximum(high - low, 0)
  offset = np.cumsum(count) - count
  i = np.repeat(starts, count)
  j = ends[np.arange(len(i)) + np.repeat(low - offset, count)]
  return _sorted(i, j, start_factor[i] * end_factor[j], confidence)


def _check_stages(stages: Int[np.ndarray, ' t']) -> Int[np.ndarray, ' t']:
  stages = np.asarray(stages)
  outside = (stages < 0) | (stages >= stage_names.COUNT)
  if outside.any():
    snippet = int(np.argmax(outside))
    raise ValueError(
      f'stages must be 0-5 (Background to Follow), got {stages[snippet]} at '
      f'snippet {snippet}'
    )
  return stages


def _stage_confidence(
  stages: Int[np.ndarray, ' t'], probabilities: np.ndarray | None
) -> Float64[np.ndarray, ' t'] | None:
  """Probability of each snippet's own stage."""
  if probabilities is None:
    return None
  shape = (len(stages), stage_names.COUNT)
  if probabilities.shape != shape:
    raise ValueError(
      f'probabilities must have shape {list(shape)} to go with the stages, '
      f'got {list(probabilities.shape)}'
    )
  own = probabilities[np.arange(len(stages)), stages].astype(np.float64)
  if not np.isfinite(own).all():
    snippet = int(np.argmin(np.isfinite(own)))
    raise ValueError(
      f'probabilities must be finite, got {own[snippet]} at snippet {snippet}'
    )
  return own


def _marks(length: int, positions: np.ndarray) -> Int64[np.ndarray, ' t']:
  marks = np.zeros(length, np.int64)
  marks[positions] = 1
  return marks


def _roles(
  stages: Int[np.ndarray, ' t'], run: Int64[np.ndarray, ' t'], num_runs: int
) -> tuple[Bool[np.ndarray, ' t'], Bool[np.ndarray, ' t']]:
  """Which snippets may start and which may end a candidate."""
  confirm = stages == stage_names.CONFIRM
  per_run = np.bincount(run[confirm], minlength=num_runs)
  # Number k of m Confirm snippets, from 0: the first half has k < ceil(m/2),
  # the second k >= floor(m/2).
  rank = np.cumsum(confirm) - 1 - (np.cumsum(per_run) - per_run)[run]
  total = per_run[run]
  first_half = confirm & (rank < (total + 1) // 2)
  second_half = confirm & (rank >= total // 2)
  may_start = (
    (stages == stage_names.READY) | (stages == stage_names.START) | first_half
  )
  return may_start, (stages >= stage_names.END) | second_half


def _anchors(
  stages: Int[np.ndarray, ' t'],
  run: Int64[np.ndarray, ' t'],
  first: Int64[np.ndarray, ' r'],
  last: Int64[np.ndarray, ' r'],
) -> tuple[Int64[np.ndarray, ' r'], Int64[np.ndarray, ' r']]:
  """The snippets from which a run's d_s and d_e count."""
  start_anchor, end_anchor = first.copy(), last.copy()
  # The order is important: Start (End) overrules Confirm.
  for stage in (stage_names.CONFIRM, stage_names.START):
    at = np.flatnonzero(stages == stage)[::-1]
    start_anchor[run[at]] = at  # of repeated runs the last, so the earliest
  for stage in (stage_names.CONFIRM, stage_names.END):
    at = np.flatnonzero(stages == stage)
    end_anchor[run[at]] = at
  return start_anchor, end_anchor


def _earliest_end(
  stages: Int[np.ndarray, ' t'], stage_set: Sequence[int], stage_rule: str
) -> Int64[np.ndarray, ' t']:
  """For each snippet the first one by which the stage rule is met.

  That snippet may lie in a later run: no end of the own run is then late
  enough, which is right.
  """
  time = np.arange(len(stages))
  if not len(stage_set):
    return time
  never = len(stages)
  following = []
  for stage in stage_set:
    if not 0 <= stage < stage_names.COUNT:
      raise ValueError(f'stage_set must hold stages 0-5, got {stage}')
    at = np.where(stages == stage, time, never)
    following.append(np.minimum.accumulate(at[::-1])[::-1])
  combine = np.minimum if stage_rule == 'any' else np.maximum
  return combine.reduce(following)


def _sorted(
  starts: Int64[np.ndarray, ' n'],
  ends: Int64[np.ndarray, ' n'],
  pre_scores: Float64[np.ndarray, ' n'],
  confidence: Float[np.ndarray, ' t'] | None,
) -> Candidates:
  """Best first. The input is in time order and the sort is stable."""
  mean = np.zeros(len(starts))
  if confidence is None:
    order = np.argsort(-pre_scores, kind='stable')
  else:
    total = np.concatenate([[0.0], np.cumsum(confidence)])
    mean = (total[ends + 1] - total[starts]) / (ends + 1 - starts)
    mean = np.round(mean / _TIE) * _TIE
    order = np.lexsort((-mean, -pre_scores))
  return Candidates(starts[order], ends[order], pre_scores[order], mean[order])
