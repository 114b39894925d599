"""Label probabilities that mean what they say, class by class.

A classifier that learned a label from ten instances knows them by heart, and
leans towards the labels that it saw most. One slope for all and an offset a
label mend both on videos that it did not learn from (vector scaling: Guo et
al., "On calibration of modern neural networks", 2017, with one temperature).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from cmsn_jax import segments as segments_lib

# Proposals of lower tIoU with an instance do not tell its label.
_LEAST_TIOU = 0.5
# Fewer instances than these say nothing of a slope.
_LEAST_INSTANCES = 10
# Beliefs before any instance is seen: slope and offsets are normal about 1 and
# 0 with deviations of a half, so a label with few instances stays as it is.
_PRECISION = 4.0
_LEAST = 1e-6
_STEPS, _CLOSE = 50, 1e-8


class LabelCalibration(NamedTuple):
  """calibrated P(label) ∝ exp(slope · log P(label) + offset of the label).

  Attributes:
    slope: of all labels.
    offsets: one a label.
  """

  slope: float
  offsets: tuple[float, ...]

  def __call__(
    self, probabilities: Float[np.ndarray, 'n a']
  ) -> Float64[np.ndarray, 'n a']:
    """Calibrated probabilities, of each proposal adding up to 1."""
    weights = np.array([self.slope, *self.offsets])
    return _softmax(_log_odds(_logs(probabilities), weights))


def applied(
  given: Sequence[float], probabilities: Float[np.ndarray, 'n a']
) -> Float[np.ndarray, 'n a']:
  """Probabilities calibrated as a config says.

  Args:
    given: the slope, then an offset a label; empty: they stay as they are.
    probabilities: of each proposal, one a label.
  """
  if not len(given) or not len(probabilities):
    return probabilities
  slope, *offsets = given
  return LabelCalibration(slope, tuple(offsets))(probabilities)


def examples(
  segments: Float[np.ndarray, 'n 2'],
  instances: Float[np.ndarray, 'm 2'],
) -> tuple[Int[np.ndarray, ' k'], Int[np.ndarray, ' k']]:
  """The proposal that an instance is known by: places in both arrays.

  The one of highest tIoU, .5 at least; instances without one are left out.
  """
  none = np.zeros(0, np.int64)
  if not len(segments) or not len(instances):
    return none, none
  tiou = segments_lib.tiou(segments, instances)
  best = tiou.argmax(axis=0)
  found = np.flatnonzero(tiou.max(axis=0) >= _LEAST_TIOU)
  return best[found], found


def fit(
  probabilities: Float[np.ndarray, 'n a'], labels: Int[np.ndarray, ' n']
) -> LabelCalibration | None:
  """The calibration under which the labels are likeliest, by Newton's method.

  Args:
    probabilities: of proposals of videos that were not learned from.
    labels: that they have, 0 to a - 1.
  Returns:
    None of fewer than ten proposals, or of one label.
  """
  if len(labels) < _LEAST_INSTANCES or probabilities.shape[1] < 2:
    return None
  logs = _logs(probabilities)
  n, a = logs.shape
  truth = np.eye(a)[labels]
  prior = np.zeros(1 + a)
  prior[0] = 1.0
  weights = prior.copy()
  value = _loss(weights, prior, logs, truth)
  for _ in range(_STEPS):
    step = _newton(weights, prior, logs, truth)
    # A whole step overshoots where probabilities part the labels wholly.
    while (
      np.abs(step).max() >= _CLOSE
      and _loss(weights - step, prior, logs, truth) > value
    ):
      step = step / 2
    weights = weights - step
    value = _loss(weights, prior, logs, truth)
    if np.abs(step).max() < _CLOSE:
      break
  # Labels in the opposite of their order are no matter of calibration.
  if not weights[0] > 0:
    return None
  return LabelCalibration(float(weights[0]), tuple(map(float, weights[1:])))


def _loss(weights, prior, logs, truth):
  log_odds = _log_odds(logs, weights)
  most = log_odds.max(axis=1, keepdims=True)
  total = np.log(np.exp(log_odds - most).sum(axis=1, keepdims=True)) + most
  error = np.sum(truth * (total - log_odds))
  return error + _PRECISION / 2 * np.sum((weights - prior) ** 2)


def _newton(weights, prior, logs, truth):
  """From weights, slope first, to the least of the parabola there."""
  found = _softmax(_log_odds(logs, weights))
  error = found - truth
  slope = np.concatenate([[np.sum(error * logs)], error.sum(axis=0)])
  slope += _PRECISION * (weights - prior)
  mixed = found * (logs - np.sum(found * logs, axis=1, keepdims=True))
  curve = np.zeros((len(weights), len(weights)))
  curve[0, 0] = np.sum(mixed * logs)
  curve[0, 1:] = curve[1:, 0] = mixed.sum(axis=0)
  curve[1:, 1:] = np.diag(found.sum(axis=0)) - found.T @ found
  return np.linalg.solve(curve + _PRECISION * np.eye(len(weights)), slope)


def _logs(probabilities):
  return np.log(np.maximum(np.asarray(probabilities, np.float64), _LEAST))


def _log_odds(logs, weights):
  return weights[0] * logs + weights[1:]


def _softmax(log_odds):
  shifted = np.exp(log_odds - log_odds.max(axis=1, keepdims=True, initial=-1e9))
  return shifted / shifted.sum(axis=1, keepdims=True)
