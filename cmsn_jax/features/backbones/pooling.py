"""Max pooling over video that is cheap to train through.

`lax.reduce_window`'s gradient searches each window again, which costs a CPU
more than the convolution before it. Here the windows do not overlap, the place
of each maximum is kept as one byte, and the gradient is one elementwise pass.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Marks windows without a positive value, through which no gradient flows.
_NONE = 255


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def relu_max_pool(
  inputs: Float[Array, 'b f h w c'], window: tuple[int, int, int]
) -> Float[Array, 'b f2 h2 w2 c']:
  """Max-pools max(inputs, 0) over windows that do not overlap.

  For the gradient only the place of the maximum is kept (the first one of
  equal values, as in torch), not the inputs: a sixteenth to a
  thirty-second of the memory.

  Args:
    inputs: maps before the ReLU.
    window: size, and step, in time, height and width; at most 254 values.
      Rows, columns or frames that do not fill a window are left out.
  Returns:
    The pooled maps.
  """
  return _pool(inputs, window)[0]


def _forward(inputs, window):
  outputs, place = _pool(inputs, window)
  # An empty slice carries the shape and dtype that the gradient must have.
  return outputs, (place, jnp.zeros((*inputs.shape[:4], 0), inputs.dtype))


def _backward(window, residuals, gradient):
  place, shaped = residuals
  b, f, h, w, c = gradient.shape
  kt, kh, kw = window
  index = jnp.arange(kt * kh * kw, dtype=jnp.uint8)
  index = index.reshape(1, 1, kt, 1, kh, 1, kw, 1)
  spread = (b, f, 1, h, 1, w, 1, c)
  routed = jnp.where(
    place.reshape(spread) == index, gradient.reshape(spread), 0
  ).reshape(b, f * kt, h * kh, w * kw, c)
  missing = [
    (0, whole - part) for whole, part in zip(shaped.shape[:4], routed.shape)
  ]
  return (jnp.pad(routed, (*missing, (0, 0))).astype(shaped.dtype),)


relu_max_pool.defvjp(_forward, _backward)


def _pool(inputs, window):
  kt, kh, kw = window
  f, h, w = (
    size // step * step for size, step in zip(inputs.shape[1:4], window)
  )
  best = place = None
  for i in range(kt * kh * kw):
    t, y, x = i // (kh * kw), i // kw % kh, i % kw
    part = inputs[:, t:f:kt, y:h:kh, x:w:kw]
    if best is None:
      best, place = part, jnp.zeros(part.shape, jnp.uint8)
      continue
    place = jnp.where(part > best, jnp.uint8(i), place)
    best = jnp.maximum(best, part)
  place = jnp.where(best > 0, place, jnp.uint8(_NONE))
  return jnp.maximum(best, 0), place
