"""What the configs of THUMOS14 with C3D share (Sec. 5.1)."""

import ml_collections

from cmsn_jax.settings import default


def c3d(frozen_layers: int) -> ml_collections.ConfigDict:
  """Returns the config of THUMOS14 from raw video.

  Args:
    frozen_layers: convolutions of C3D that training leaves as they are.
  """
  config = default.get_config()
  config.data.input = 'video'
  # Clips without a clear boundary are no ground truth.
  config.data.exclude_labels = ('Ambiguous',)
  config.extractor.frozen_layers = frozen_layers
  config.train.stages_epochs = 3
  config.train.evaluator_epochs = 4
  return config
