"""The config that a run was made with: kept, compared, read again."""

import json
import pathlib
import warnings
from typing import Any

import jax
import ml_collections

from cmsn_jax.chains import protocol, registry
from cmsn_jax.files import replacing
from cmsn_jax.runs import config_history

# Keys that may differ when a run is continued: what they change lies ahead.
# Moved data are no exception unless `data_record` knows them to be the same.
_MAY_CHANGE = (
  'data.frames_cache',
  # On another number of devices; the windows a step must stay as many.
  'train.batch_per_device',
  'train.accumulate',
  'template.student_windows',
  # Of a classifier of clips.
  'train.epochs',
  'data.workers',
  'train.stages_epochs',
  'train.evaluator_epochs',
  'train.eval_every_epochs',
  'train.checkpoint_every_steps',
  'train.checkpoint_every_sec',
  'train.log_every_steps',
  'evaluation',
)


class RunFolderError(ValueError):
  """A workdir that cannot be used as asked."""


class ConfigChangedWarning(UserWarning):
  """A run is continued with another config than it was started with."""


def begun(workdir: pathlib.Path) -> bool:
  """Whether a run came to a checkpoint; one that never did binds nobody."""
  return any(
    any(workdir.glob(pattern))
    for pattern in ('resume/[0-9]*', '*/resume/[0-9]*', '*/best/[0-9]*')
  )


def claim(
  workdir: pathlib.Path,
  config: ml_collections.ConfigDict,
  free: tuple[str, ...] = (),
) -> None:
  """Writes the run's config, or checks it against the one that is there.

  Args:
    workdir: of the run.
    config: of it.
    free: further keys that may differ: where data lie that are known to be the
      same.

  Raises:
    RunFolderError: if a key differs that cannot change within a run.
  """
  path = workdir / 'config.json'
  if path.exists() and begun(workdir):
    saved = config_history.current(json.loads(path.read_text()))
    changes = differences(saved, to_json(config))
    may_change = (*_MAY_CHANGE, *free)
    if 'chain' in config:
      chain = registry.load(config.chain)
      may_change += chain.AT_INFERENCE
      # What the chain does not read changes nothing.
      reads = (*protocol.SHARED, *chain.READS)
      changes = [c for c in changes if protocol.covers(reads, _key(c))]
    fixed = [c for c in changes if not protocol.covers(may_change, _key(c))]
    if fixed:
      raise RunFolderError(
        f'{workdir} was started with another config: '
        + '; '.join(fixed)
        + '. Use another --workdir, or the old values'
      )
    nms = any(_key(change).startswith('nms.') for change in changes)
    if changes:
      warnings.warn(
        f'continuing {workdir} with a changed config: '
        + '; '.join(changes)
        + '. Checkpoints that are kept already propose as they did'
        + ('; launch.propose --nms chooses another NMS' if nms else ''),
        ConfigChangedWarning,
        stacklevel=2,
      )
  if jax.process_index() == 0:
    with replacing.path(path) as temporary:
      pathlib.Path(temporary).write_text(
        json.dumps(to_json(config), indent=2) + '\n'
      )


def check_batch(
  folder: pathlib.Path,
  saved: int | None,
  windows: int,
  key: str = 'train.batch_per_device',
) -> None:
  """Checks that a step takes as many windows as when a checkpoint was saved.

  Args:
    folder: of the checkpoint.
    saved: windows a step then; None: not known.
    windows: now.
    key: of the config, which says how many are of a device and part.

  Raises:
    RunFolderError: if not: steps and epochs would mean something else.
  """
  if saved not in (None, windows):
    raise RunFolderError(
      f'{folder} was saved with {saved} windows a step, now it would be '
      f'{windows}. On another number of devices, choose {key} and '
      f'train.accumulate so that {key.partition(".")[2]} x accumulate x devices '
      f'is {saved}'
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


def _key(line):
  return line.partition(': ')[0]


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
    tuples(config_history.current(values))
  ).lock()
