"""The settings of `cmsn_jax.settings.demo`, for --config=configs/demo.py."""

from cmsn_jax.settings import demo, smoke


def get_config(arg=None):
  """Returns the config; 'features' is the same on features, 'smoke' shrinks it."""
  if arg == 'features':
    return demo.get_config(arg)
  return smoke.apply(demo.get_config(), arg)
