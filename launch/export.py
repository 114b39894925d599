r"""Writes a trained model as programs that need jax and numpy only.

    python -m launch.export --workdir=runs/mine --output=export/

stages.jaxexport and evaluator.jaxexport, of any batch and length, for CPU, CUDA
and TPU; model.json; and cmsn_loader/, a package that turns features into the
proposals that launch.propose makes, with jax and numpy only:

    import sys
    sys.path.insert(0, 'export')
    import cmsn_loader
    segments, scores = cmsn_loader.load('export').propose(features)
"""

import pathlib

from absl import flags

from . import cli

_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of a trained run.')
_OUTPUT = flags.DEFINE_string('output', '', 'Folder for the programs.')


def main(argv):
  """Exports."""
  del argv
  cli.require(workdir=_WORKDIR.value, output=_OUTPUT.value)
  cli.check_outputs(folders={'output': _OUTPUT.value})
  from cmsn_jax.proposing import exporting
  from cmsn_jax.runs import trained as trained_lib

  trained = trained_lib.load(pathlib.Path(_WORKDIR.value))
  sizes = exporting.write(trained, pathlib.Path(_OUTPUT.value))
  print(
    f'wrote {_OUTPUT.value}: '
    + ', '.join(f'{name} ({size / 1e3:.0f} kB)' for name, size in sizes.items())
    + f', {exporting.LOADER}/'
  )
  return 0


if __name__ == '__main__':
  cli.run(main)
