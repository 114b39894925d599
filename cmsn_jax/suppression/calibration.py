"""Scores that mean what they say.

An evaluator is surer of itself than it should be: it knows its training
instances by heart. How much so, the held-out videos tell. Two numbers mend the
scores and leave their order, so no recall changes (Platt, "Probabilistic
outputs for support vector machines", 1999, on log odds).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from cmsn_jax import segments as segments_lib

# Fewer gains than these make no straight line.
_LEAST_GAIN = 10.0
_EDGE = 1e-12
_STEPS, _CLOSE = 100, 1e-8
# As good as no weight beside thousands of proposals, but where scores part the
# gains wholly no slope would be steep enough.
_PRIOR, _RAW = np.array([1.0, 1e-3]), np.array([1.0, 0.0])


class Calibration(NamedTuple):
  """calibrated log odds = slope · log odds + offset.

  Attributes:
    slope: above 0; below 1 scores are drawn towards one another.
    offset: below 0 all scores are lowered.
  """

  slope: float = 1.0
  offset: float = 0.0

  def __call__(
    self, scores: Float[np.ndarray, ' n']
  ) -> Float64[np.ndarray, ' n']:
    """Calibrated scores in their order.

    Args:
      scores: within [0, 1].
    """
    if self == Calibration():
      return scores
    return _sigmoid(self.slope * _log_odds(scores) + self.offset)


def gains(
  segments: Float[np.ndarray, 'n 2'], instances: Float[np.ndarray, 'm 2']
) -> Float64[np.ndarray, ' n']:
  """What each proposal adds to the recall of those before it.

  Args:
    segments: proposals of one video, best first.
    instances: its ground truth, same unit.
  Returns:
    share of the ten tIoU thresholds at which a proposal is the first to match
    some instance.
  """
  gain = np.zeros(len(segments))
  if not len(segments) or not len(instances):
    return gain
  tiou = segments_lib.tiou(segments, instances)
  for threshold in segments_lib.TIOU_THRESHOLDS:
    match = tiou >= threshold
    first = match.argmax(axis=0)[match.any(axis=0)]
    gain[np.unique(first)] += 1 / len(segments_lib.TIOU_THRESHOLDS)
  return gain


def fit(
  videos: Iterable[tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]],
) -> Calibration | None:
  """The calibration under which scores best predict gains.

  Least cross-entropy, with a weak preference for the slope 1, by Newton's
  method.

  Args:
    videos: scores within [0, 1] and `gains` of the proposals of each video.
  Returns:
    None where the gains are too few (ten whole ones at least), or do not
    rise with the scores.
  """
  pairs = [(s, g) for s, g in videos]
  scores = np.concatenate([np.zeros(0), *(s for s, _ in pairs)])
  gain = np.concatenate([np.zeros(0), *(g for _, g in pairs)])
  if min(gain.sum(), len(gain) - gain.sum()) < _LEAST_GAIN:
    return None
  inputs = np.stack([_log_odds(scores), np.ones(len(scores))], axis=1)
  weights = np.array([0.0, np.log(gain.mean() / (1 - gain.mean()))])
  loss = _loss(weights, inputs, gain)
  for _ in range(_STEPS):
    step = _newton(weights, inputs, gain)
    # A whole step overshoots where most scores are tiny.
    while (
      np.abs(step).max() >= _CLOSE
      and _loss(weights + step, inputs, gain) > loss
    ):
      step = step / 2
    weights = weights + step
    loss = _loss(weights, inputs, gain)
    if np.abs(step).max() < _CLOSE:
      break
  else:
    return None
  return Calibration(*map(float, weights)) if weights[0] > 0 else None


def _loss(weights, inputs, gain):
  log_odds = inputs @ weights
  errors = np.logaddexp(0, log_odds) - gain * log_odds
  return errors.sum() + _PRIOR @ (weights - _RAW) ** 2 / 2


def _newton(weights, inputs, gain):
  found = _sigmoid(inputs @ weights)
  slope = inputs.T @ (gain - found) + _PRIOR * (_RAW - weights)
  curve = inputs.T @ (inputs * (found * (1 - found))[:, None])
  return np.linalg.solve(curve + np.diag(_PRIOR), slope)


def _log_odds(scores):
  scores = np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
  return np.log(scores) - np.log1p(-scores)


def _sigmoid(log_odds):
  return np.exp(-np.logaddexp(0, -log_odds))
