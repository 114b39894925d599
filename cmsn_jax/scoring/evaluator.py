"""Proposal evaluation subnet (PES): pooled features -> expected tIoU."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Evaluator(nn.Module):
  """Two fully connected layers and a score (Sec. 3.3).

  Submodules `fc_1`, `fc_2`, `score`. The score is the sigmoid of the output;
  it is trained to be the proposal's tIoU with the ground truth.

  Attributes:
    hidden: width of the fully connected layers.
    dropout: rate after each of them.
    dtype: compute dtype; parameters and the output are float32.
  """

  hidden: int = 2048
  dropout: float = 0.5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, rois: Float[Array, '*n r d'], *, train: bool = False
  ) -> Float[Array, '*n']:
    """Returns a logit a proposal; its score is the sigmoid.

    Args:
      rois: RoI-pooled features, [n, r, d] (or more leading axes).
      train: apply dropout, which needs the rng `dropout`.
    Returns:
      logits, float32, [n].
    """
    *leading, r, d = rois.shape
    hidden = rois.reshape(*leading, r * d).astype(self.dtype)
    for i in (1, 2):
      hidden = nn.Dense(
        self.hidden,
        dtype=self.dtype,
        kernel_init=nn.initializers.he_normal(),
        name=f'fc_{i}',
      )(hidden)
      hidden = nn.Dropout(self.dropout, name=f'dropout_{i}')(
        nn.relu(hidden), deterministic=not train
      )
    logits = nn.Dense(1, dtype=jnp.float32, name='score')(hidden)
    return logits[..., 0]
