r"""Writes a trained model as programs that run without this package.

    python -m launch.export --workdir=runs/mine --output=export/
    python -m launch.export --workdir=runs/mine --output=export/ --format=onnx

stages and evaluator, of any batch and length: .jaxexport, for CPU, CUDA and TPU,
or .onnx; model.json; parameters.npz, with which launch.train --init_from can
begin; and cmsn_loader/, a package that turns features into the proposals that
launch.propose makes, with numpy and jax, or numpy and ONNX Runtime, only:

    import sys
    sys.path.insert(0, 'export')
    import cmsn_loader
    segments, scores = cmsn_loader.load('export').propose(features)

An extractor of features, with its weights, is written by its config:

    python -m launch.export --config=configs/features_i3d.py --format=onnx \
      --output=extractor/
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from . import cli

_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of a trained run.')
_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'In place of a run: the extractor of a configs/features_*.py.',
  lock_config=True,
)
_OUTPUT = flags.DEFINE_string('output', '', 'Folder for the programs.')
_FORMAT = flags.DEFINE_enum(
  'format', 'jax', ['jax', 'onnx'], 'What the programs are written as.'
)


def main(argv):
  """Exports."""
  del argv
  if bool(_WORKDIR.value) == (_CONFIG.value is not None):
    raise ValueError('--workdir or --config is needed, one of them; see --help')
  cli.require(output=_OUTPUT.value)
  cli.check_outputs(folders={'output': _OUTPUT.value})
  from cmsn_jax.features import video_features
  from cmsn_jax.proposing import exporting
  from cmsn_jax.runs import trained as trained_lib

  folder = pathlib.Path(_OUTPUT.value)
  if _CONFIG.value is not None:
    made = video_features.from_config(_CONFIG.value.features)
    sizes, more = exporting.write_extractor(made, folder, _FORMAT.value), ''
  else:
    trained = trained_lib.load(pathlib.Path(_WORKDIR.value))
    sizes = exporting.write(trained, folder, _FORMAT.value)
    more = f', {exporting.LOADER}/'
  print(
    f'wrote {_OUTPUT.value}: '
    + ', '.join(f'{name} ({size / 1e3:.0f} kB)' for name, size in sizes.items())
    + more
  )
  return 0


if __name__ == '__main__':
  cli.run(main)
