"""The boundary-matching layer with the convolution over its samples, exactly.

N points are sampled in every proposal and its surroundings, and a convolution
over them gives each proposal its features:

  out[t, d] = sum_n  x(t - c d_d + (1 + 2 c) d_d n / (N - 1) - 1/2)  W_n

x(p) is interpolated between snippets and 0 beyond the window, c is the context.
Sampled first, that is [t, d, N, channels]: 34 million numbers a window of 128
snippets, 64 durations, 32 points and 128 channels, and 17 billion
multiplications to 512. But from one start to the next all points move by one
snippet: along t it is a convolution whose kernel has the same N matrices for
every duration. The Fourier transform along t makes it a product at each
frequency, with N matrices once and a [d, N] matrix of phases: at most 7 million
numbers and 1.8 billion multiplications, and the same result.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int


class Points(NamedTuple):
  """Where the points of a proposal lie, relative to its start.

  Attributes:
    first: snippet below each point, [d, n].
    share: how far the point is on its way to the next snippet, [d, n].
  """

  first: Int[np.ndarray, 'd n']
  share: Float[np.ndarray, 'd n']


def points(durations: tuple[int, ...], samples: int, context: float) -> Points:
  """The sampled points of proposals that start at border 0.

  Args:
    durations: of the proposals, in snippets.
    samples: points each, at least 2.
    context: share of the duration that is looked at on either side.
  """
  length = np.asarray(durations, np.float64)[:, None]
  at = (1 + 2 * context) * np.arange(samples) / (samples - 1) - context
  # Snippet i is known at its centre, i + 1/2.
  place = length * at - 0.5
  first = np.floor(place).astype(int)
  return Points(first, place - first)


def phases(found: Points, length: int) -> Complex[np.ndarray, 'f d n']:
  """What interpolating at the points is at each frequency.

  Args:
    found: the points.
    length: snippets of a window, all of whose borders but the last are starts.
  Returns:
    [f, d, n] of the real transform over `period(found, length)` snippets.
  """
  size = period(found, length)
  angles = 2j * np.pi * np.arange(size // 2 + 1)[:, None, None] / size
  below = np.exp(angles * found.first)
  return below * (1 - found.share + found.share * np.exp(angles))


def period(found: Points, length: int) -> int:
  """Snippets after which it may repeat itself: no point meets a copy."""
  beyond = max(int(found.first.max()) + 2, 1 - int(found.first.min()))
  size = length + beyond
  return size + size % 2


def sampled(
  features: Float[Array, 'b t c'],
  kernel: Float[Array, 'n c k'],
  durations: tuple[int, ...],
  context: float,
) -> Float[Array, 'b t d k']:
  """Features of the proposals of every start and duration.

  Args:
    features: of a window's snippets; 0 where there are none.
    kernel: the matrix of each point.
    durations: of the proposals, in snippets.
    context: share of the duration that is looked at on either side.
  References:
    Lin et al., `BMN <https://arxiv.org/abs/1907.09702>`, 2019, Sec. 3.3.
  """
  length = features.shape[1]
  found = points(durations, kernel.shape[0], context)
  size = period(found, length)
  phase = phases(found, length)
  # Real matrices alone, real parts before imaginary ones: complex products are
  # slow on CPUs, and no transform is left that an export could not say.
  angles = 2 * np.pi * np.outer(np.arange(len(phase)), np.arange(length)) / size
  waves = np.stack([np.cos(angles), -np.sin(angles)])
  # All frequencies but the first and the last stand for two.
  twice = np.full(len(phase), 2.0)
  twice[[0, -1]] = 1.0
  back = twice[:, None] * waves / size
  turn = np.stack(
    [
      np.stack([phase.real, -phase.imag], axis=2),
      np.stack([phase.imag, phase.real], axis=2),
    ],
    axis=1,
  )
  waves, back, turn = (x.astype(np.float32) for x in (waves, back, turn))
  spectrum = jnp.einsum('xft,btc->fxbc', waves, features)
  of_points = jnp.einsum('fxbc,nck->fxnbk', spectrum, kernel)
  out = jnp.einsum('fydxn,fxnbk->fydbk', turn, of_points)
  return jnp.einsum('yft,fydbk->btdk', back, out)
