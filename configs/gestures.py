r"""Gestures from arm-worn inertial sensors: 15 channels at 32 Hz, 69 min.

    python -m launch.train --config=configs/gestures.py --workdir=runs/arm \
      --config.data.annotations=gestures/annotations.json \
      --config.data.features=gestures/features
"""

from cmsn_jax.settings import default, smoke


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  config = default.get_config()
  config.data.feature_fps = 32.0
  # 144 snippets a median gesture are more than the LSTM needs: 6 to one.
  config.data.pool = 6
  config.windows.length = 128
  config.windows.jitter = 1.0
  config.stages.width = 256
  config.stages.lstm_width = 128
  config.evaluator.hidden = 512
  # Chosen inside subject 1: with all, copies with like borders crowd out others.
  config.proposals.max_candidates = 100
  config.train.batch_per_device = 8
  config.train.learning_rate = 1e-3
  config.train.stages_epochs = 40
  config.train.evaluator_epochs = 20
  config.train.eval_every_epochs = 2
  return smoke.apply(config, arg)
