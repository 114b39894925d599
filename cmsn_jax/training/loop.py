"""The run: the phases of its chain, one after another."""

import functools
import pathlib
from typing import NamedTuple

import ml_collections
from absl import logging

from cmsn_jax.chains import protocol, registry
from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.runs import config_record, data_record, folder
from cmsn_jax.training import config_checks, phase_run, stopping


class Result(NamedTuple):
  """The best evaluation of the last phase, {} without held-out videos."""

  metrics: dict[str, float]


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  data: training_data.TrainingData,
  *,
  phase: str = 'all',
  batches: phase_run.Batches = lambda loader, a, b: windows_lib.prefetched(
    loader.batch, a, b
  ),
  quiet: bool = False,
) -> Result:
  """Trains the phases of a run, continuing where its workdir stands.

  Args:
    config: of the run, with what the data decide filled in (`setup.open_run`).
    workdir: checkpoints, metrics and TensorBoard events go here.
    data: training and held-out videos.
    phase: 'all', or one of the chain's; those before it must be finished.
    batches: how batches are loaded; launch.train passes the tf.data pipeline.
    quiet: show no progress bar.

  Raises:
    phase_run.NanLossError: when the loss stops being finite.
    phase_run.Interrupted: after SIGTERM or SIGINT, once the state is saved.
    folder.DiskError: when the disk is full.
    config_record.RunFolderError: when another run holds the workdir, or it was
      started with another config or on other data.
    ValueError: of a config that cannot be, or another phase.
  """
  config_checks.check(config)
  chain = registry.load(config.chain)
  names = chain.phases(config)
  config_checks.check_phase(config, phase)
  with (
    folder.disk_errors_explained(workdir),
    folder.locked(workdir),
    stopping.StopSignal() as stop,
  ):
    same = data_record.claim(workdir, data)
    config_record.claim(workdir, config, data_record.PATHS if same else ())
    predictor = registry.predictor(config, {})
    run = phase_run.PhaseRun(
      config, workdir, data, predictor, batches, stop, quiet
    )
    job = protocol.Job(
      config,
      data,
      predictor,
      phase_run.batch_size(config),
      workdir,
      functools.partial(_kept, workdir),
      quiet,
    )
    metrics = {}
    for name in names if phase == 'all' else (phase,):
      metrics = run.train(chain.phase(name, job))
      _remark(workdir, names, name, metrics)
    return Result(metrics)


def _kept(workdir, name):
  """The bundle that a finished phase kept."""
  return folder.read_best(workdir, name).tree['params']


def _remark(workdir, names, name, metrics):
  """Says so where a phase lowers what the one before it reached."""
  number = names.index(name)
  if not number:
    return
  before = names[number - 1]
  reached = folder.read_best(workdir, before).meta['metrics'].get('best_metric')
  now = metrics.get('best_metric')
  if reached is not None and now is not None and now < reached:
    logging.warning(
      'on the held-out videos the phase %r lowers the mean AR from %.4f to '
      '%.4f; launch.propose --phase=%s leaves it out',
      name, reached, now, before,
    )  # fmt: skip
