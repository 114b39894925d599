"""The boundary-matching network: boundaries of snippets, scores of proposals.

features -> base -> start and end probability a border   (temporal evaluation)
                 -> every start and duration, sampled -> two confidence maps
                                                         (proposal evaluation)
"""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Bool, Float

from cmsn_jax.chains import first_params
from cmsn_jax.chains.bmn import sampling
from cmsn_jax.stages import network

# Widths of the paper's Table 1.
_BASE = (256, 128)
_BOUNDARY = 256
_SAMPLED = 512
_MAP = 128


class Logits(NamedTuple):
  """What the network says of a batch of windows, before the sigmoid.

  Attributes:
    boundaries: of start and end at the border before each snippet, [b, t, 2].
    maps: of the classified and of the regressed tIoU of the proposal of each
      start and duration, [b, t, d, 2].
  """

  boundaries: Array
  maps: Array


class BoundaryMatching(nn.Module):
  """BMN.

  Submodules: `base_1`, `base_2`, `boundary_1`, `boundary_2`, `sampled` (the
  convolution over the samples), `map_1` to `map_3`.

  Attributes:
    durations: of the proposals, in snippets, ascending.
    samples: points a proposal.
    context: share of the duration that is looked at on either side.
    shrink: all widths are divided by it; 1 is the paper's size.
    dtype: compute dtype of the convolutions.
  """

  durations: tuple[int, ...]
  samples: int = 32
  context: float = 0.25
  shrink: int = 1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, inputs: Float[Array, 'b t c'], mask: Bool[Array, 'b t']
  ) -> Logits:
    """Returns the logits; what lies beyond the valid snippets counts as 0.

    Args:
      inputs: features of windows.
      mask: valid snippets, which come first.
    """
    width = lambda number: max(1, number // self.shrink)
    short = lambda number, name: network.Conv1d(
      width(number), self.dtype, name=name
    )
    inside = mask[:, :, None]
    hidden = jnp.where(inside, inputs, 0.0)
    for i, number in enumerate(_BASE, start=1):
      hidden = nn.relu(short(number, f'base_{i}')(hidden))
      hidden = jnp.where(inside, hidden, 0.0)
    boundaries = nn.relu(short(_BOUNDARY, 'boundary_1')(hidden))
    boundaries = nn.Dense(2, dtype=jnp.float32, name='boundary_2')(boundaries)
    found = Sampled(
      width(_SAMPLED), self.durations, self.samples, self.context,
      name='sampled',
    )(hidden.astype(jnp.float32))  # fmt: skip
    found = nn.relu(found).astype(self.dtype)
    found = nn.relu(
      nn.Dense(width(_MAP), dtype=self.dtype, name='map_1')(found)
    )
    # A proposal that does not fit counts no more than one beyond the map.
    cells = valid_cells(mask, self.durations)[..., None]
    found = jnp.where(cells, found, 0.0)
    found = nn.relu(
      nn.Conv(width(_MAP), (3, 3), dtype=self.dtype, name='map_2')(found)
    )
    return Logits(
      boundaries,
      nn.Dense(2, dtype=jnp.float32, name='map_3')(found),
    )


class Sampled(nn.Module):
  """`sampling.sampled` with a bias; parameters `kernel` [n, c, k], `bias`."""

  width: int
  durations: tuple[int, ...]
  samples: int
  context: float

  @nn.compact
  def __call__(self, inputs: Float[Array, 'b t c']) -> Float[Array, 'b t d k']:
    kernel = self.param(
      'kernel',
      nn.initializers.variance_scaling(
        2.0, 'fan_in', 'truncated_normal', in_axis=(0, 1), out_axis=2
      ),
      (self.samples, inputs.shape[-1], self.width),
      jnp.float32,
    )
    bias = self.param('bias', nn.initializers.zeros, (self.width,), jnp.float32)
    found = sampling.sampled(inputs, kernel, self.durations, self.context)
    return found + bias[None, None, None, :]


def valid_cells(
  mask: Bool[Array, 'b t'], durations: tuple[int, ...]
) -> Bool[Array, 'b t d']:
  """Which proposals end where there still are snippets."""
  ends = np.arange(mask.shape[1])[:, None] + np.asarray(durations)[None, :]
  return ends[None] <= jnp.sum(mask, axis=1)[:, None, None]


@dataclasses.dataclass(frozen=True)
class Networks:
  """The network; parameters are passed to its functions.

  A parameter bundle is {'bmn': parameters}.
  """

  model: BoundaryMatching
  length: int
  # Of an export: its program takes windows of exactly so many snippets.
  facts: dict[str, int]

  def init(self, key: jax.Array, channels: int) -> dict[str, Any]:
    """Random parameters on so many features."""
    inputs = jnp.zeros((1, self.length, channels))
    mask = jnp.ones((1, self.length), bool)
    return first_params.drawn(self.model.init, key, inputs, mask)['params']

  def encode(
    self,
    params: dict[str, Any],
    inputs: Float[Array, 'b t c'],
    mask: Bool[Array, 'b t'],
  ) -> tuple[Float[Array, 'b t k'], Float[Array, 'b t d k']]:
    """Boundary probabilities [b, t, 2] and confidence maps [b, t, d, 2]."""
    found = self.model.apply({'params': params['bmn']}, inputs, mask)
    return tuple(map(jax.nn.sigmoid, found))

  def score(self, params: dict[str, Any], scores: Array) -> Array:
    """The maps hold the score of every proposal."""
    del params
    return scores

  def shapes(self, snippet_shape: tuple[int, ...]) -> dict[str, Any]:
    """The bundle as shapes; nothing is computed."""
    key = jax.random.key(0)
    return {'bmn': jax.eval_shape(lambda: self.init(key, *snippet_shape))}


def build(config: ml_collections.ConfigDict) -> Networks:
  """The network that a config describes.

  A config that is not `derive.derive`d has no durations yet: all that fit.
  """
  settings, length = config.bmn, config.windows.length
  durations = tuple(settings.durations) or tuple(
    range(1, min(settings.max_durations, length) + 1)
  )
  model = BoundaryMatching(
    durations=durations,
    samples=settings.samples,
    context=settings.context,
    shrink=settings.shrink,
    dtype=jnp.dtype(config.train.dtype).type,
  )
  return Networks(model, length, {'length': length})
