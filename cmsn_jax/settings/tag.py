"""Settings of the chain 'tag' for features of any rate and domain."""

import ml_collections

from cmsn_jax.settings import paper


def apply(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Turns a config into one of the chain: the paper's stages, grouped."""
  config.chain = 'tag'
  paper.stages(config)
  # As Xiong et al. and SSN have it.
  config.nms.method = 'greedy'
  config.nms.greedy_tiou = 0.95
  return config
