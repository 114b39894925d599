"""Checkpoints that are verified when read.

Orbax writes atomically, but restores a flipped byte as a wrong weight without
a word.  So every checkpoint carries checksums of its arrays and of its metadata,
and reading falls back to the newest one that is whole.
"""

import json
import os
import pathlib
import shutil
import warnings
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from cmsn_jax import processes

_SEPARATOR = '|'


class CheckpointError(RuntimeError):
  """A checkpoint that cannot be written or read."""


class DamagedCheckpointWarning(UserWarning):
  """A checkpoint was damaged and an older one is used."""


class Restored(NamedTuple):
  """A verified checkpoint: nested dict of arrays, and its JSON metadata."""

  step: int
  tree: dict
  meta: dict


class Checkpoints:
  """The checkpoints of one kind ("resume" or "best") in one folder.

  Args:
    directory: created where it is missing.
    max_to_keep: newest checkpoints kept; at least 2, so that a damaged newest
      one leaves another.
    read_only: never creates or moves anything.
  """

  def __init__(
    self,
    directory: os.PathLike | str,
    *,
    max_to_keep: int = 2,
    read_only: bool = False,
  ):
    self.directory = pathlib.Path(directory).absolute()
    self._read_only = read_only
    if read_only and not self.directory.is_dir():
      raise CheckpointError(f'no checkpoint folder {self.directory}')
    options = ocp.CheckpointManagerOptions(
      max_to_keep=None if read_only else max_to_keep,
      create=not read_only,
      read_only=read_only,
    )
    self._manager = ocp.CheckpointManager(self.directory, options=options)

  def steps(self) -> list[int]:
    """Steps with a committed checkpoint, oldest first."""
    return sorted(self._manager.all_steps())

  def save(self, step: int, tree: Any, meta: Mapping[str, Any]) -> None:
    """Writes a checkpoint in the background; `tree` may change afterwards.

    Args:
      step: higher than any saved before.
      tree: any pytree that flax can serialize; empty arrays are dropped.
      meta: JSON-serializable.

    Raises:
      CheckpointError: if this or the previous write failed (a full disk,
        say); what was committed before stays.
    """
    arrays = _flatten(tree)
    record = {
      'meta': dict(meta),
      'crc32': checksums(arrays),
      'meta_crc32': _meta_checksum(meta),
    }
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(
          arrays=ocp.args.StandardSave(arrays),
          record=ocp.args.JsonSave(record),
        ),
        force=True,
      )
      self._manager.check_for_errors()
    except Exception as error:
      raise self._write_error(step, error) from error

  def replace(self, step: int, tree: Any, meta: Mapping[str, Any]) -> None:
    """As `save` and `wait`, also where there is one of this step already.

    That one stays until the new one is on the disk.

    Raises:
      CheckpointError: if it could not be written; the old one is back then.
    """
    place, old = self.directory / str(step), self._beside(step, 'before')
    first = jax.process_index() == 0
    if step in self.steps():
      if first:
        shutil.rmtree(old, ignore_errors=True)
        os.replace(place, old)
      processes.barrier(f'{self.directory.name} {step} moved')
      self._manager.reload()
    try:
      self.save(step, tree, meta)
      self.wait()
    except CheckpointError:
      if first and old.exists() and not place.exists():
        os.replace(old, place)
      self._manager.reload()
      raise
    if first:
      # Also that of a process which ended on the way.
      shutil.rmtree(old, ignore_errors=True)

  def wait(self) -> None:
    """Returns once every save has ended.

    Raises:
      CheckpointError: if one failed.
    """
    try:
      self._manager.wait_until_finished()
      self._manager.check_for_errors()
    except Exception as error:
      raise self._write_error(None, error) from error

  def close(self) -> None:
    """Waits for the saves and frees the threads."""
    self.wait()
    self._manager.close()

  def restore_newest(self) -> Restored | None:
    """The newest whole checkpoint, or None where there is none at all.

    Damaged ones are reported and moved aside, so that they are never counted
    as one of those to keep.

    Raises:
      CheckpointError: if there are checkpoints, and all are damaged.
    """
    steps = self.steps()
    for step in reversed(steps):
      try:
        return self.restore(step)
      except CheckpointError as error:
        warnings.warn(
          f'{error}; falling back to the one before',
          DamagedCheckpointWarning,
          stacklevel=2,
        )
        self._set_aside(step)
    if steps:
      raise CheckpointError(
        f'every checkpoint in {self.directory} is damaged (steps {steps}); '
        'delete the folder to start again'
      )
    return None

  def restore(self, step: int) -> Restored:
    """Reads one checkpoint.

    Raises:
      CheckpointError: if it is missing or damaged.
    """
    try:
      found = self._manager.restore(
        step,
        args=ocp.args.Composite(
          arrays=ocp.args.StandardRestore(), record=ocp.args.JsonRestore()
        ),
      )
      arrays, record = found.arrays, found.record
      expected, meta = record['crc32'], record['meta']
    except Exception as error:
      raise CheckpointError(
        f'checkpoint {self.directory / str(step)} cannot be read '
        f'({type(error).__name__}: {_first_line(error)})'
      ) from error
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    wrong = _differences(expected, checksums(arrays))
    # Written before metadata had a checksum: exactly the two other entries.
    if record.keys() != {'meta', 'crc32'}:
      if record.get('meta_crc32') != _meta_checksum(meta):
        wrong.append('the metadata')
    if wrong:
      raise CheckpointError(
        f'checkpoint {self.directory / str(step)} is damaged: checksum of '
        f'{", ".join(wrong[:3])}{" ..." if len(wrong) > 3 else ""} differs'
      )
    return Restored(step, _unflatten(arrays), meta)

  def _beside(self, step, what):
    """Where a checkpoint is moved that is not to be counted."""
    return self.directory.parent / f'{self.directory.name}-{what}-{step}'

  def _set_aside(self, step):
    if self._read_only:
      return
    source, target = self.directory / str(step), self._beside(step, 'damaged')
    if source.exists() and not target.exists():
      os.replace(source, target)
    self._manager.reload()

  def _write_error(self, step, error):
    kept = self.steps()
    what = 'a checkpoint' if step is None else f'checkpoint {step}'
    return CheckpointError(
      f'{what} in {self.directory} could not be written '
      f'({_reason(error)}); '
      + (f'step {kept[-1]} is kept' if kept else 'there is none yet')
      + '; once there is room, the same command goes on there'
    )


def into(target: Any, tree: dict) -> Any:
  """Puts a restored nested dict into the structure of `target`.

  Raises:
    CheckpointError: if a key is missing or added, or a shape differs.
  """
  state = flax.serialization.to_state_dict(target)
  wanted = flax.traverse_util.flatten_dict(state, sep=_SEPARATOR)
  found = flax.traverse_util.flatten_dict(tree, sep=_SEPARATOR)
  wanted = {k: np.shape(v) for k, v in wanted.items() if v is not None}
  problems = [f'{k} is missing' for k in wanted if k not in found]
  problems += [f'{k} is not expected' for k in found if k not in wanted]
  problems += [
    f'{k} has shape {found[k].shape}, expected {shape}'
    for k, shape in wanted.items()
    if k in found and found[k].shape != shape
  ]
  if problems:
    raise CheckpointError(
      'the checkpoint does not fit the configured model: '
      + '; '.join(problems[:8])
      + (f'; and {len(problems) - 8} more' if len(problems) > 8 else '')
    )
  return flax.serialization.from_state_dict(target, _like(state, tree))


def checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
  """CRC-32 of each array's dtype, shape and bytes."""
  sums = {}
  for name, value in arrays.items():
    head = f'{value.dtype}{value.shape}'.encode()
    data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    sums[name] = zlib.crc32(data, zlib.crc32(head))
  return sums


def _meta_checksum(meta):
  return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _flatten(tree):
  state = flax.serialization.to_state_dict(tree)
  flat = flax.traverse_util.flatten_dict(state, sep=_SEPARATOR)
  # A copy: on CPU a jax array and its numpy view share memory, which the next
  # step may be given to write into.
  return {
    name: np.array(value)
    for name, value in flat.items()
    if value is not None and np.size(value)
  }


def _unflatten(arrays):
  return flax.traverse_util.unflatten_dict(arrays, sep=_SEPARATOR)


def _like(state, tree):
  """`tree` with the empty nodes that only `state` has."""
  if isinstance(state, dict):
    return (
      {key: _like(value, tree.get(key)) for key, value in state.items()}
      if tree is not None
      else state
    )
  return state if tree is None else tree


def _differences(expected, found):
  names = expected.keys() | found.keys()
  return sorted(n for n in names if expected.get(n) != found.get(n))


def _reason(error):
  # Deep in what the storage layer says of it.
  if 'No space left' in str(error):
    return 'No space left on device'
  return f'{type(error).__name__}: {_first_line(error)}'


def _first_line(error):
  return (str(error).strip().splitlines() or [''])[0][:200]
