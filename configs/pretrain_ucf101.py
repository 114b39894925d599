r"""C3D learns UCF-101's 101 actions: the weights of Table 3's first row.

From a folder of UCF-101 (one folder a class) with its official lists:

    python -m launch.pretrain --config=configs/pretrain_ucf101.py \
      --workdir=runs/ucf101 --output=weights/c3d_ucf101 \
      --config.data.folder=UCF-101 \
      --config.data.train_list=ucfTrainTestlist/trainlist01.txt \
      --config.data.validation_list=ucfTrainTestlist/testlist01.txt

or through TFDS: --config.data.tfds=ucf101/ucf101_1

The argument smoke (configs/pretrain_ucf101.py:smoke) shrinks it to seconds.
C3D trained from scratch on UCF-101 reaches about 45 % of clips right in the
literature; expect about a day on one recent GPU.
"""

import ml_collections

from cmsn_jax.settings import clips


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  if arg not in (None, '', 'smoke'):
    raise ValueError(f"the config's argument must be 'smoke', got {arg!r}")
  config = ml_collections.ConfigDict()
  config.data = clips.data()
  config.video = _video()
  config.clips = _clips()
  config.extractor = _extractor()
  config.head = _head()
  config.train = _train()
  config.lock()
  if arg == 'smoke':
    _shrink(config)
  return config


def _video():
  video = ml_collections.ConfigDict()
  video.fps = 25.0
  # (height, width), then a crop: random in training, else the centre.
  video.size = (128, 171)
  video.crop = (112, 112)
  video.random_flip = True
  return video


def _clips():
  clips = ml_collections.ConfigDict()
  # Frames a clip (C3D's input; a multiple of 8).
  clips.frames = 16
  # Clips a video in one training example, whose scores are averaged.
  clips.segments = 1
  # Examples of each video in an epoch.
  clips.per_video = 5
  # Clips a video whose scores are averaged in validation.
  clips.validation = 10
  return clips


def _extractor():
  extractor = ml_collections.ConfigDict()
  extractor.name = 'c3d'
  extractor.widths = (64, 128, 256, 512, 512)
  # Weight folder to start from; '' starts from random weights.
  extractor.weights = ''
  extractor.frozen_layers = 0
  extractor.remat = False
  # Subtracted from values 0 to 255, by channel; then multiplied by scale. A
  # weight set that training starts from brings its own.
  extractor.mean = (101.4, 97.7, 90.2)
  # Kept from C3D's publications as 1; with it, training from random weights
  # needs small learning rates.
  extractor.scale = (0.0173, 0.0173, 0.0173)
  extractor.channel_order = 'rgb'
  return extractor


def _head():
  head = ml_collections.ConfigDict()
  # 'fc': two fully connected layers of `hidden`, as C3D has; 'average':
  # features are averaged.
  head.name = 'fc'
  head.hidden = 4096
  head.dropout = 0.5
  return head


def _train():
  train = ml_collections.ConfigDict()
  train.seed = 0
  # Tran et al. 2015, Sec. 3.1: 30 clips, .003, a tenth every 4 of 16 epochs.
  train.batch_per_device = 30
  train.epochs = 16
  train.learning_rate = 3e-3
  train.decay_every_epochs = 4
  train.decay_factor = 0.1
  train.optimizer = 'sgd'
  train.momentum = 0.9
  train.weight_decay = 5e-4
  train.clip_norm = 0.0
  # 'float32' or 'bfloat16' computation.
  train.dtype = 'float32'
  # Resume checkpoints: every epoch, after so many seconds at most (0: not by
  # time), and every so many steps (0: not by steps).
  train.checkpoint_every_sec = 60.0
  train.checkpoint_every_steps = 0
  train.log_every_steps = 10
  return train


def _shrink(config):
  config.video.size, config.video.crop = (36, 44), (32, 32)
  config.clips.frames, config.clips.per_video = 8, 2
  config.clips.validation = 2
  config.extractor.widths = (8, 8, 16, 16, 16)
  config.head.name = 'average'
  config.head.dropout = 0.0
  config.train.optimizer = 'adam'
  config.train.learning_rate = 3e-3
  config.train.batch_per_device = 4
  config.train.epochs = 6
