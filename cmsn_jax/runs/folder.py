"""A run's folder: its lock, its config, and the parameters it keeps.

<workdir>/config.json
<workdir>/{stages,evaluator}/{resume,best}/<step>/
<workdir>/metrics.jsonl, tensorboard/
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections
import numpy as np

from cmsn_jax.data import sources, training_data
from cmsn_jax.runs import checkpoints, config_history

# Keys that may differ when a run is continued: what they change lies ahead.
# Moved data are no exception: other data under an old run would go unnoticed.
_MAY_CHANGE = (
  'data.frames_cache',
  'data.workers',
  # On another number of devices; the windows a step must stay as many.
  'train.batch_per_device',
  'train.accumulate',
  'train.epochs',
  'train.stages_epochs',
  'train.evaluator_epochs',
  'train.eval_every_epochs',
  'train.checkpoint_every_steps',
  'train.log_every_steps',
  # What inference alone sees.
  'joint.clear_weight',
  'joint.clear_reach',
  'joint.border_error',
  'nms.',
  'evaluation.',
)


class RunFolderError(ValueError):
  """A workdir that cannot be used as asked."""


class DiskError(RuntimeError):
  """The disk of a workdir is full, or fails."""


class ConfigChangedWarning(UserWarning):
  """A run is continued with another config than it was started with."""


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the workdir for one run; the first process of each holds the lock.

  Raises:
    RunFolderError: if another run holds it.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  if jax.process_index():
    yield
    return
  with open(workdir / '.lock', 'w', encoding='utf-8') as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise RunFolderError(
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
    kept = sorted(
      f'{path.parent.parent.name} step {path.name}'
      for path in workdir.glob('*/resume/*')
      if path.name.isdigit()
    )
    raise DiskError(
      f'{workdir} cannot be written ({error.strerror}); kept are '
      f'{", ".join(kept) or "no checkpoints yet"}. Make room; the same command '
      'goes on there'
    ) from error


def claim_config(
  workdir: pathlib.Path, config: ml_collections.ConfigDict
) -> None:
  """Writes the run's config, or checks it against the one that is there.

  Raises:
    RunFolderError: if a key differs that cannot change within a run.
  """
  path = workdir / 'config.json'
  # A run that never came to its first checkpoint binds nobody.
  begun = any(
    any(workdir.glob(pattern))
    for pattern in ('resume/[0-9]*', '*/resume/[0-9]*', '*/best/[0-9]*')
  )
  if path.exists() and begun:
    saved = config_history.completed(json.loads(path.read_text()))
    changes = differences(saved, to_json(config))
    if config.get('proposals', {}).get('generator') != 'stage_template':
      changes = [c for c in changes if not c.startswith('joint.')]
    fixed = [c for c in changes if not c.startswith(_MAY_CHANGE)]
    if fixed:
      raise RunFolderError(
        f'{workdir} was started with another config: '
        + '; '.join(fixed)
        + '. Use another --workdir, or the old values'
      )
    if changes:
      warnings.warn(
        f'continuing {workdir} with a changed config: '
        + '; '.join(changes)
        + '. Checkpoints that are kept already propose as they did',
        ConfigChangedWarning,
        stacklevel=2,
      )
  if jax.process_index() == 0:
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(to_json(config), indent=2) + '\n')
    os.replace(temporary, path)


def check_batch(folder: pathlib.Path, saved: int | None, windows: int) -> None:
  """Checks that a step takes as many windows as when a checkpoint was saved.

  Raises:
    RunFolderError: if not: steps and epochs would mean something else.
  """
  if saved not in (None, windows):
    raise RunFolderError(
      f'{folder} was saved with {saved} windows a step, now it would be '
      f'{windows}. On another number of devices, choose '
      'train.batch_per_device and train.accumulate so that batch_per_device x '
      f'accumulate x devices is {saved}'
    )


def differences(old: dict, new: dict, prefix: str = '') -> list[str]:
  """Lines "key: old -> new" of every key that differs."""
  lines = []
  for key in sorted(old.keys() | new.keys()):
    a, b, name = old.get(key), new.get(key), prefix + key
    if isinstance(a, dict) and isinstance(b, dict):
      lines += differences(a, b, name + '.')
    elif a != b:
      lines.append(f'{name}: {a!r} -> {b!r}')
  return lines


def to_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The config as plain JSON values (tuples become lists)."""
  return json.loads(json.dumps(config.to_dict()))


def from_json(values: dict[str, Any]) -> ml_collections.ConfigDict:
  """The config that `to_json` wrote, with the keys that came later."""

  def tuples(value):
    if isinstance(value, dict):
      return {key: tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value

  return ml_collections.ConfigDict(
    tuples(config_history.completed(values))
  ).lock()


def read_best(
  workdir: pathlib.Path, phase: str | None = None
) -> checkpoints.Restored:
  """The best parameters of a run: of `phase`, or of the last one finished.

  Raises:
    RunFolderError: if there are none.
  """
  names = [phase] if phase else ['joint', 'evaluator', 'stages']
  for name in names:
    folder = workdir / name / 'best'
    if not folder.is_dir():
      continue
    manager = checkpoints.Checkpoints(folder, read_only=True)
    found = manager.restore_newest()
    manager.close()
    if found is not None:
      return found
  raise RunFolderError(
    f'{workdir} holds no trained model ({" or ".join(names)}); train one with '
    f'launch.train --workdir={workdir}'
  )


def describe_data(data: training_data.TrainingData) -> dict[str, Any]:
  """What inference must know of the snippets a model was trained on."""
  return {
    'snippet_shape': list(data.source.snippet_shape),
    'feature_fps': data.source.feature_fps,
    'file_fps': data.file_fps,
    'file_dim': getattr(data.source, 'file_dim', None),
    'pool': data.pool,
    'sidecar': data.sidecar,
  }


def statistics_tree(data: training_data.TrainingData) -> dict[str, np.ndarray]:
  """Feature statistics as arrays; empty where features are used as they are."""
  found = data.source.statistics
  return {} if found is None else found.arrays()


def statistics_of(tree: dict[str, np.ndarray]) -> sources.Statistics | None:
  """What `statistics_tree` wrote."""
  return sources.Statistics(**tree) if tree else None


def frozen_extractor_patterns(
  config: ml_collections.ConfigDict,
) -> tuple[str, ...]:
  """Expressions of the extractor's layers that stay as they are."""
  names = (
    'conv1a', 'conv2a', 'conv3a', 'conv3b', 'conv4a', 'conv4b', 'conv5a',
    'conv5b',
  )  # fmt: skip
  return tuple(
    f'^extractor/{name}/' for name in names[: config.extractor.frozen_layers]
  )
