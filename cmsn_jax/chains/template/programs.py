"""The members as functions of arrays, for export and launch.inspect."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from cmsn_jax.chains import protocol
from cmsn_jax.chains.template import networks as networks_lib


def programs(
  config: ml_collections.ConfigDict,
  networks: networks_lib.Networks,
  params: dict[str, Any],
  inputs: tuple[Any, Any],
  sizes: tuple[Any, Any],
) -> protocol.Programs:
  """See `protocol.Chain.programs`; all members are inside.

  'stages': features [b, t, d], mask [b, t] -> [m, b, t, c], the last six of
  them stage probabilities; 'evaluator': [m, t, c], segments [n, 2] ->
  P(tIoU >= threshold) [n, 10], border offsets [n, 2]; 'labels', where proposals
  have them: [m, t, c], segments [n, 2] -> P(label) [n, a].
  """
  del config
  snippets, mask = inputs
  t, n = sizes
  pooled = jax.eval_shape(
    networks.encode,
    params,
    jax.ShapeDtypeStruct((1, 64, snippets.shape[2]), snippets.dtype),
    jax.ShapeDtypeStruct((1, 64), mask.dtype),
  ).shape
  proposals = (
    jax.ShapeDtypeStruct((pooled[0], t, pooled[3]), jnp.float32),
    jax.ShapeDtypeStruct((n, 2), jnp.float32),
  )
  labels = {}
  if networks.facts['labels']:
    labels['labels'] = protocol.Program(
      networks.label,
      proposals,
      f'proposal -> labels, all {pooled[0]} members',
    )
  return protocol.Programs(
    {
      'stages': protocol.Program(
        networks.encode,
        inputs,
        f'window {snippets.shape} -> stages {(*mask.shape, 6)}, all '
        f'{pooled[0]} members',
      ),
      'evaluator': protocol.Program(
        networks.score,
        proposals,
        f'proposal -> scores and border offsets, all {pooled[0]} members',
      ),
      **labels,
    },
    networks.facts,
  )
