"""Every action of a review on disk before it is acknowledged.

`<output>.journal` holds JSON, one object a line: first what the review began
with, then the actions. Lines are only ever appended, and each is on the disk
(fsync) before anybody is told that it was done: whatever ends the program, the
lines that are there are what was done. A line that a kill cut in half was never
acknowledged and is taken away. The first who opens the file holds its lock;
others read.
"""

import fcntl
import json
import os
from typing import Any

from cmsn_jax.files import json_files

_FORMAT = 'cmsn_jax review, version 1'


class JournalError(ValueError):
  """A journal that is not one, or of other inputs."""


class Journal:
  """The journal of one output file.

  Args:
    path: the file; made, with its folder, where it is not there.
    inputs: what the actions mean something for, by name: a fingerprint.

  Attributes:
    path: the file.
    read_only: another program holds the lock.
    actions: all of them so far, in order.
  """

  def __init__(self, path: json_files.PathLike, inputs: dict[str, str]):
    self.path = os.fspath(path)
    self.actions: list[dict[str, Any]] = []
    os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
    # Not 'a': where a line was cut in half the end of the file moves back.
    handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
    # Without a buffer, which would try a failed write once more at the end.
    self._file = os.fdopen(handle, 'r+b', buffering=0)
    try:
      fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      self.read_only = False
    except BlockingIOError:
      self.read_only = True
    self._reached, self._began = 0, False
    try:
      self._begin(inputs)
    except BaseException:
      self._file.close()
      raise

  def _begin(self, inputs: dict[str, str]) -> None:
    self.more(inputs)
    if self.read_only:
      return
    self._file.truncate(self._reached)
    if not self._began:
      self._write({'format': _FORMAT, 'inputs': inputs})
      self._began = True
      # The file's name, too, must outlive a power failure.
      folder = os.open(os.path.dirname(self.path) or '.', os.O_RDONLY)
      try:
        os.fsync(folder)
      finally:
        os.close(folder)

  def more(self, inputs: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The actions that were appended since this was last asked.

    Args:
      inputs: to be compared with those of the journal; None: not again.
    Raises:
      JournalError: where a line is no action, or the inputs are others.
    """
    self._file.seek(self._reached)
    lines = self._file.read().split(b'\n')
    found = []
    # What follows the last line end is being written, or was never finished.
    for line in lines[:-1]:
      number = len(self.actions) + 1 + self._began
      entry = self._parsed(line, number)
      if self._began:
        self.actions.append(entry)
        found.append(entry)
      else:
        self._check(entry, inputs or {})
        self._began = True
      self._reached += len(line) + 1
    return found

  def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
    try:
      entry = json.loads(line)
    except ValueError:
      entry = None
    if not isinstance(entry, dict):
      raise JournalError(
        f'{self.path}, line {number}: found {line[:60]!r}, expected a JSON '
        'object; restore the file from a copy, or name another --output'
      )
    return entry

  def _check(self, header: dict[str, Any], inputs: dict[str, str]) -> None:
    if header.get('format') != _FORMAT:
      raise JournalError(
        f'{self.path}: found {json_files.shown(header.get("format"))} as '
        f'format, expected {_FORMAT!r}; name another --output'
      )
    began = header.get('inputs')
    changed = [
      name
      for name in sorted({*inputs, *began})
      if inputs.get(name) != began.get(name)
    ]
    if changed:
      raise JournalError(
        f'{self.path}: this review was begun with other {" and ".join(changed)}'
        ', so what was decided cannot be told apart; give the files it began '
        'with, or name another --output (and give the corrected file as '
        '--annotations to go on from it)'
      )

  def append(self, action: dict[str, Any]) -> None:
    """Writes an action; it is on the disk when this returns.

    Raises:
      OSError: where it could not be written; the journal is as before.
    """
    if self.read_only:
      raise JournalError(f'{self.path} is open in another program')
    self._write(action)
    self.actions.append(action)

  def _write(self, entry: dict[str, Any]) -> None:
    line = (
      json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b'\n'
    )
    try:
      self._file.seek(self._reached)
      written = 0
      while written < len(line):
        written += self._file.write(line[written:])
      os.fsync(self._file.fileno())
    except OSError:
      # Half a line on a full disk must not stay before the next one.
      self._file.truncate(self._reached)
      raise
    self._reached += len(line)

  def close(self) -> None:
    """Gives the lock back."""
    self._file.close()
