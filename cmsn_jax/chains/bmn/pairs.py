"""Proposals of one window: every likely start with every likely end."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Pairs(NamedTuple):
  """Proposals, from border to border, in snippets of the window.

  Attributes:
    starts: [n].
    ends: [n].
    scores: [n], float64.
  """

  starts: Int[np.ndarray, ' n']
  ends: Int[np.ndarray, ' n']
  scores: Float[np.ndarray, ' n']


def likely(probabilities: Float[np.ndarray, ' t']) -> Bool[np.ndarray, ' t']:
  """Which borders are a local maximum, or above half of the greatest one.

  A border that is no lower than one neighbour and above the other is a maximum,
  so that a plateau keeps its ends.
  """
  if not len(probabilities):
    return np.zeros(0, bool)
  padded = np.pad(probabilities, 1, constant_values=-np.inf)
  before, after = padded[:-2], padded[2:]
  top = (probabilities >= before) & (probabilities >= after)
  top &= (probabilities > before) | (probabilities > after)
  return top | (probabilities > 0.5 * probabilities.max())


def generate(
  boundaries: Float[np.ndarray, 't 2'],
  maps: Float[np.ndarray, 't d 2'],
  durations: Int[np.ndarray, ' d'],
) -> Pairs:
  """Every likely start with every likely end after it, scored (Sec. 4.3).

  start x end x the square root of classified x regressed tIoU. A duration
  between two of the map's has the score of the nearest; one beyond the longest
  is no proposal, nor is one that ends after the window's last snippet.

  Args:
    boundaries: start and end probability of the borders before the window's
      valid snippets.
    maps: confidences of the proposals that begin there.
    durations: of the map, in snippets, ascending.
  """
  first = np.flatnonzero(likely(boundaries[:, 0]))
  last = np.flatnonzero(likely(boundaries[:, 1]))
  row, column = np.nonzero(
    (last[None, :] > first[:, None])
    & (last[None, :] - first[:, None] <= durations[-1])
  )
  starts, ends = first[row], last[column]
  length = ends - starts
  # Half way between two of the map's, the shorter is taken.
  place = np.searchsorted((durations[1:] + durations[:-1]) / 2, length)
  # The nearest duration may reach beyond the window where the pair does not.
  reaches = starts + durations[place] > len(boundaries)
  place = np.where(reaches & (place > 0), place - 1, place)
  found = maps[starts, place].astype(np.float64)
  scores = (
    boundaries[starts, 0].astype(np.float64)
    * boundaries[ends, 1]
    * np.sqrt(found[:, 0] * found[:, 1])
  )
  return Pairs(starts, ends, scores)
