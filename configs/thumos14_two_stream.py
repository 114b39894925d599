r"""THUMOS14 on two-stream features: the paper's Table 2 (Sec. 5.1).

400 numbers (two last fully connected layers of 200) every 5th frame at 25
frames a second, made by launch.extract_features with
configs/features_two_stream.py.

    python -m launch.train --config=configs/thumos14_two_stream.py \
      --workdir=runs/thumos14 --config.data.annotations=thumos14.json \
      --config.data.features=thumos14_features

Paper: AR@50/100/200 .4377/.5055/.5648 with Soft-NMS, .3904/.4713/.5353
without the evaluator. Needs an accelerator for its full size.
"""

from cmsn_jax.settings import default, smoke


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  config = default.get_config()
  config.data.feature_fps = 5.0
  # Clips without a clear boundary are no ground truth (launch.evaluate has
  # the same flag).
  config.data.exclude_labels = ('Ambiguous',)
  config.train.stages_epochs = 12
  config.train.evaluator_epochs = 10
  return smoke.apply(config, arg)
