"""An export in place of a trained run, where this package is installed."""

import pathlib
from collections.abc import Mapping
from typing import Any

from cmsn_jax.chains import registry
from cmsn_jax.proposing import exported, jax_programs
from cmsn_jax.runs import config_record
from cmsn_jax.runs import trained as trained_lib


def load(
  folder: pathlib.Path,
  phase: str | None = None,
  changes: Mapping[str, Any] | None = None,
) -> trained_lib.Trained:
  """Reads what launch.export wrote, as a trained run.

  Args:
    folder: that it wrote.
    phase: must be None: an export has the phases that it was written with.
    changes: see `trained.load`.

  Raises:
    FileNotFoundError: if the folder holds no exported model.
    ValueError: of a phase, or if it is of another format.
  """
  if phase:
    raise ValueError(
      f'{folder} is an export, which has the phases that it was written with; '
      'load the run for another phase'
    )
  about = exported.describe(folder)
  config = config_record.from_json(about['config'])
  if changes:
    # Scores that are made otherwise need another calibration.
    config.calibration.given = ()
    config.update_from_flattened_dict(changes)
  chain = registry.load(config.chain)
  found = exported.load(
    folder,
    lambda _, networks, params: chain.predictor(config, networks, params),
    jax_programs,
  )
  return trained_lib.Trained(
    found.predictor, config, about, found.statistics, about['model']
  )
