r"""THUMOS14 with the template chain, on features of any extractor.

    python -m launch.train --config=configs/thumos14_plus.py \
      --workdir=runs/thumos14_plus --config.data.annotations=thumos14.json \
      --config.data.features=thumos14_features
"""

from cmsn_jax.settings import default, plus, smoke


def get_config(arg=None):
  """Returns the config; argument 'smoke' shrinks it to seconds."""
  config = plus.apply(default.get_config())
  # Already few snippets a second: nothing is averaged.
  config.data.pool = 1
  config.data.exclude_labels = ('Ambiguous',)
  return smoke.apply(config, arg)
