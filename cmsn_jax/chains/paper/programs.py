"""The paper's networks as functions of arrays, for export and launch.inspect."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from cmsn_jax.chains import protocol
from cmsn_jax.chains.paper import networks as networks_lib

# Stitched videos have candidates of any length; bins of up to 2^15 - 1 snippets
# are hours at any rate.
_LEVELS = 15


def programs(
  config: ml_collections.ConfigDict,
  networks: networks_lib.Networks,
  params: dict[str, Any],
  inputs: tuple[Any, Any],
  sizes: tuple[Any, Any],
) -> protocol.Programs:
  """See `protocol.Chain.programs`.

  'stages': inputs [b, t, d] or frames, mask [b, t] -> probabilities [b, t, 6],
  hidden [b, t, c], and probabilities of the labels [b, t, a] where there are
  any; 'evaluator', if there is one: hidden [t, c], starts [n],
  ends [n] -> scores [n].
  """
  snippets, mask = inputs
  found = {
    'stages': protocol.Program(
      lambda params, x, mask: tuple(
        found for found in networks.encode(params, x, mask) if found is not None
      ),
      inputs,
      f'window {snippets.shape} -> stages {(*mask.shape, 6)}',
    )
  }
  levels = _levels(config)
  if 'evaluator' in params:
    t, n = sizes
    found['evaluator'] = protocol.Program(
      lambda params, *arrays: networks.score(params, *arrays, levels),
      (
        jax.ShapeDtypeStruct((t, networks.width), jnp.float32),
        jax.ShapeDtypeStruct((n,), jnp.int32),
        jax.ShapeDtypeStruct((n,), jnp.int32),
      ),
      'proposal -> score',
    )
  longest = config.evaluator.roi_bins * (2**levels - 2)
  return protocol.Programs(found, {'max_snippets': longest})


def _levels(config):
  """Of the table of RoI pooling: candidates lie in a window, or anywhere."""
  if config.proposals.stitch == 'average':
    return _LEVELS
  longest = -(-config.windows.length // config.evaluator.roi_bins) + 1
  return min(longest, config.windows.length).bit_length()
