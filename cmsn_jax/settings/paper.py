"""Settings of the chain 'paper' for features of any rate and domain.

The paper's chain with what configs/gestures.py and configs/rat_social.py have
in common, rate and all else taken from the data.
"""

import ml_collections


def stages(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Of the stage network and its phase."""
  config.data.pool = 0
  config.data.target_snippets = 20.0
  config.data.pool_deviation = True
  config.data.normal_scores = True
  config.data.holdout = 0.0
  config.windows.length = 128
  config.windows.jitter = 1.0
  config.stages.width = 256
  config.stages.lstm_width = 128
  config.train.batch_per_device = 8
  config.train.learning_rate = 1e-3
  config.train.stages_epochs = 16
  config.train.eval_every_epochs = 4
  config.calibration.fit = True
  return config


def apply(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Turns a config into one of the chain."""
  config.chain = 'paper'
  stages(config)
  config.evaluator.hidden = 512
  config.proposals.max_candidates = 100
  config.train.evaluator_epochs = 8
  return config
