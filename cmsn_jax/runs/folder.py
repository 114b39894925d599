"""A run's folder: its lock, and the parameters it keeps.

<workdir>/config.json
<workdir>/<phase>/{resume,best}/<step>/
<workdir>/metrics.jsonl, tensorboard/
"""

import contextlib
import errno
import fcntl
import json
import pathlib
from collections.abc import Iterator

import jax

from cmsn_jax.chains import registry
from cmsn_jax.runs import checkpoints, config_record


class DiskError(RuntimeError):
  """The disk of a workdir is full, or fails."""


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the workdir for one run; the first process of each holds the lock.

  Raises:
    config_record.RunFolderError: if another run holds it.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  if jax.process_index():
    yield
    return
  with open(workdir / '.lock', 'w', encoding='utf-8') as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise config_record.RunFolderError(
        f'another run is using {workdir}; wait for it or use another --workdir'
      ) from None
    yield


@contextlib.contextmanager
def disk_errors_explained(workdir: pathlib.Path) -> Iterator[None]:
  """Says of a full disk what is kept.

  Raises:
    DiskError: instead of the OSError of a full or failing disk.
  """
  try:
    yield
  except OSError as error:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
      raise
    # A classifier of clips has one phase, and no folder for it.
    paths = [*workdir.glob('*/resume/*'), *workdir.glob('resume/*')]
    kept = sorted(
      f'{path.parent.parent.name} step {path.name}'
      for path in paths
      if path.name.isdigit()
    )
    raise DiskError(
      f'{workdir} cannot be written ({error.strerror}); kept are '
      f'{", ".join(kept) or "no checkpoints yet"}. Make room; the same command '
      'goes on there'
    ) from error


def read_best(
  workdir: pathlib.Path, phase: str | None = None
) -> checkpoints.Restored:
  """The best parameters of a run: of `phase`, or of the last one finished.

  Args:
    workdir: of the run.
    phase: one of its chain's; None: the last of them that kept any.

  Raises:
    config_record.RunFolderError: if there are none, or the chain has no such phase.
  """
  names = _phases(workdir)
  if phase and names and phase not in names:
    raise config_record.RunFolderError(
      f'{workdir} has the phases {", ".join(names)}, no {phase!r}'
    )
  names = [phase] if phase else names[::-1]
  for name in names:
    folder = workdir / name / 'best'
    if not folder.is_dir():
      continue
    manager = checkpoints.Checkpoints(folder, read_only=True)
    found = manager.restore_newest()
    manager.close()
    if found is not None:
      return found
  raise config_record.RunFolderError(
    f'{workdir} holds no trained model ({" or ".join(names) or "no config.json"}); train one with '
    f'launch.train --workdir={workdir}'
  )


def _phases(workdir):
  """Names of the phases of a run, as its chain has them."""
  path = workdir / 'config.json'
  if not path.is_file():
    return ()
  config = config_record.from_json(json.loads(path.read_text()))
  if 'chain' not in config:
    return ()  # Of a classifier of clips.
  return registry.load(config.chain).phases(config)
