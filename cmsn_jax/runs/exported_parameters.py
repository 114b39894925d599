"""Parameters by name beside an export's programs: what a warm start begins with."""

import json
import pathlib
from typing import Any

import flax.traverse_util
import numpy as np

from cmsn_jax.files import replacing
from cmsn_jax.runs import checkpoints, config_record

_FILE = 'parameters.npz'


def is_export(folder: pathlib.Path) -> bool:
  """Whether it is an export's, and no run's that was exported into itself."""
  found = (folder / 'model.json').is_file()
  return found and not (folder / 'config.json').is_file()


def write(folder: pathlib.Path, params: dict[str, Any]) -> None:
  """Writes parameters, named by their path.

  Args:
    folder: of the export.
    params: as a run's `best` has them.
  """
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  with replacing.file(folder / _FILE, 'wb') as file:
    np.savez(file, **{name: np.asarray(value) for name, value in flat.items()})


def check(folder: pathlib.Path) -> None:
  """Checks that an export keeps its parameters.

  Raises:
    config_record.RunFolderError: if it was written before exports did.
  """
  if not (folder / _FILE).is_file():
    raise config_record.RunFolderError(
      f'{folder} is an export without {_FILE}, written by an earlier version; '
      'export the run again, or give the folder of the run'
    )


def read(folder: pathlib.Path) -> checkpoints.Restored:
  """What `runs.folder.read_best` would give of the run that was exported.

  Args:
    folder: of the export.

  Raises:
    config_record.RunFolderError: see `check`.
  """
  check(folder)
  with np.load(folder / _FILE) as arrays:
    params = flax.traverse_util.unflatten_dict(dict(arrays), sep='/')
  about = json.loads((folder / 'model.json').read_text())
  meta = {'phase': about['phase'], 'config': about['config'], 'data': about}
  return checkpoints.Restored(about['step'], {'params': params}, meta)
