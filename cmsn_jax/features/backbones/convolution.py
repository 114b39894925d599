"""3D convolution over video, in the form that each backend runs fastest.

Both forms compute the same sum with the same parameters
`[kt, kh, kw, c_in, c_out]` ('SAME' zero padding, stride 1):

- `conv3d`: one `lax` convolution with three spatial axes.
- `concat2d`: the `kt` neighbouring frames of each frame are concatenated in
  channels and one 2D convolution runs over them. XLA's CPU backend has a fast
  path for 2D convolutions only, so there this form is about twice as fast.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

FORMULATIONS = ('auto', 'conv3d', 'concat2d')

# Pixels a group of frames may hold in the kernel's gradient (measured).
_GROUP_PIXELS = 6400


def choose(formulation: str) -> str:
  """Returns 'conv3d' or 'concat2d'; 'auto' picks by the default backend.

  Raises:
    ValueError: on an unknown formulation.
  """
  if formulation not in FORMULATIONS:
    raise ValueError(
      f'formulation must be one of {FORMULATIONS}, got {formulation!r}'
    )
  if formulation != 'auto':
    return formulation
  return 'concat2d' if jax.default_backend() == 'cpu' else 'conv3d'


def convolve(
  inputs: Float[Array, 'b f h w c'],
  kernel: Float[Array, 'kt kh kw c o'],
  *,
  formulation: str = 'auto',
) -> Float[Array, 'b f h w o']:
  """3D cross-correlation with zero padding that keeps the size.

  Args:
    inputs: video or feature maps, channels last.
    kernel: weights in time, height, width, input, output order; the three
      window sizes must be odd.
    formulation: 'conv3d', 'concat2d', or 'auto' (by backend).
  Returns:
    The filtered maps, same time and space size, in the inputs' dtype.
  Raises:
    ValueError: an even window, or an unknown formulation.
  """
  if any(size % 2 == 0 for size in kernel.shape[:3]):
    raise ValueError(
      f'kernel window must be odd in every axis, got {kernel.shape[:3]}'
    )
  if choose(formulation) == 'conv3d':
    return lax.conv_general_dilated(
      inputs,
      kernel,
      window_strides=(1, 1, 1),
      padding='SAME',
      dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    )
  return _concat2d(inputs, kernel)


@jax.custom_vjp
def _concat2d(inputs, kernel):
  b, f, h, w, _ = inputs.shape
  stacked = _stack_frames(_pad_time(inputs, kernel.shape[0]), f)
  return _convolve_frames(stacked, _flatten_time(kernel)).reshape(
    b, f, h, w, -1
  )


def _concat2d_forward(inputs, kernel):
  # The inputs alone are kept, not their kt-fold concatenation.
  return _concat2d(inputs, kernel), (inputs, kernel)


def _concat2d_backward(residuals, gradient):
  inputs, kernel = residuals
  return (
    _inputs_gradient(gradient, kernel),
    _kernel_gradient(inputs, gradient, kernel.shape).astype(kernel.dtype),
  )


_concat2d.defvjp(_concat2d_forward, _concat2d_backward)


def _pad_time(inputs, kt):
  half = kt // 2
  return jnp.pad(inputs, ((0, 0), (half, half), (0, 0), (0, 0), (0, 0)))


def _stack_frames(padded, f):
  """Concatenates each frame's neighbours: [b, f + kt - 1, ...] -> [b * f, ...]."""
  b, total, h, w, c = padded.shape
  kt = total - f + 1
  stacked = jnp.concatenate([padded[:, i : i + f] for i in range(kt)], axis=-1)
  return stacked.reshape(b * f, h, w, kt * c)


def _flatten_time(kernel):
  """[kt, kh, kw, c, o] -> [kh, kw, kt * c, o], the order of `_stack_frames`."""
  kt, kh, kw, c, o = kernel.shape
  return kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, kt * c, o)


def _convolve_frames(inputs, kernel):
  # XLA's CPU backend rewrites other axis orders to this one only outside
  # loops; inside a scan they run fifty times slower. Hence the explicit
  # transposes in the gradients.
  return lax.conv_general_dilated(
    inputs,
    kernel,
    window_strides=(1, 1),
    padding='SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def _inputs_gradient(gradient, kernel):
  b, f, h, w, o = gradient.shape
  kt, _, _, c, _ = kernel.shape
  # [kt, kh, kw, c, o] -> [kh, kw, o, kt * c], mirrored in space.
  mirrored = kernel[:, ::-1, ::-1].transpose(1, 2, 4, 0, 3)
  mirrored = mirrored.reshape(*mirrored.shape[:3], kt * c)
  frames = _convolve_frames(gradient.reshape(b * f, h, w, o), mirrored)
  frames = _pad_time(frames.reshape(b, f, h, w, kt * c), kt)
  # Frame i took part in the outputs of frames i - half ... i + half.
  return sum(
    frames[:, kt - 1 - i : kt - 1 - i + f, ..., i * c : (i + 1) * c]
    for i in range(kt)
  )


def _kernel_gradient(inputs, gradient, kernel_shape):
  """Sums the kernel's gradient over groups of frames.

  Outputs act as the window of a convolution over the inputs. One such window
  over a whole clip falls out of cache (two to three times slower); groups of
  some thousand pixels do not, and only one group's concatenation is in memory.
  """
  b, f, h, w, o = gradient.shape
  kt, kh, kw, c, _ = kernel_shape
  padded = _pad_time(inputs, kt)
  size = _group_size(f, h * w)

  def add_group(total, index):
    clip, start = index // (f // size), index % (f // size) * size
    frames = lax.dynamic_slice(
      padded, (clip, start, 0, 0, 0), (1, size + kt - 1, h, w, c)
    )
    window = lax.dynamic_slice(
      gradient, (clip, start, 0, 0, 0), (1, size, h, w, o)
    )
    group = lax.conv_general_dilated(
      _stack_frames(frames, size).transpose(3, 1, 2, 0),
      window[0].transpose(1, 2, 0, 3),
      window_strides=(1, 1),
      padding=((kh // 2, kh // 2), (kw // 2, kw // 2)),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      preferred_element_type=jnp.float32,
    )
    return total + group, None

  zeros = jnp.zeros((kt * c, kh, kw, o), jnp.float32)
  total, _ = lax.scan(add_group, zeros, jnp.arange(b * (f // size)))
  return total.reshape(kt, c, kh, kw, o).transpose(0, 2, 3, 1, 4)


def _group_size(num_frames, pixels):
  """The largest divisor of num_frames that keeps a group cache-sized."""
  limit = max(1, _GROUP_PIXELS // pixels)
  return max(
    n for n in range(1, num_frames + 1) if num_frames % n == 0 and n <= limit
  )


class Conv3D(nn.Module):
  """3D convolution layer; parameters do not depend on the formulation.

  Attributes:
    features: output channels.
    kernel_size: odd window in time, height, width.
    use_bias: whether a bias is added.
    formulation: see `convolve`.
    dtype: compute dtype; parameters stay float32.
    kernel_init: initializer of the kernel.
  """

  features: int
  kernel_size: tuple[int, int, int] = (3, 3, 3)
  use_bias: bool = True
  formulation: str = 'auto'
  dtype: Any = jnp.float32
  kernel_init: Any = nn.initializers.he_uniform()

  @nn.compact
  def __call__(
    self, inputs: Float[Array | np.ndarray, 'b f h w c']
  ) -> Float[Array, 'b f h w o']:
    shape = (*self.kernel_size, inputs.shape[-1], self.features)
    kernel = self.param('kernel', self.kernel_init, shape, jnp.float32)
    outputs = convolve(
      jnp.asarray(inputs, self.dtype),
      jnp.asarray(kernel, self.dtype),
      formulation=self.formulation,
    )
    if self.use_bias:
      bias = self.param(
        'bias', nn.initializers.zeros_init(), (self.features,), jnp.float32
      )
      outputs = outputs + jnp.asarray(bias, self.dtype).reshape(1, 1, 1, 1, -1)
    return outputs
