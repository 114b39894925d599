r"""Two-stream features: 200 + 200 class scores every 5th frame (Sec. 5.1).

    pip install 'cmsn_jax[flow]'
    python -m launch.extract_features --config=configs/features_two_stream.py \
      --config.features.spatial.weights=rgb.pth \
      --config.features.temporal.weights=flow.pth \
      --input=videos/ --output=features/

Weights: PyTorch TSN checkpoints (docs/extractors.md says which layouts, and
what the paper's reference used). As set here both streams are random, which
shows speed and shapes, no more. Optical flow takes most of the time with TV-L1
(under one frame a second and core at this size); --config.features.flow.method=
dis does about a hundred.
"""

import ml_collections

from cmsn_jax.settings import features as features_default
from cmsn_jax.settings import streams


def get_config() -> ml_collections.ConfigDict:
  """Returns the two-stream extractor's config."""
  config = features_default.get_config()
  features = config.features
  with features.unlocked():
    # ('spatial', 'temporal'), or one of them alone.
    features.streams = ('spatial', 'temporal')
    # 'centre', 'ten' (corners, centre, mirrored; mean of the scores), or 'full'
    # (no crop; global pooling takes any size).
    features.crops = 'centre'
    # The frame of a snippet that the spatial stream sees: 'centre' | 'first'.
    features.rgb_frame = 'centre'
    features.spatial = streams.spatial()
    features.temporal = streams.temporal()
  features.extractor = 'cmsn_jax.features.two_stream'
  # Each stream names its own.
  features.weights = ''
  features.stride = 5
  features.resize = (256, 340)
  return config
