"""How a command that trains ends: what its errors say, and with which status."""

import contextlib

from . import cli


@contextlib.contextmanager
def explained():
  """Faults of a run, as opposed to faults of the call, end with status 1.

  Raises:
    cli.Failed: in place of them.
  """
  from cmsn_jax.runs import checkpoints, folder
  from cmsn_jax.training import keeping, phase_run

  try:
    yield
  except (
    phase_run.NanLossError,
    keeping.MeasuringError,
    folder.DiskError,
    checkpoints.CheckpointError,
  ) as error:
    raise cli.Failed(error) from error
