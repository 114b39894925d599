r"""Gestures from arm-worn sensors with the template chain.

    python -m launch.train --config=configs/gestures_plus.py \
      --workdir=runs/arm_plus \
      --config.data.annotations=gestures/annotations.json \
      --config.data.features=gestures/features
"""

from cmsn_jax.settings import default, plus, smoke


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  config = plus.apply(default.get_config())
  config.data.feature_fps = 32.0
  return smoke.apply(config, arg)
