"""The settings of `cmsn_jax.settings.default`, for --config=configs/default.py."""

from cmsn_jax.settings import default, smoke


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  return smoke.apply(default.get_config(), arg)
