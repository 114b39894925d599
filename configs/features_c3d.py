r"""C3D's conv5b, averaged over place: 512 numbers every 8th frame.

    python -m launch.convert_weights --source=c3d.pth --output=weights/c3d
    python -m launch.extract_features --config=configs/features_c3d.py \
      --config.features.weights=weights/c3d --input=videos/ --output=features/

Training from the videos themselves, as the paper does, is
configs/thumos14_c3d.py.
"""

from cmsn_jax.settings import features as features_default


def get_config():
  """Returns the C3D extractor's config."""
  config = features_default.get_config()
  features = config.features
  with features.unlocked():
    # Of random weights; a weight folder brings its own.
    features.widths = (64, 128, 256, 512, 512)
    features.mean = (101.4, 97.7, 90.2)
    features.scale = (1.0, 1.0, 1.0)
    features.channel_order = 'rgb'
    # 'mean' or 'max' over the remaining 7 x 7 places.
    features.pool = 'mean'
    # Form of the 3D convolutions: 'auto' chooses by backend.
    features.formulation = 'auto'
  features.extractor = 'cmsn_jax.features.c3d_extractor'
  # Folder made by launch.convert_weights or launch.pretrain, or 'random'.
  features.weights = 'random'
  features.resize = (128, 171)
  features.crop = 112
  features.chunk_snippets = 16
  return config
