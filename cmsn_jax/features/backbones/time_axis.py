"""Layers that look across frames, over a whole clip or piece by piece.

Over a whole clip they pad with zeros in time ('SAME'). Over a stream they keep
the last frames they saw (collection 'stream') in place of the padding, and
their outputs come as many frames later as they have to wait for. A stream that
has begun with zeros, and goes on for as long, gives just what the clip gives.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Shaped


def same(window: int, stride: int) -> tuple[int, int]:
  """TensorFlow's 'SAME' padding of a length divisible by the stride."""
  total = max(window - stride, 0)
  return total // 2, total - total // 2


def lag(window: int, stride: int = 1) -> int:
  """Output frames that a stream's layer is late."""
  return -(-same(window, stride)[1] // stride)


class Around(nn.Module):
  """Frames with their surroundings; has no parameters.

  Attributes:
    window: frames that an output sees.
    stride: frames between outputs.
    streams: whether the clip comes in pieces.
  """

  window: int
  stride: int = 1
  streams: bool = False

  @nn.compact
  def __call__(self, x: Shaped[Array, 'b f *d']) -> Shaped[Array, 'b g *d']:
    """Returns g = f + window - stride frames (f where the stride is larger).

    Windows over them without padding give f / stride outputs, in a stream those
    of `lag(window, stride)` outputs earlier.
    """
    before, after = same(self.window, self.stride)
    if not self.streams:
      widths = [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2)
      return jnp.pad(x, widths)
    count = before + self.stride * lag(self.window, self.stride)
    return _joined(self, x, count)[:, : x.shape[1] + before + after]


class Later(nn.Module):
  """A stream's frames from `by` frames earlier; of a whole clip its own.

  Attributes:
    by: how many frames.
    streams: whether the clip comes in pieces.
  """

  by: int
  streams: bool = False

  @nn.compact
  def __call__(self, x: Shaped[Array, 'b f *d']) -> Shaped[Array, 'b f *d']:
    if not self.streams:
      return x
    return _joined(self, x, self.by)[:, : x.shape[1]]


def _joined(module, x, count):
  """The last `count` frames of the pieces before, then x."""
  if not count:
    return x
  shape = (x.shape[0], count, *x.shape[2:])
  tail = module.variable('stream', 'tail', jnp.zeros, shape, x.dtype)
  joined = jnp.concatenate([tail.value, x], 1)
  if not module.is_initializing():
    tail.value = joined[:, joined.shape[1] - count :]
  return joined
