r"""Social behaviour of two rats with the template chain.

    python -m launch.train --config=configs/rat_social_plus.py \
      --workdir=runs/rat_plus \
      --config.data.annotations=rat_social/annotations.json \
      --config.data.features=rat_social/features
"""

from cmsn_jax.settings import default, plus, smoke


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  config = plus.apply(default.get_config())
  config.data.feature_fps = 5.0
  return smoke.apply(config, arg)
