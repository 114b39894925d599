"""CMSN: temporal action proposals from video or features, in JAX.

video -> frames -> features -> stages -> candidates -> scores -> suppression
      -> proposals -> AR@AN

    model = cmsn_jax.load('runs/mine')
    segments, scores = model.propose('video.mp4')

`load`, `train` and `evaluate` are fetched from `cmsn_jax.api` when they are
first asked for: importing the package, or one of its modules, stays cheap.
"""

import importlib

__version__ = '0.1.0'

_NAMES = ('Model', 'evaluate', 'load', 'train')

# What editors and type checkers see.
TYPE_CHECKING = False
if TYPE_CHECKING:
  from cmsn_jax.api import Model, evaluate, load, train  # noqa: F401


def __getattr__(name):
  if name not in _NAMES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module('cmsn_jax.api'), name)


def __dir__():
  return sorted({*globals(), *_NAMES})
