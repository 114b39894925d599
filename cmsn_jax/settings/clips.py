"""Where the clips of a pre-training lie: the `data` of its configs."""

import ml_collections


def data() -> ml_collections.ConfigDict:
  """Every key of `config.data` of launch.pretrain."""
  data = ml_collections.ConfigDict()
  # A folder with one folder of videos a class, or with train/ and validation/.
  data.folder = ''
  # UCF-101's lists; '' takes the folders, or holds a share out.
  data.train_list = ''
  data.validation_list = ''
  data.holdout = 0.2
  # A TFDS data set instead of a folder, and where TFDS keeps it.
  data.tfds = ''
  data.tfds_dir = ''
  # Threads that decode and, for a temporal stream, compute flow.
  data.workers = 4
  return data
