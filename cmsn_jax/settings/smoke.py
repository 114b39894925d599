"""What `:smoke` does to any config: seconds instead of minutes."""

import ml_collections

from cmsn_jax.settings import bmn


def apply(
  config: ml_collections.ConfigDict, arg: str | None
) -> ml_collections.ConfigDict:
  """Shrinks a config where its argument is 'smoke'.

  Where no data are given, generated sequences take their place.

  Raises:
    ValueError: on any other argument.
  """
  if not arg:
    return config
  if arg != 'smoke':
    raise ValueError(f"the config argument must be 'smoke', got {arg!r}")
  config.data.exclude_labels = ()
  if config.data.input == 'video':
    config.data.annotations = 'generated:5x40'
    config.video.fps = 10.0
    config.video.size = (36, 48)
    config.video.crop = (32, 32)
    config.extractor.widths = (4, 8, 8, 8, 8)
    config.windows.length = 8
  else:
    config.data.annotations = 'generated:6x60'
    config.data.features = ''
    config.data.feature_fps = 0.0
    config.data.pool = 1
    config.windows.length = 64
  config.train.warmup_steps = 0
  config.train.batch_per_device = 4
  config.train.learning_rate = 3e-3
  _OF_CHAIN.get(config.chain, lambda config: None)(config)
  return config


def _stages(config):
  config.stages.width = 32
  config.stages.lstm_width = 16
  config.stages.lstm_layers = 1
  config.train.stages_epochs = 2


def _paper(config):
  _stages(config)
  config.evaluator.hidden = 32
  config.evaluator.max_rois = 48
  config.train.evaluator_epochs = 1


def _template(config):
  config.template.members = 2
  config.template.steps = 20
  config.template.student_steps = min(5, config.template.student_steps)
  config.template.student_windows = 4
  config.template.width = 16
  config.template.dilations = (1, 2)
  config.template.pooled_width = 8
  config.template.hidden = 16
  config.template.proposals = 32


_OF_CHAIN = {
  'paper': _paper,
  'template': _template,
  'bmn': bmn.shrink,
  'tag': _stages,
}
