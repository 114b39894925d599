r"""THUMOS14 from raw video with C3D: the paper's Table 1 (Sec. 5.1).

    python -m launch.train --config=configs/thumos14_c3d.py \
      --workdir=runs/thumos14 --config.data.annotations=thumos14.json \
      --config.data.videos=THUMOS14/videos \
      --config.extractor.weights=weights/c3d

One window of 768 frames a device and step; needs an accelerator of some 20 GB
(less with --config.extractor.remat=True). Paper, pre-trained on ActivityNet:
AR@50/100/200 .4040/.4671/.5246 with Soft-NMS, .3852/.4241/.4935 without the
evaluator.
"""

from cmsn_jax.settings import smoke, thumos14


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  return smoke.apply(thumos14.c3d(frozen_layers=2), arg)
