r"""A stream of the two-stream network learns to classify clips, as TSN does.

    python -m launch.pretrain --config=configs/pretrain_stream.py:spatial \
      --workdir=runs/rgb --output=weights/rgb --config.data.folder=clips/ \
      --config.extractor.weights=resnet50-imagenet.pth

    python -m launch.pretrain --config=configs/pretrain_stream.py:temporal \
      --workdir=runs/flow --output=weights/flow --config.data.folder=clips/ \
      --config.extractor.weights=bn_inception-imagenet.pth

The folder holds one folder of videos a class. The output goes to
--config.features.spatial.weights (or temporal) of launch.extract_features, with
--config.features.spatial.num_classes set to the number of classes.
ImageNet weights of RGB start the temporal stream too: the first convolution is
averaged over colours (TSN's cross-modality initialisation).
A second argument shrinks it to seconds: configs/pretrain_stream.py:spatial,smoke
"""

import ml_collections

from cmsn_jax.settings import clips, features, streams


def get_config(arg=None) -> ml_collections.ConfigDict:
  """Returns the config of stream 'spatial' or 'temporal'."""
  name, *rest = (arg or 'spatial').split(',')
  if name not in ('spatial', 'temporal') or rest not in ([], ['smoke']):
    raise ValueError(
      "the config's argument must be 'spatial' or 'temporal', and ',smoke' "
      f'for a trial, got {arg!r}'
    )
  config = ml_collections.ConfigDict()
  config.data = clips.data()
  config.video = _video()
  config.clips = _clips()
  config.flow = features.get_config().features.flow
  # TV-L1 is too slow to compute anew in every epoch.
  config.flow.method = 'dis'
  config.extractor = _extractor(name)
  config.train = _train(name)
  config.lock()
  if rest:
    _shrink(config)
  return config


def _extractor(name):
  extractor = streams.spatial() if name == 'spatial' else streams.temporal()
  extractor.name = name
  # Set from the clips.
  extractor.num_classes = 0
  if name == 'spatial':
    extractor.depth = 50
  return extractor


def _video():
  video = ml_collections.ConfigDict()
  video.fps = 25.0
  # (height, width), then crops of random scale; the centre in validation.
  video.size = (256, 340)
  video.crop = (224, 224)
  return video


def _clips():
  clips = ml_collections.ConfigDict()
  # Segments of a clip (TSN, Sec. 3.2), in training and in validation.
  clips.segments = 3
  clips.validation = 25
  return clips


def _train(name):
  train = ml_collections.ConfigDict()
  train.seed = 0
  train.batch_per_device = 32
  # TSN's code: RGB 80 epochs, a tenth after 30 and 60; flow 340, after 190 and
  # 300; both from .001.
  train.epochs = 80 if name == 'spatial' else 340
  train.learning_rate = 1e-3
  train.decay_at_epochs = (30, 60) if name == 'spatial' else (190, 300)
  train.decay_factor = 0.1
  train.optimizer = 'sgd'
  train.momentum = 0.9
  train.weight_decay = 5e-4
  train.clip_norm = 40.0 if name == 'spatial' else 20.0
  # 'float32' or 'bfloat16' computation.
  train.dtype = 'float32'
  # Resume checkpoints: every epoch, after so many seconds at most (0: not by
  # time), and every so many steps (0: not by steps).
  train.checkpoint_every_sec = 60.0
  train.checkpoint_every_steps = 0
  train.log_every_steps = 10
  return train


def _shrink(config):
  config.video.size, config.video.crop = (40, 48), (32, 32)
  config.clips.segments, config.clips.validation = 2, 2
  config.extractor.width = 0.125
  config.extractor.dropout = 0.0
  config.train.batch_per_device = 4
  config.train.optimizer = 'adam'
  config.train.learning_rate = 3e-3
  config.train.decay_at_epochs = ()
  config.train.epochs = 4
