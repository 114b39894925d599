"""Dilated convolutions over snippets: a wide view at a fixed, known reach.

Beside the BiLSTM of the paper's action stage subnet. Its outputs depend on at
most `reach` snippets either side, so a long video is computed exactly in
pieces, and it costs a fraction of a recurrent layer on every backend.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def reach(dilations: Sequence[int]) -> int:
  """Snippets either side that an output of `DilatedEncoder` depends on."""
  return 1 + sum(dilations)


class DilatedBlock(nn.Module):
  """LayerNorm, dilated convolution of three, GELU, dropout, dense, residual.

  Submodules `norm`, `conv`, `dense`.

  Attributes:
    width: channels in and out.
    dilation: snippets between the convolution's taps.
    dropout: rate after the activation.
    dtype: compute dtype; parameters and the norm are float32.
  """

  width: int
  dilation: int
  dropout: float = 0.3
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    inputs: Float[Array, 'b t d'],
    mask: Bool[Array, 'b t'],
    *,
    train: bool = False,
  ) -> Float[Array, 'b t d']:
    """Returns the block's output, 0 at padded snippets."""
    valid = mask[:, :, None]
    hidden = nn.LayerNorm(dtype=jnp.float32, name='norm')(inputs)
    # The norm's bias would leak out of the padding through the convolution.
    hidden = jnp.where(valid, hidden, 0).astype(self.dtype)
    hidden = nn.Conv(
      self.width,
      (3,),
      kernel_dilation=self.dilation,
      dtype=self.dtype,
      name='conv',
    )(hidden)
    hidden = nn.Dropout(self.dropout)(nn.gelu(hidden), deterministic=not train)
    hidden = nn.Dense(self.width, dtype=self.dtype, name='dense')(hidden)
    return jnp.where(valid, inputs + hidden, 0)


class DilatedEncoder(nn.Module):
  """Convolution of three, residual dilated blocks, LayerNorm.

  Submodules `input`, `block_1` .. `block_n`, `norm`.

  Attributes:
    width: channels.
    dilations: of the blocks, in order.
    dropout: rate inside the blocks; half of it on the input's channels.
    dtype: compute dtype; parameters and norms are float32.
  """

  width: int = 128
  dilations: Sequence[int] = (1, 2, 4, 8, 16)
  dropout: float = 0.3
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    inputs: Float[Array, 'b t d'],
    mask: Bool[Array, 'b t'],
    *,
    train: bool = False,
  ) -> Float[Array, 'b t w']:
    """Returns an embedding of each snippet, 0 at padded ones.

    Args:
      inputs: features; padded snippets may hold anything, NaN included.
      mask: true for valid snippets, [b, t].
      train: apply dropout, which needs the rng `dropout`.
    """
    valid = mask[:, :, None]
    hidden = jnp.where(valid, inputs, 0).astype(self.dtype)
    hidden = nn.Dropout(self.dropout / 2)(hidden, deterministic=not train)
    hidden = nn.Conv(self.width, (3,), dtype=self.dtype, name='input')(hidden)
    hidden = jnp.where(valid, hidden, 0)
    for i, dilation in enumerate(self.dilations, start=1):
      hidden = DilatedBlock(
        self.width, dilation, self.dropout, self.dtype, name=f'block_{i}'
      )(hidden, mask, train=train)
    hidden = nn.LayerNorm(dtype=jnp.float32, name='norm')(hidden)
    return jnp.where(valid, hidden, 0)
