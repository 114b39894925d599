r"""Trains the phases of a config's chain, or goes on where the workdir stands.

    python -m launch.train --config=configs/custom.py --workdir=runs/mine \
      --config.data.annotations=annotations.json \
      --config.data.features=features/
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from . import cli, ending, video_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The run; see configs/.', lock_config=True
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.')
_PHASE = flags.DEFINE_string(
  'phase', 'all', "Which phase of the config's chain to train."
)
_INIT_FROM = flags.DEFINE_string(
  'init_from', '',
  'Begin with the parameters, by name, of the trained run in this folder.',
)  # fmt: skip
_INPUT_PIPELINE = flags.DEFINE_enum(
  'input_pipeline', 'auto', ['auto', 'tf', 'thread'],
  'How batches are loaded: tf.data, a thread, or tf.data where TensorFlow is '
  'installed.',
)  # fmt: skip
_SIMULATE_DEVICES = flags.DEFINE_integer(
  'simulate_devices', 0, 'Try several devices on one CPU.'
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', '', 'host:port of process 0, for several processes.'
)
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', 0, 'Processes in all.')
_PROCESS_ID = flags.DEFINE_integer('process_id', -1, "This process's number.")
_MULTI_HOST = flags.DEFINE_bool(
  'multi_host', False, 'Let JAX look for the other processes (Cloud TPU pods).'
)


def main(argv):
  """Trains."""
  del argv
  cli.require(config=_CONFIG.value, workdir=_WORKDIR.value)
  from . import distributed

  distributed.start(
    _SIMULATE_DEVICES.value,
    _COORDINATOR.value,
    _NUM_PROCESSES.value,
    _PROCESS_ID.value,
    _MULTI_HOST.value,
  )
  cli.use_compilation_cache()
  distributed.announce_devices(cli.quiet())
  from cmsn_jax.training import config_checks, phase_run, setup

  config = _CONFIG.value
  if _INIT_FROM.value:
    # As a whole: it is kept with the run, which may go on from elsewhere.
    path = pathlib.Path(_INIT_FROM.value).expanduser().absolute()
    config.train.init_from = str(path)
  config_checks.check(config)
  config_checks.check_phase(config, _PHASE.value)
  workdir = pathlib.Path(_WORKDIR.value)
  video_flags.apply()
  extra = {}
  pipeline = _pipeline(_INPUT_PIPELINE.value)
  if pipeline is not None:
    extra['batches'] = pipeline
  try:
    with ending.explained():
      result = setup.run(
        config, workdir, phase=_PHASE.value, quiet=cli.quiet(), **extra
      )
  except phase_run.Interrupted as stopped:
    print(stopped)
    return 0
  made_up = config.data.annotations.startswith('generated:')
  note = ' (on generated data: no annotations were given)' if made_up else ''
  print(f'trained: {workdir}{note}{_recall(result.metrics)}')
  return 0


def _recall(metrics):
  """', AR@50 …, mAP …' of the held-out videos, as far as it was measured."""
  found = [
    f'AR@{name.removeprefix("ar_")} {value:.3f}'
    for name, value in metrics.items()
    if name.startswith('ar_')
  ]
  if not found:
    return ' (no AR: no video with an instance is held out)'
  if 'map' in metrics:
    found.append(f'mAP {metrics["map"]:.3f}')
  return '; held-out videos: ' + ', '.join(found)


def _pipeline(name):
  """The tf.data pipeline, or None for the loop's own thread."""
  if name == 'thread':
    return None
  try:
    from cmsn_jax.data import input_pipeline
  except ModuleNotFoundError as error:
    if name == 'tf' or (error.name or '').split('.')[0] != 'tensorflow':
      raise ValueError(
        "--input_pipeline=tf needs TensorFlow: pip install 'cmsn_jax[tf]', in "
        'a checkout pip install -r requirements-tf.txt'
      ) from error
    return None
  return input_pipeline.batches


if __name__ == '__main__':
  cli.run(main)
