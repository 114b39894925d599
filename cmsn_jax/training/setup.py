"""The one set-up of a run: check, open the data, fill in what they decide."""

import pathlib
from typing import Any

import ml_collections

from cmsn_jax import processes
from cmsn_jax.chains import registry
from cmsn_jax.data import opening, training_checks, training_data
from cmsn_jax.runs import config_record
from cmsn_jax.training import config_checks, loop, warm_start


def open_run(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> tuple[ml_collections.ConfigDict, training_data.TrainingData]:
  """The config with what the data decide filled in, and the data.

  Args:
    config: as the user gave it.
    workdir: for decoded frames and made-up data.

  Raises:
    ValueError: of a config that cannot be, an earlier run that is none, or data
      that do not fit it.
  """
  config_checks.check(config)
  # A run that has begun has no more need of the one that it began with.
  if config.train.init_from and not config_record.begun(workdir):
    warm_start.check(config.train.init_from, workdir)
  # Frames are decoded, and made-up data written, by one process.
  with processes.first_process_first():
    data = opening.open_data(config, workdir)
  training_checks.tell(data)
  return registry.load(config.chain).derive(config, data), data


def run(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, **options: Any
) -> loop.Result:
  """Opens a run's data and trains it; options as `loop.train_and_evaluate`.

  Raises:
    ValueError: see `open_run`.
  """
  config, data = open_run(config, workdir)
  return loop.train_and_evaluate(config, workdir, data, **options)
