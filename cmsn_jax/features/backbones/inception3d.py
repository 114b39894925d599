"""Inception-v1 inflated to 3D, up to Mixed_5c: I3D's network.

Every layer that looks across frames pads with zeros in time, and frames outside
the video are set to zero again after every layer, so a window with enough halo
computes exactly what the whole clip would (a bias would otherwise leak in). As
all activations are >= 0, max-pooling over those zeros is pooling without them.

References:
  Carreira and Zisserman, `Quo Vadis, Action Recognition?
  <https://arxiv.org/abs/1705.07750>`, 2017, Fig. 3 and Sec. 2.4.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float

from cmsn_jax.features.backbones import convolution

# Output channels: 1x1x1 | 1x1x1, 3x3x3 | 1x1x1, 3x3x3 | pool, 1x1x1.
MIXED = {
  'mixed_3b': (64, 96, 128, 16, 32, 32),
  'mixed_3c': (128, 128, 192, 32, 96, 64),
  'mixed_4b': (192, 96, 208, 16, 48, 64),
  'mixed_4c': (160, 112, 224, 24, 64, 64),
  'mixed_4d': (128, 128, 256, 24, 64, 64),
  'mixed_4e': (112, 144, 288, 32, 64, 64),
  'mixed_4f': (256, 160, 320, 32, 128, 128),
  'mixed_5b': (256, 160, 320, 32, 128, 128),
  'mixed_5c': (384, 192, 384, 48, 128, 128),
}
# Pools in front of a module: (window, stride) in time, then in space.
_POOLS = {
  'mixed_3b': ((1, 1), (3, 2)),
  'mixed_4b': ((3, 2), (3, 2)),
  'mixed_5b': ((2, 2), (2, 2)),
}


class Unit(nn.Module):
  """Convolution, batch normalisation without scale, ReLU, mask.

  Attributes:
    features: output channels.
    window: size in time, height and width; odd.
    stride: step in time, height and width.
    formulation: see `convolution.convolve`.
    dtype: compute dtype; parameters stay float32.
  """

  features: int
  window: int = 1
  stride: int = 1
  formulation: str = 'auto'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b f h w c'], valid: Bool[Array, 'b g']
  ) -> Float[Array, 'b g i j d']:
    """`valid` belongs to the output's frames: g = f / stride."""
    shape = (self.window,) * 3 + (x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.he_normal(), shape)
    x = _convolve(
      x.astype(self.dtype),
      kernel.astype(self.dtype),
      self.stride,
      self.formulation,
    )
    x = nn.BatchNorm(
      use_running_average=True,
      use_scale=False,
      epsilon=1e-3,
      dtype=self.dtype,
      name='bn',
    )(x)
    return nn.relu(x) * valid.reshape(*valid.shape, 1, 1, 1).astype(x.dtype)


class Mixed(nn.Module):
  """Inception module: four branches, concatenated."""

  channels: tuple[int, ...]
  formulation: str = 'auto'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b f h w c'], valid: Bool[Array, 'b f']
  ) -> Float[Array, 'b f h w d']:
    def unit(index, name, window=1):
      return Unit(
        self.channels[index],
        window,
        formulation=self.formulation,
        dtype=self.dtype,
        name=name,
      )

    branches = [
      unit(0, 'branch_0')(x, valid),
      unit(2, 'branch_1b', 3)(unit(1, 'branch_1a')(x, valid), valid),
      unit(4, 'branch_2b', 3)(unit(3, 'branch_2a')(x, valid), valid),
      unit(5, 'branch_3')(_max_pool(x, (3, 1), (3, 1)), valid),
    ]
    return jnp.concatenate(branches, -1)


class I3D(nn.Module):
  """The network up to Mixed_5c.

  Attributes:
    width: multiplier of all channel counts; 1 is the paper's.
    formulation: see `convolution.convolve`.
    dtype: compute dtype; parameters stay float32.
  """

  width: float = 1.0
  formulation: str = 'auto'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    frames: Float[Array, 'b f h w 3'],
    valid: Bool[Array, 'b f'],
  ) -> Float[Array, 'b t d']:
    """Returns the spatial mean of Mixed_5c, t = f / 8.

    Args:
      frames: RGB in [-1, 1]; f a multiple of 8.
      valid: False for frames outside the video; their values do not matter.
    Returns:
      float32 features, one row a snippet of 8 frames.
    """
    kwargs = {'formulation': self.formulation, 'dtype': self.dtype}
    x = frames * valid.reshape(*valid.shape, 1, 1, 1)
    valid = _halve(valid)
    x = Unit(self._wide(64), 7, 2, name='conv_1a', **kwargs)(x, valid)
    x = _max_pool(x, (1, 1), (3, 2))
    x = Unit(self._wide(64), name='conv_2b', **kwargs)(x, valid)
    x = Unit(self._wide(192), 3, name='conv_2c', **kwargs)(x, valid)
    for name, channels in MIXED.items():
      if name in _POOLS:
        in_time, in_space = _POOLS[name]
        x = _max_pool(x, in_time, in_space)
        valid = _halve(valid) if in_time[1] == 2 else valid
      channels = tuple(self._wide(count) for count in channels)
      x = Mixed(channels, name=name, **kwargs)(x, valid)
    return x.mean((2, 3), dtype=jnp.float32)

  def _wide(self, count: int) -> int:
    return max(1, round(count * self.width))


def _halve(valid: Bool[Array, 'b f']) -> Bool[Array, 'b g']:
  b, f = valid.shape
  return valid.reshape(b, f // 2, 2).any(2)


def _convolve(x, kernel, stride, formulation):
  if stride == 1:
    if kernel.shape[0] > 1:
      return convolution.convolve(x, kernel, formulation=formulation)
    # A pointwise convolution is a matrix product.
    return x @ kernel[0, 0, 0]
  if convolution.choose(formulation) == 'conv3d':
    return lax.conv_general_dilated(
      x,
      kernel,
      window_strides=(stride,) * 3,
      padding='SAME',
      dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    )
  return _strided_concat2d(x, kernel, stride)


def _strided_concat2d(x, kernel, stride):
  b, f, h, w, c = x.shape
  kt, kh, kw, _, o = kernel.shape
  before, after = _same(kt, stride)
  x = jnp.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)))
  x = jnp.concatenate([x[:, i : i + f : stride] for i in range(kt)], -1)
  flat = kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, kt * c, o)
  x = lax.conv_general_dilated(
    x.reshape(b * f // stride, h, w, kt * c),
    flat,
    window_strides=(stride, stride),
    padding='SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  return x.reshape(b, f // stride, *x.shape[1:])


def _same(window: int, stride: int) -> tuple[int, int]:
  """TensorFlow's 'SAME' padding of a length divisible by the stride."""
  total = max(window - stride, 0)
  return total // 2, total - total // 2


def _max_pool(x, in_time, in_space):
  """Max over time by slices, then over space; x >= 0, 'SAME' as zeros."""
  b, f, h, w, c = x.shape
  window, stride = in_time
  if window > 1:
    before, after = _same(window, stride)
    x = jnp.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)))
    pieces = [x[:, i : i + f : stride] for i in range(window)]
    x = pieces[0]
    for piece in pieces[1:]:
      x = jnp.maximum(x, piece)
  f = x.shape[1]
  window, stride = in_space
  x = nn.max_pool(
    x.reshape(b * f, h, w, c),
    (window, window),
    (stride, stride),
    padding='SAME',
  )
  return x.reshape(b, f, *x.shape[1:])
