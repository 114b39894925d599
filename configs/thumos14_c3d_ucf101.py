r"""THUMOS14 with C3D pre-trained on UCF-101 and frozen: Table 3, first row.

The weights come from launch.pretrain with configs/pretrain_ucf101.py.

    python -m launch.train --config=configs/thumos14_c3d_ucf101.py \
      --workdir=runs/thumos14 --config.data.annotations=thumos14.json \
      --config.data.videos=THUMOS14/videos \
      --config.extractor.weights=weights/c3d_ucf101

Paper: AR@50/100/200 .3987/.4608/.5207 with Soft-NMS.
"""

from cmsn_jax.settings import smoke, thumos14


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  # All convolutions, conv1a to conv5b, stay as they are (Sec. 5.2).
  return smoke.apply(thumos14.c3d(frozen_layers=8), arg)
