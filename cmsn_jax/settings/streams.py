"""The two streams of the two-stream network, as the reference had them."""

import ml_collections


def spatial() -> ml_collections.ConfigDict:
  """Returns the settings of the stream that sees RGB frames."""
  return _stream(
    backbone='resnet',
    # The reference used 200.
    depth=200,
    dropout=0.8,
    # Of torchvision's and MMAction2's weights. Caffe's: (104, 117, 123),
    # (1,), 'bgr'.
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
  )


def temporal() -> ml_collections.ConfigDict:
  """Returns the settings of the stream that sees optical flow."""
  return _stream(
    backbone='bn_inception', depth=50, dropout=0.7, mean=(128.0,), std=(1.0,)
  )


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
