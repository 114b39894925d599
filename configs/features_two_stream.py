r"""Two-stream features: 200 + 200 class scores every 5th frame (Sec. 5.1).

    pip install -r requirements-flow.txt
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
    features.spatial = _stream(
      backbone='resnet',
      # The reference used 200.
      depth=200,
      dropout=0.8,
      # Of torchvision's and MMAction2's weights. Caffe's: (104, 117, 123),
      # (1,), 'bgr'.
      mean=(123.675, 116.28, 103.53),
      std=(58.395, 57.12, 57.375),
    )
    features.temporal = _stream(
      backbone='bn_inception', depth=50, dropout=0.7, mean=(128.0,), std=(1.0,)
    )
  features.extractor = 'cmsn_jax.features.two_stream'
  # Each stream names its own.
  features.weights = ''
  features.stride = 5
  features.resize = (256, 340)
  return config


def _stream(*, backbone, depth, dropout, mean, std):
  stream = ml_collections.ConfigDict()
  # 'resnet' (of 50, 101, 152 or 200 layers) or 'bn_inception'.
  stream.backbone = backbone
  stream.depth = depth
  # A PyTorch checkpoint, or 'random'.
  stream.weights = 'random'
  # Outputs of the last layer: ActivityNet's classes.
  stream.num_classes = 200
  # Subtracted from bytes, and divided into what is left.
  stream.mean = mean
  stream.std = std
  stream.channel_order = 'rgb'
  # ResNet variants: normalise before convolutions; halve in the first 1x1.
  stream.preactivation = False
  stream.stride_in_1x1 = False
  # Multiplier of all channels; weights need 1.
  stream.width = 1.0
  # Only pretraining reads these.
  stream.dropout = dropout
  stream.partial_bn = True
  return stream
