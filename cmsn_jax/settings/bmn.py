"""Settings of the chain 'bmn' for features of any rate and domain."""

import ml_collections


def section() -> ml_collections.ConfigDict:
  """The chain's own keys: the paper's sizes."""
  bmn = ml_collections.ConfigDict()
  # Points sampled in a proposal, and share of its duration that is looked at on
  # either side of it (Sec. 3.3).
  bmn.samples = 32
  bmn.context = 0.25
  # All widths are divided by it; 1 is the paper's size.
  bmn.shrink = 1
  # Durations of the confidence map in snippets; () takes them from the training
  # instances, together with `windows.length`: every one, or where they are more
  # than so many every short one and long ones in growing steps.
  bmn.durations = ()
  bmn.max_durations = 32
  # Windows are twice the longest instances, so many snippets at most; 0:
  # `windows.length` as it is.
  bmn.max_window = 128
  # Steps of the phase, and times that the held-out videos are evaluated.
  bmn.steps = 200
  bmn.evaluations = 1
  # Pairs of borders that reach the NMS, a snippet of video; 0: all.
  bmn.per_snippet = 4.0
  return bmn


def apply(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Turns a config into one of the chain."""
  config.chain = 'bmn'
  # Prepared as for the template chain, so that what differs is the chain.
  config.data.pool = 0
  config.data.target_snippets = 20.0
  config.data.pool_deviation = True
  config.data.normal_scores = True
  config.windows.jitter = 1.0
  config.train.batch_per_device = 8
  config.train.optimizer = 'adamw'
  config.train.learning_rate = 1e-3
  config.train.weight_decay = 1e-4
  config.train.schedule = 'cosine'
  config.train.warmup_steps = 20
  config.train.clip_norm = 5.0
  config.data.holdout = 0.0
  config.calibration.fit = True
  return config


def shrink(config: ml_collections.ConfigDict) -> None:
  """What ':smoke' does to it."""
  config.bmn.shrink = 16
  config.bmn.samples = 8
  config.bmn.max_durations = 12
  config.bmn.steps = 20
