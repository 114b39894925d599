"""Training proposals of the context evaluator, and what it shall say of them.

The evaluator scores a dense grid in the end, good and bad. So it is trained on
jittered instances at every level of tIoU, on merged neighbours (the commonest
confusion) and on proposals anywhere with plausible durations, drawn anew in
every step: no mining pass, and no evaluator that has only seen the candidates
which an overfitted stage network gives on its own training videos.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from cmsn_jax import segments as segments_lib

# Shares of jittered instances and of merged neighbours; the rest is random.
_JITTERED, _MERGED = 0.5, 0.1
# Relative deviations of a jittered border: near misses to mere overlap.
_DEVIATIONS = (0.05, 0.15, 0.35)
# Below this tIoU with all instances of a label a proposal is not of it.
LABEL_TIOU = 0.3


class DurationRange(NamedTuple):
  """Durations, in snippets, that proposals are drawn from.

  Attributes:
    pool: of the training instances, `[k]`.
    shortest: no proposal is shorter.
    longest: or longer.
  """

  pool: Float64[np.ndarray, ' k']
  shortest: float
  longest: float


def duration_range(durations: Float[np.ndarray, ' k']) -> DurationRange:
  """Range of proposals for instances of these durations.

  From .7 of the 1 % quantile, but one snippet at least, to 1.5 of the 99.5 %
  quantile.

  Args:
    durations: of the training instances, in snippets, `[k]`.
  Raises:
    ValueError: without an instance.
  """
  if not len(durations):
    raise ValueError('durations must hold at least one instance')
  low, high = np.quantile(durations, [0.01, 0.995])
  shortest = max(0.7 * float(low), 1.0)
  longest = max(1.5 * float(high), 2 * shortest)
  return DurationRange(np.asarray(durations, np.float64), shortest, longest)


def sample(
  instances: Float[np.ndarray, 'm 2'],
  length: int,
  count: int,
  durations: DurationRange,
  rng: np.random.Generator,
) -> Float64[np.ndarray, 'n 2']:
  """Draws the proposals of one training window.

  Args:
    instances: ground truth in snippets of the window, by start, `[m, 2]`;
      parts may lie outside of the window.
    length: valid snippets of the window.
    count: n.
    durations: see `duration_range`.
    rng: numpy's generator; the same state and input give the same proposals.
  Returns:
    segments within [0, length], durations positive, `[n, 2]`.
  """
  parts = []
  if len(instances):
    parts.append(_jittered(instances, int(_JITTERED * count), rng))
  if len(instances) > 1:
    parts.append(_merged(instances, int(_MERGED * count), rng))
  rest = count - sum(map(len, parts))
  duration = rng.choice(durations.pool, rest)
  duration = duration * np.exp(rng.normal(0, 0.3, rest))
  centre = rng.uniform(0, length, rest)
  parts.append(np.stack([centre - duration / 2, centre + duration / 2], 1))
  drawn = np.sort(np.concatenate(parts), axis=1)
  centre = np.clip(drawn.mean(axis=1), 0, length)
  half = np.clip(
    (drawn[:, 1] - drawn[:, 0]) / 2, durations.shortest / 2,
    durations.longest / 2,
  )  # fmt: skip
  drawn = np.stack([centre - half, centre + half], axis=1)
  return np.clip(drawn, 0, length)


def assign(
  proposals: Float[np.ndarray, 'n 2'], instances: Float[np.ndarray, 'm 2']
) -> tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, 'n 2']]:
  """Overlap with the best instance, and how far its borders are.

  Args:
    proposals: durations positive, `[n, 2]`.
    instances: ground truth in the same unit, `[m, 2]`; may be empty.
  Returns:
    tIoU `[n]`, and (instance's border - proposal's border) / duration for
    start and end, within [-1, 1], `[n, 2]`; all 0 without an instance.
  """
  if not len(instances):
    return np.zeros(len(proposals)), np.zeros((len(proposals), 2))
  tiou = segments_lib.tiou(proposals, instances)
  best = tiou.argmax(axis=1)
  duration = proposals[:, 1:] - proposals[:, :1]
  offsets = (instances[best] - proposals) / duration
  return tiou.max(axis=1), np.clip(offsets, -1, 1)


def label_targets(
  proposals: Float[np.ndarray, 'n 2'],
  instances: Float[np.ndarray, 'm 2'],
  actions: Int[np.ndarray, ' m'],
  weights: Float[np.ndarray, ' a'],
) -> Float32[np.ndarray, 'n a']:
  """What a classifier shall say of each proposal, times what that counts.

  A proposal is each label of which it reaches `LABEL_TIOU` with an instance, in
  shares of these tIoUs where there are several; else it is none, label 0.

  Args:
    proposals: durations positive, `[n, 2]`.
    instances: ground truth in the same unit, `[m, 2]`; may be empty.
    actions: label of each, from 1, `[m]`.
    weights: of no action and of each label, `[a]`; empty: there are no labels.
  Returns:
    `[n, a]`; a row adds up to its labels' weight.
  """
  found = np.zeros((len(proposals), len(weights)), np.float32)
  if not len(weights):
    return found
  if len(instances):
    tiou = segments_lib.tiou(proposals, instances)
    for action in np.unique(actions):
      found[:, action] = tiou[:, actions == action].max(axis=1)
    found[found < LABEL_TIOU] = 0.0
  found[:, 0] = ~found.any(axis=1)
  found /= found.sum(axis=1, keepdims=True)
  return found * weights.astype(np.float32)


def label_weights(counts: Int[np.ndarray, ' a']) -> Float64[np.ndarray, ' b']:
  """What a proposal of each label counts: the more, the rarer it is.

  By one over the square root of its instances, a mean of 1 over these; 1 for no
  action.

  Args:
    counts: training instances of each label, all above 0, `[a]`.
  Returns:
    of no action and of each, `[1 + a]`.
  """
  rare = 1 / np.sqrt(counts)
  return np.concatenate([[1.0], rare * counts.sum() / (rare * counts).sum()])


def _jittered(instances, count, rng):
  chosen = instances[rng.integers(len(instances), size=count)]
  # Half a snippet at least, or the shortest instances would hardly move.
  duration = np.maximum(chosen[:, 1:] - chosen[:, :1], 0.5)
  deviation = rng.choice(_DEVIATIONS, size=(count, 1))
  return chosen + rng.normal(size=(count, 2)) * deviation * duration


def _merged(instances, count, rng):
  first = rng.integers(len(instances) - 1, size=count)
  merged = np.stack([instances[first, 0], instances[first + 1, 1]], axis=1)
  duration = merged[:, 1:] - merged[:, :1]
  return merged + rng.normal(size=(count, 2)) * 0.05 * duration
