"""Evaluator that sees a proposal's context and borders, and mends its borders.

The extended PES: what the paper's evaluator is to max-pooled inner features
(evaluator.py), this one is to `context_features.context_pool`. It says how
likely the proposal matches an instance at each tIoU threshold, which is what
AR averages, and where the instance's borders lie.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cmsn_jax import segments as segments_lib
from cmsn_jax.scoring import context_features

# tIoU thresholds of the ten outputs.
# Proposals below this tIoU have no border to learn.
OFFSET_MIN_TIOU = 0.4
_HUBER = 0.2


class EvaluatorOutputs(NamedTuple):
  """What the evaluator says of each proposal.

  Attributes:
    logits: of P(tIoU with its instance >= t) for each t of
      `segments.TIOU_THRESHOLDS`, float32, [b, n, 10].
    offsets: (instance's border - proposal's border) / duration, for start and
      end, float32, [b, n, 2].
  """

  logits: Float[Array, 'b n k']
  offsets: Float[Array, 'b n 2']


class ContextEvaluator(nn.Module):
  """Context pooling, two dense layers, ten probabilities and two offsets.

  Submodules `fc_1`, `norm`, `fc_2`, `output`.

  Attributes:
    hidden: width of the dense layers.
    dropout: rate after each of them.
    inner_bins: bins inside a proposal.
    context_bins: bins on either side of it.
    border: width of the bins at the borders, in snippets.
    typical_duration: in snippets; the evaluator is told the logarithm of a
      proposal's duration relative to it.
    dtype: compute dtype; parameters and outputs are float32.
  """

  hidden: int = 256
  dropout: float = 0.3
  inner_bins: int = 8
  context_bins: int = 2
  border: float = 2.0
  typical_duration: float = 20.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    features: Float[Array, 'b t d'],
    segments: Float[Array, 'b n 2'],
    *,
    train: bool = False,
  ) -> EvaluatorOutputs:
    """Returns `EvaluatorOutputs` of the proposals of each window.

    Args:
      features: of the windows' snippets, 0 at padded ones, [b, t, d].
      segments: in snippets of their window, durations positive, [b, n, 2].
      train: apply dropout, which needs the rng `dropout`.
    """
    pool = functools.partial(
      context_features.context_pool,
      inner_bins=self.inner_bins,
      context_bins=self.context_bins,
      border=self.border,
    )
    b, n, _ = segments.shape
    pooled = jax.vmap(pool)(features, segments).reshape(b, n, -1)
    duration = segments[..., 1:] - segments[..., :1]
    duration = jnp.log(jnp.maximum(duration, 1e-3) / self.typical_duration)
    hidden = jnp.concatenate([pooled, duration, duration**2], axis=-1)
    hidden = nn.Dense(self.hidden, dtype=self.dtype, name='fc_1')(hidden)
    hidden = nn.gelu(nn.LayerNorm(dtype=jnp.float32, name='norm')(hidden))
    hidden = nn.Dropout(self.dropout)(hidden, deterministic=not train)
    more = nn.Dense(self.hidden, dtype=self.dtype, name='fc_2')(hidden)
    hidden = hidden + nn.gelu(more)
    hidden = nn.Dropout(self.dropout)(hidden, deterministic=not train)
    k = len(segments_lib.TIOU_THRESHOLDS)
    output = nn.Dense(k + 2, dtype=jnp.float32, name='output')(hidden)
    return EvaluatorOutputs(output[..., :k], output[..., k:])


def match_loss(
  logits: Float[Array, '*n k'],
  tiou: Float[Array, '*n'],
  mask: Array,
) -> Float[Array, '']:
  """Mean binary cross-entropy over the thresholds and the valid proposals.

  Args:
    logits: as the evaluator returns them.
    tiou: of each proposal with its best instance.
    mask: valid proposals.
  """
  thresholds = jnp.asarray(segments_lib.TIOU_THRESHOLDS, jnp.float32)
  reached = tiou[..., None] >= thresholds.reshape((1,) * tiou.ndim + (-1,))
  losses = optax.sigmoid_binary_cross_entropy(
    logits, reached.astype(jnp.float32)
  ).mean(axis=-1)
  return _masked_mean(losses, mask)


def offset_loss(
  offsets: Float[Array, '*n 2'],
  targets: Float[Array, '*n 2'],
  tiou: Float[Array, '*n'],
  mask: Array,
) -> Float[Array, '']:
  """Huber loss (linear above .2) of the borders of fair proposals.

  Args:
    offsets: as the evaluator returns them.
    targets: the true ones.
    tiou: of each proposal; those up to `OFFSET_MIN_TIOU` do not count.
    mask: valid proposals.
  """
  losses = optax.huber_loss(offsets, targets, delta=_HUBER) / _HUBER
  return _masked_mean(losses.sum(axis=-1), mask & (tiou > OFFSET_MIN_TIOU))


def _masked_mean(losses: Array, mask: Array) -> Array:
  total = jnp.sum(jnp.where(mask, losses, 0.0))
  return total / jnp.maximum(jnp.sum(mask), 1)
