"""C3D, conv1a to conv5b: the paper's feature extractor (FES).

Frames `[b, f, h, w, 3]` become maps `[b, f / 8, h / 16, w / 16, 512]`: one
snippet every 8 frames, 7 x 7 places for 112 x 112 pixels.

References:
  Tran et al., `Learning Spatiotemporal Features with 3D Convolutional
  Networks <https://arxiv.org/abs/1412.0767>`, 2015, Fig. 3; sizes without the
  fully connected layers as in this method's Sec. 3.1.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float

from cmsn_jax.features.backbones import convolution, pooling

STRIDE_FRAMES = 8
# Layers conv1a ... conv5b see 30 frames a side; 32 keeps multiples of 8.
HALO_FRAMES = 32

# Blocks: their layers, then the pooling window in time, height, width.
BLOCKS = (
  (('conv1a',), (1, 2, 2)),
  (('conv2a',), (2, 2, 2)),
  (('conv3a', 'conv3b'), (2, 2, 2)),
  (('conv4a', 'conv4b'), (2, 2, 2)),
  (('conv5a', 'conv5b'), (1, 1, 1)),
)
LAYERS = tuple(name for names, _ in BLOCKS for name in names)
WIDTHS = (64, 128, 256, 512, 512)


def count_frozen(frozen_layers: int | str | Sequence[str]) -> int:
  """Returns how many first layers are frozen.

  Args:
    frozen_layers: that number, 'all', or the layers' names.
  Returns:
    0 to 8.
  Raises:
    ValueError: names that are not the network's first layers. A frozen layer
      behind a trained one would still cost its backward pass.
  """
  if frozen_layers == 'all':
    return len(LAYERS)
  if isinstance(frozen_layers, int):
    if 0 <= frozen_layers <= len(LAYERS):
      return frozen_layers
  elif tuple(frozen_layers) == LAYERS[: len(frozen_layers)]:
    return len(frozen_layers)
  raise ValueError(
    "frozen_layers must be 'all', a number from 0 to 8 or the names of the "
    f'first layers in the order {LAYERS}, got {frozen_layers!r}'
  )


class C3D(nn.Module):
  """Maps of C3D's convolutional layers.

  Attributes:
    widths: output channels of the five blocks, full size `WIDTHS`.
    frozen_layers: how many (or which) first layers are not trained; see
      `count_frozen`. They cost no backward pass and keep no activations.
    remat: whether each block's activations are computed again in the backward
      pass instead of kept.
    formulation: of the 3D convolutions; see `convolution.convolve`.
    dtype: compute dtype; parameters stay float32.
  """

  widths: tuple[int, ...] = WIDTHS
  frozen_layers: int | str | tuple[str, ...] = 0
  remat: bool = False
  formulation: str = 'auto'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    frames: Float[Array | np.ndarray, 'b f h w 3'],
    mask: Bool[Array | np.ndarray, 'b f'] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, 'b t h2 w2 d']:
    """Computes the maps.

    Args:
      frames: preprocessed frames; f a multiple of 8.
      mask: which frames are part of the video; None means all. Values of other
        frames never change the maps of valid snippets, and a snippet without
        any valid frame is 0.
      train: accepted for a common interface; changes nothing here.
    Returns:
      Maps, one snippet per 8 frames.
    Raises:
      ValueError: f is no multiple of 8, or frames are smaller than 16 pixels.
    """
    del train
    _check(frames.shape, self.widths)
    num_frozen = count_frozen(self.frozen_layers)
    maps = jnp.asarray(frames, self.dtype)
    maps = _zero_outside(maps, mask)
    layer = 0
    for (names, window), width in zip(BLOCKS, self.widths, strict=True):
      frozen = min(max(num_frozen - layer, 0), len(names))
      run = functools.partial(_block, names, width, window, frozen)
      maps, mask = (nn.remat(run) if self.remat else run)(self, maps, mask)
      layer += len(names)
    return maps


def _block(names, width, window, num_frozen, c3d, maps, mask):
  """Runs one block's convolutions, ReLUs and pooling inside module c3d."""
  for i, name in enumerate(names, start=1):
    conv = convolution.Conv3D(
      width,
      formulation=c3d.formulation,
      dtype=c3d.dtype,
      parent=c3d,
      name=name,
    )
    maps = _zero_outside(conv(maps), mask)
    last = i == len(names)
    # Without a window this is a ReLU that keeps one byte a value.
    maps = pooling.relu_max_pool(maps, window if last else (1, 1, 1))
    if i == num_frozen:
      maps = lax.stop_gradient(maps)
  return maps, _pool_mask(mask, window[0])


def _zero_outside(maps, mask):
  if mask is None:
    return maps
  return jnp.where(mask[:, :, None, None, None], maps, 0)


def _pool_mask(mask, window):
  if mask is None:
    return None
  b, f = mask.shape
  return mask.reshape(b, f // window, window).any(axis=2)


def _check(shape, widths):
  if len(widths) != len(BLOCKS):
    raise ValueError(f'widths must have {len(BLOCKS)} values, got {widths}')
  if shape[1] == 0 or shape[1] % STRIDE_FRAMES:
    raise ValueError(
      f'frames must be a positive multiple of {STRIDE_FRAMES} in time, got '
      f'{shape[1]}; pad with zeros and pass a mask'
    )
  if min(shape[2:4]) < 16:
    raise ValueError(
      f'frames must be at least 16 x 16 pixels, got {shape[2:4]}'
    )
