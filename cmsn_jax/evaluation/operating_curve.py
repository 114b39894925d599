"""Precision, recall and confusion at any least score, from matching once.

Proposals of all videos are matched with the instances best first, whatever
their labels (see `operating_point.best_f1`). So whether one is right depends on
better ones only, and what a least score leaves is the beginning of one list.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cmsn_jax.evaluation import operating_point

# No label: an instance that is missed, a proposal that finds none.
NOTHING = -1


class Curve(NamedTuple):
  """What least scores leave, from the highest down.

  Attributes:
    tiou: with which a proposal is right.
    min_scores: `[k]`.
    kept: proposals with at least that score, `[k]`.
    right: of them, those that find an instance, `[k]`.
    named: of those, the ones with the instance's label, `[k]`; 0 without labels.
    confusion: (step, true label, predicted label, count) of the proposals that
      step k adds to those of step k - 1, `[c, 4]`; NOTHING as the true label of
      those that find no instance. Empty without labels.
  """

  tiou: float
  min_scores: Float64[np.ndarray, ' k']
  kept: Int64[np.ndarray, ' k']
  right: Int64[np.ndarray, ' k']
  named: Int64[np.ndarray, ' k']
  confusion: Int64[np.ndarray, 'c 4']


class Labels(NamedTuple):
  """Labels of one video's proposals and instances, as numbers from 0."""

  proposals: Int64[np.ndarray, ' n']
  instances: Int64[np.ndarray, ' m']


def curve(
  videos: Sequence[operating_point.Video],
  tiou: float | int = 0.5,
  labels: Sequence[Labels] | None = None,
  counted: Sequence[np.ndarray] | None = None,
  steps: int = 200,
) -> Curve:
  """Precision and recall at up to `steps` least scores.

  They lie closer where few proposals are kept, as that is where one is chosen.

  Args:
    videos: proposals and instances.
    tiou: above 0, at most 1.
    labels: of each video; None: there are none.
    counted: of each video's proposals, `[n]` bools: those that are wrong where
      they find no instance; others then do not count. None: all are.
    steps: how many least scores at most.
  Raises:
    ValueError: on another `tiou`.
  """
  matched = operating_point.matched(videos, tiou)
  order, instance = matched.order, matched.instance
  counts = np.ones(len(order), bool)
  if counted is not None:
    counts = (instance >= 0) | _joined(counted).astype(bool)[order]
  last = _cuts(matched.scores, steps)
  true = named = None
  if labels is not None:
    predicted = _joined([x.proposals for x in labels])[order]
    true = np.full(len(order), NOTHING)
    hit = instance >= 0
    true[hit] = _joined([x.instances for x in labels])[instance[hit]]
    named = hit & (true == predicted)

  def so_far(flags):
    return np.concatenate([[0], np.cumsum(flags)])[last + 1]

  confusion = np.zeros((0, 4), np.int64)
  if labels is not None:
    step = np.searchsorted(last, np.arange(len(order)), 'left')
    rows = np.stack([step, true, predicted], axis=1)
    # What comes after the last cut is never kept.
    rows = rows[counts & (step < len(last))]
    unique, count = np.unique(rows, axis=0, return_counts=True)
    confusion = np.column_stack([unique, count]).astype(np.int64)
  none = np.zeros(len(last), np.int64)
  return Curve(
    float(tiou),
    matched.scores[last],
    so_far(counts),
    so_far(instance >= 0),
    none if named is None else so_far(named),
    confusion.reshape(-1, 4),
  )


def _cuts(scores, steps) -> Int64[np.ndarray, ' k']:
  """Those of `operating_point.cuts`, or `steps` of them."""
  last = operating_point.cuts(scores)
  if len(last) <= steps:
    return last
  wanted = np.geomspace(1, len(scores), steps) - 1
  chosen = last[np.minimum(np.searchsorted(last, wanted), len(last) - 1)]
  return np.unique(np.append(chosen, last[-1]))


def _joined(parts) -> np.ndarray:
  return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)
