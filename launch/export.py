r"""Writes a trained model as programs that need jax and numpy only.

    python -m launch.export --workdir=runs/mine --output=export/

features [b, t, d] -> stage probabilities and hidden features, of any batch and
length; hidden features of one window and proposals in it -> scores; on CPU,
CUDA and TPU.  Read them with cmsn_jax/exported.py, which stands alone.
"""

import json
import os
import pathlib

from absl import flags

from launch import cli

_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of a trained run.')
_OUTPUT = flags.DEFINE_string('output', '', 'Folder for the programs.')


def main(argv):
  """Exports."""
  del argv
  cli.require(workdir=_WORKDIR.value, output=_OUTPUT.value)
  import numpy as np

  from cmsn_jax import corpus, exporting
  from cmsn_jax.training import run_folder

  workdir, folder = pathlib.Path(_WORKDIR.value), pathlib.Path(_OUTPUT.value)
  trained = corpus.load(workdir)
  programs = exporting.programs(trained)
  folder.mkdir(parents=True, exist_ok=True)
  description = {
    **trained.data,
    'feature_dim': trained.data['snippet_shape'][0],
    'window': trained.config.windows.length,
    'model': trained.identity,
    'config': run_folder.to_json(trained.config),
  }
  files = {f'{name}.jaxexport': bytes(data) for name, data in programs.items()}
  files['model.json'] = json.dumps(description, indent=2).encode()
  for name, data in files.items():
    (folder / f'{name}.tmp').write_bytes(data)
    os.replace(folder / f'{name}.tmp', folder / name)
  statistics = trained.statistics
  np.savez(
    folder / 'statistics.npz',
    **({} if statistics is None else vars(statistics)),
  )
  print(
    f'wrote {folder}: '
    + ', '.join(f'{name} ({len(d) / 1e3:.0f} kB)' for name, d in files.items())
  )
  return 0


if __name__ == '__main__':
  cli.run(main)
