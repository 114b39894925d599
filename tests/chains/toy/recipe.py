"""A run of the toy chain in seconds, on generated data."""

import ml_collections

from cmsn_jax.settings import default


def get_config(arg=None):
  """A recipe: the default settings, this chain, and its own keys."""
  config = default.get_config()
  with config.unlocked():
    config.toy = ml_collections.ConfigDict({'above': 0.5, 'epochs': 4})
  config.chain = 'tests.chains.toy.chain'
  config.windows.length = 32
  config.data.annotations = 'generated:4x40'
  config.train.learning_rate = 0.05
  return config
