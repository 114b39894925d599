r"""Trains by grouped k-fold, proposes out of fold, then trains on everything.

    python -m launch.cross_validate --config=configs/custom.py \
      --workdir=runs/folds --folds=5 --group='^(mouse\d+)_' \
      --config.data.annotations=annotations.json \
      --config.data.features=features/

Each fold is a run of its own below --workdir: the same command goes on where it
was. runs/folds/proposals.json has all recordings, each from a run that did not
see its group; runs/folds/final is the run to use.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from . import cli, distributed, ending, video_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The run; see configs/.', lock_config=True
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of all runs.')
_FOLDS = flags.DEFINE_integer('folds', 5, 'How many.')
_GROUP = flags.DEFINE_string(
  'group', '',
  'Regular expression searched in the names of the recordings: what its '
  'brackets match is the group, which is never in two folds. Or a table with a '
  'column video: groups.csv:animal. Without it each recording is a group.',
)  # fmt: skip
_SHARD = flags.DEFINE_string(
  'shard', '0/1',
  'i/n: only the i-th of n parts of the folds (i from 0), for any scheduler; '
  'the part that is done last trains on everything.',
)  # fmt: skip


def main(argv):
  """Trains, proposes and prints."""
  del argv
  cli.require(config=_CONFIG.value, workdir=_WORKDIR.value)
  from cmsn_jax import sharding

  sharding.parse(_SHARD.value)
  cli.use_compilation_cache()
  distributed.announce_devices(cli.quiet())
  from cmsn_jax.training import config_checks, phase_run

  config_checks.check(_CONFIG.value)
  workdir = pathlib.Path(_WORKDIR.value)
  video_flags.apply()
  try:
    with ending.explained():
      _run(workdir, *sharding.parse(_SHARD.value))
  except phase_run.Interrupted as stopped:
    print(stopped)
  return 0


def _run(workdir, index, count):
  """This shard's folds; the rest where all are done."""
  from cmsn_jax.training import cross_validation, fold_table

  chosen = cross_validation.plan(
    _CONFIG.value, workdir, _FOLDS.value, _GROUP.value
  )
  for number in range(index, _FOLDS.value, count):
    fold = cross_validation.run_fold(chosen, number, workdir, quiet=cli.quiet())
    print(fold_table.table(chosen.config, [fold]), flush=True)
  folds = [
    cross_validation.read_fold(chosen, number, workdir)
    for number in range(_FOLDS.value)
  ]
  waiting = [str(k) for k, fold in enumerate(folds) if fold is None]
  if waiting:
    print(
      f'folds {", ".join(waiting)} are not done yet: the shard that is done '
      'last joins them and trains on everything'
    )
    return
  whole = cross_validation.finish(chosen, folds, workdir, quiet=cli.quiet())
  print(fold_table.table(chosen.config, folds, whole))
  print(f'proposals of all recordings, out of fold: {workdir}/proposals.json')
  print(f'trained on all of them: {workdir}/final')


if __name__ == '__main__':
  cli.run(main)
