r"""A template for your own data: give the two paths, and the rate.

    python -m launch.train --config=configs/custom.py --workdir=runs/mine \
      --config.data.annotations=annotations.json \
      --config.data.features=features/ --config.data.feature_fps=5

Suits 5 to 30 snippets a second, 20 to 300 features, sequences from 20 s to
hours. The rate is brought down so that a median instance spans about 20
snippets. Videos of subset "validation" are proposed for at the end of training,
to report AR; nothing is chosen on them. Without such videos nothing is held
out: all train, and no AR is reported. --config.data.holdout=0.2 holds a fifth
of the training videos out.

`configs/custom.py:bmn` (or `paper`, `tag`) is a run of another chain on the same
data; launch.compare trains several and prints one table.
"""

from cmsn_jax.settings import recipes


def get_config(arg=None):
  """Returns the config; argument: a chain, 'smoke' (seconds), or both."""
  return recipes.custom(arg)
