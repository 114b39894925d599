"""The demo's settings: CMSN with a narrow C3D, end to end in minutes."""

import ml_collections

from cmsn_jax.settings import default


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config; 'features' is the same on generated features.

  Raises:
    ValueError: on another argument.
  """
  if arg not in (None, '', 'features'):
    raise ValueError(f"the argument must be 'features' or none, got {arg!r}")
  config = default.get_config()
  config.train.batch_per_device = 8
  config.train.learning_rate = 2e-3
  config.train.evaluator_epochs = 6
  config.train.eval_every_epochs = 3
  config.stages.lstm_width = 64
  config.stages.width = 128
  config.evaluator.hidden = 256
  if arg == 'features':
    config.windows.length = 128
    config.windows.jitter = 1.0
    config.train.stages_epochs = 12
    return config
  config.data.input = 'video'
  config.video.fps = 10.0
  config.video.size = (36, 48)
  config.video.crop = (32, 40)
  config.extractor.widths = (8, 24, 48, 64, 64)
  config.extractor.frozen_layers = 0
  config.extractor.mean = (110.0, 110.0, 110.0)
  config.extractor.scale = (0.02, 0.02, 0.02)
  config.windows.length = 16
  config.stages.width = 64
  # From random weights and in 200 steps: gentler than the paper's 30.
  config.stages.scale = 10.0
  config.train.learning_rate = 8e-4
  config.train.clip_norm = 1.0
  config.train.stages_epochs = 5
  config.train.evaluator_epochs = 8
  config.train.batch_per_device = 4
  config.train.eval_every_epochs = 5
  return config
