"""Inception-v1 inflated to 3D, up to Mixed_5c: I3D's network.

Every layer that looks across frames pads with zeros in time, and frames outside
the video are set to zero again after every layer, so a window with enough halo
computes exactly what the whole clip would (a bias would otherwise leak in). As
all activations are >= 0, max-pooling over those zeros is pooling without them.
For the same reason eight such frames keep two videos in one clip apart.

A clip may also come as a stream of pieces (`streams`): every layer then keeps
the few frames that it needs of the piece before, and nothing is computed twice.

References:
  Carreira and Zisserman, `Quo Vadis, Action Recognition?
  <https://arxiv.org/abs/1705.07750>`, 2017, Fig. 3 and Sec. 2.4.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float

from cmsn_jax.features.backbones import convolution, time_axis

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


# Snippets that a stream's rows are late: 2, and 1 for the third convolution and
# for each of two modules, at half the frames' rate (5, held to 6); 1 for a pool
# and 5 for its modules, at a quarter (9, held to 10); 2 for the last modules.
LAG_SNIPPETS = 7


class Unit(nn.Module):
  """Convolution, batch normalisation without scale, ReLU, mask.

  Attributes:
    features: output channels.
    window: size in time, height and width; odd.
    stride: step in time, height and width.
    formulation: see `convolution.convolve`.
    dtype: compute dtype; parameters stay float32.
    streams: whether the clip comes in pieces.
  """

  features: int
  window: int = 1
  stride: int = 1
  formulation: str = 'auto'
  dtype: Any = jnp.float32
  streams: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b f h w c'], valid: Bool[Array, 'b g']
  ) -> Float[Array, 'b g i j d']:
    """`valid` belongs to the output's frames: g = f / stride."""
    shape = (self.window,) * 3 + (x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.he_normal(), shape)
    kernel = kernel.astype(self.dtype)
    if self.window == 1:
      # A pointwise convolution is a matrix product.
      x = x.astype(self.dtype) @ kernel[0, 0, 0]
    else:
      around = time_axis.Around(
        self.window, self.stride, self.streams, name='around'
      )
      run = lambda x: convolve(x, kernel, self.stride, self.formulation)
      x = around(x.astype(self.dtype))
      if self.streams:
        # A stream's last rows wait for frames that are none: nothing to sum.
        out = jax.eval_shape(run, x)
        none = lambda x: jnp.zeros(out.shape, out.dtype)
        x = lax.cond(valid.any(), run, none, x)
      else:
        x = run(x)
    x = nn.BatchNorm(
      use_running_average=True,
      use_scale=False,
      epsilon=1e-3,
      dtype=self.dtype,
      name='bn',
    )(x)
    return nn.relu(x) * valid.reshape(*valid.shape, 1, 1, 1).astype(x.dtype)


class Mixed(nn.Module):
  """Inception module: four branches, concatenated; one frame late in a stream."""

  channels: tuple[int, ...]
  formulation: str = 'auto'
  dtype: Any = jnp.float32
  streams: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b f h w c'], valid: Bool[Array, 'b f']
  ) -> tuple[Float[Array, 'b f h w d'], Bool[Array, 'b f']]:
    def unit(index, name, window=1):
      return Unit(
        self.channels[index],
        window,
        formulation=self.formulation,
        dtype=self.dtype,
        streams=self.streams,
        name=name,
      )

    later = lambda name: time_axis.Later(1, self.streams, name=name)
    around = time_axis.Around(3, 1, self.streams, name='around')
    late = later('valid')(valid)
    branches = [
      later('branch_0_later')(unit(0, 'branch_0')(x, valid)),
      unit(2, 'branch_1b', 3)(unit(1, 'branch_1a')(x, valid), late),
      unit(4, 'branch_2b', 3)(unit(3, 'branch_2a')(x, valid), late),
      unit(5, 'branch_3')(_max_pool(around(x), (3, 1), (3, 1)), late),
    ]
    return jnp.concatenate(branches, -1), late


class I3D(nn.Module):
  """The network up to Mixed_5c.

  Attributes:
    width: multiplier of all channel counts; 1 is the paper's.
    formulation: see `convolution.convolve`.
    dtype: compute dtype; parameters stay float32.
    streams: whether the clip comes in pieces, whose ends are kept in the
      collection 'stream'; zeros before the first one.
  """

  width: float = 1.0
  formulation: str = 'auto'
  dtype: Any = jnp.float32
  streams: bool = False

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
      float32 features, one row a snippet of 8 frames; in a stream those of
      `LAG_SNIPPETS` snippets earlier.
    """
    kwargs = {
      'formulation': self.formulation,
      'dtype': self.dtype,
      'streams': self.streams,
    }
    x = frames * valid.reshape(*valid.shape, 1, 1, 1)
    valid = self._later('valid_1a', _halve(valid), time_axis.lag(7, 2))
    x = Unit(self._wide(64), 7, 2, name='conv_1a', **kwargs)(x, valid)
    x = _max_pool(x, (1, 1), (3, 2))
    x = Unit(self._wide(64), name='conv_2b', **kwargs)(x, valid)
    valid = self._later('valid_2c', valid, time_axis.lag(3))
    x = Unit(self._wide(192), 3, name='conv_2c', **kwargs)(x, valid)
    # Frames late, at the rate reached so far.
    late = time_axis.lag(7, 2) + time_axis.lag(3)
    for name, channels in MIXED.items():
      if name in _POOLS:
        x, valid, late = self._pool(name, x, valid, late)
      channels = tuple(self._wide(count) for count in channels)
      x, valid = Mixed(channels, name=name, **kwargs)(x, valid)
      late += 1
    return x.mean((2, 3), dtype=jnp.float32)

  def _pool(self, name, x, valid, late):
    """The pool in front of a module."""
    in_time, in_space = _POOLS[name]
    window, stride = in_time
    if stride == 2 and late % 2:
      # Pairs must be those of the whole clip.
      x = self._later(f'{name}_pair', x, 1)
      valid = self._later(f'{name}_valid_pair', valid, 1)
      late += 1
    around = time_axis.Around(
      window, stride, self.streams, name=f'{name}_around'
    )
    x = _max_pool(around(x), in_time, in_space)
    if stride == 2:
      more = time_axis.lag(window, stride)
      valid = self._later(f'{name}_valid', _halve(valid), more)
      late = late // 2 + more
    return x, valid, late

  def _later(self, name, x, by):
    return time_axis.Later(by, self.streams, name=name)(x)

  def _wide(self, count: int) -> int:
    return max(1, round(count * self.width))


def _halve(valid: Bool[Array, 'b f']) -> Bool[Array, 'b g']:
  b, f = valid.shape
  return valid.reshape(b, f // 2, 2).any(2)


def convolve(
  x: Float[Array, 'b g h w c'],
  kernel: Float[Array, 'kt kh kw c o'],
  stride: int,
  formulation: str,
) -> Float[Array, 'b f i j o']:
  """Convolves over time without padding, over space with 'SAME' padding.

  Args:
    x: frames with those around them (`time_axis.Around`).
    kernel: weights.
    stride: in time, height and width.
    formulation: see `convolution.convolve`.
  """
  b, g, h, w, c = x.shape
  kt, kh, kw, _, o = kernel.shape
  space = [_same_of(h, kh, stride), _same_of(w, kw, stride)]
  if convolution.choose(formulation) == 'conv3d':
    return lax.conv_general_dilated(
      x,
      kernel,
      window_strides=(stride,) * 3,
      padding=[(0, 0), *space],
      dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    )
  f = g - kt + 1
  x = jnp.concatenate([x[:, i : i + f : stride] for i in range(kt)], -1)
  flat = kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, kt * c, o)
  f = x.shape[1]
  x = lax.conv_general_dilated(
    x.reshape(b * f, h, w, kt * c),
    flat,
    window_strides=(stride, stride),
    padding=space,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  return x.reshape(b, f, *x.shape[1:])


def _same_of(size, window, stride):
  """TensorFlow's 'SAME' padding of any size."""
  total = max((-(-size // stride) - 1) * stride + window - size, 0)
  return total // 2, total - total // 2


def _max_pool(x, in_time, in_space):
  """Max over time by slices, without padding, then over space; x >= 0."""
  window, stride = in_time
  f = x.shape[1] - window + 1
  pieces = [x[:, i : i + f : stride] for i in range(window)]
  x = pieces[0]
  for piece in pieces[1:]:
    x = jnp.maximum(x, piece)
  b, f, h, w, c = x.shape
  window, stride = in_space
  x = nn.max_pool(
    x.reshape(b * f, h, w, c),
    (window, window),
    (stride, stride),
    padding='SAME',
  )
  return x.reshape(b, f, *x.shape[1:])
