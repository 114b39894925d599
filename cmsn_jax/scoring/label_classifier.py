"""What happens in a proposal: a classifier of pooled features.

Beside the action of each snippet, which the network learns too: a snippet sees
what lies around it, a proposal how an action begins, goes on and ends.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cmsn_jax.scoring import context_features

_LEAST = 1e-6


class LabelClassifier(nn.Module):
  """Bins inside a proposal, one dense layer, logits of no action and of each.

  Submodules `norm`, `fc`, `output`. Few instances teach a label, so there is
  no second layer, and half of all that is pooled is dropped.

  Attributes:
    num_labels: labels.
    hidden: width of the dense layer.
    inner_bins: bins inside a proposal.
    dropout: rate of the pooled features and of the layer.
    dtype: compute dtype; parameters and outputs are float32.
  """

  num_labels: int
  hidden: int = 64
  inner_bins: int = 8
  dropout: float = 0.5
  dtype: Any = jnp.float32

  def __call__(
    self,
    features: Float[Array, 'b t d'],
    segments: Float[Array, 'b n 2'],
    *,
    train: bool = False,
  ) -> Float[Array, 'b n a']:
    """Returns float32 logits, [b, n, 1 + labels].

    Args:
      features: of the windows' snippets, 0 at padded ones, [b, t, d].
      segments: in snippets of their window, durations positive, [b, n, 2].
      train: apply dropout, which needs the rng `dropout`.
    """
    pool = lambda x, y: context_features.inner_pool(x, y, self.inner_bins)
    return self.classify(jax.vmap(pool)(features, segments), train=train)

  @nn.compact
  def classify(
    self, pooled: Float[Array, 'b n r d'], *, train: bool = False
  ) -> Float[Array, 'b n a']:
    """As `__call__`, of features that are pooled already."""
    b, n = pooled.shape[:2]
    pooled = pooled.reshape(b, n, -1)
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    hidden = nn.LayerNorm(dtype=jnp.float32, name='norm')(pooled)
    hidden = nn.Dense(self.hidden, dtype=self.dtype, name='fc')(drop(hidden))
    hidden = drop(nn.gelu(hidden))
    output = nn.Dense(1 + self.num_labels, dtype=jnp.float32, name='output')
    return output(hidden)


def loss(
  logits: Float[Array, '*n a'], targets: Float[Array, '*n a']
) -> Float[Array, '']:
  """Weighted mean of the cross-entropy with targets that are distributions.

  Args:
    logits: as the classifier returns them.
    targets: times the weight of each proposal; 0: it does not count.
  """
  losses = -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)
  return jnp.sum(losses) / jnp.maximum(jnp.sum(targets), 1.0)


def without_none(logits: Float[Array, '*n b']) -> Float[Array, '*n a']:
  """Log-probabilities of the labels, given that there is an action."""
  return jax.nn.log_softmax(logits[..., 1:])


def mean_inside(
  probabilities: Float[Array, 'n r a'],
) -> Float[Array, 'n a']:
  """Log of the snippets' mean probabilities inside, given an action.

  Args:
    probabilities: means of equal bins of a proposal, of each label; what is
      missing to 1 is no action, [n, r, a].
  """
  inside = jnp.maximum(probabilities.mean(axis=1), _LEAST)
  return jnp.log(inside) - jnp.log(inside.sum(axis=-1, keepdims=True))


def combined(
  parts: Sequence[tuple[Float[Array, 'n a'], ...]],
) -> Float[Array, 'n a']:
  """Probabilities from log-probabilities of equal weight: their mean's."""
  found = [part for parts_of_one in parts for part in parts_of_one]
  return jax.nn.softmax(sum(found) / len(found))
