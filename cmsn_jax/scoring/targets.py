"""Training targets of the evaluator: proposals + ground truth -> tIoU."""

import numpy as np
from jaxtyping import Float, Int

from cmsn_jax import segments

BIG_ABOVE = 0.6  # Sec. 3.4
SMALL_UP_TO = 0.2  # Sec. 3.4


def best_tiou(
  proposals_sec: Float[np.ndarray, 'n 2'],
  ground_truth_sec: Float[np.ndarray, 'm 2'],
) -> Float[np.ndarray, ' n']:
  """Each proposal's largest tIoU with any (unexpanded) instance.

  Args:
    proposals_sec: [start, end) in seconds, [n, 2].
    ground_truth_sec: [start, end) in seconds, [m, 2]; may be empty.
  Returns:
    float64 in [0, 1], 0 without ground truth, [n].
  """
  if len(ground_truth_sec) == 0:
    return np.zeros(len(proposals_sec))
  return segments.tiou(proposals_sec, ground_truth_sec).max(axis=1)


def mine(
  tiou: Float[np.ndarray, ' n'],
  rng: np.random.Generator,
  cap: int | None = None,
) -> Int[np.ndarray, ' k']:
  """Indices of as many middling and poor proposals as there are good ones.

  Sec. 3.4: all n with tIoU > .6, n with tIoU in (.2, .6], n with at most .2,
  each group without replacement and limited by what there is. n is at least
  1, so that a window without good proposals still teaches.

  Args:
    tiou: best tIoU of each proposal, [n].
    rng: numpy's generator; the same state and input give the same choice.
    cap: the most indices a group, so at most 3·cap in all; None: no limit.
  Returns:
    indices, ascending, [k].
  Raises:
    ValueError: cap below 1, or a tIoU that is NaN.
  """
  if cap is not None and cap < 1:
    raise ValueError(f'cap must be at least 1 (or None), got {cap}')
  if np.isnan(tiou).any():
    raise ValueError(
      f'tiou has NaN at index {int(np.flatnonzero(np.isnan(tiou))[0])}; '
      'check the proposals for NaN times'
    )
  groups = [
    np.flatnonzero(tiou > BIG_ABOVE),
    np.flatnonzero((tiou > SMALL_UP_TO) & (tiou <= BIG_ABOVE)),
    np.flatnonzero(tiou <= SMALL_UP_TO),
  ]
  wanted = max(1, len(groups[0]))
  if cap is not None:
    wanted = min(wanted, cap)
  chosen = [
    rng.choice(group, min(wanted, len(group)), replace=False)
    for group in groups
  ]
  return np.sort(np.concatenate(chosen))
