"""Metrics of a run: TensorBoard events and one JSON line a record."""

import contextlib
import json
import math
import os
import pathlib
from typing import Any

import tensorboardX
from absl import logging
from tensorboardX import record_writer

# Paths that begin with it are opened by `_EventFiles`.
_SCHEME = 'cmsn_jax'


class _EventFile:
  """An events file that ends where it cannot be written.

  tensorboardX writes in a thread, which would die of a full disk; the next
  events would then wait for it forever.
  """

  def __init__(self, path):
    self._path = path
    self._file = open(path, 'wb')

  def write(self, data):
    self._try('write', data)

  def flush(self):
    self._try('flush')

  def close(self):
    self._try('close')
    self._file = None

  def _try(self, method, *arguments):
    if self._file is None:
      return
    try:
      getattr(self._file, method)(*arguments)
    except OSError as error:
      logging.error('%s ends here: %s', self._path, error)
      with contextlib.suppress(OSError):
        self._file.close()
      self._file = None


class _EventFiles:
  """What tensorboardX asks of a kind of file."""

  def open(self, path):
    return _EventFile(path.removeprefix(_SCHEME + ':'))

  def directory_check(self, path):
    os.makedirs(path.removeprefix(_SCHEME + ':'), exist_ok=True)


record_writer.register_writer_factory(_SCHEME, _EventFiles())


class WorkdirWriter:
  """Writes `<workdir>/tensorboard` and `<workdir>/metrics.jsonl`."""

  def __init__(self, workdir: pathlib.Path, prefix: str = ''):
    self._events = tensorboardX.SummaryWriter(
      f'{_SCHEME}:{workdir / "tensorboard"}'
    )
    self._lines = open(workdir / 'metrics.jsonl', 'a', encoding='utf-8')
    self._prefix = prefix

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Writes `values` at `step`; JSON has null where a value is not finite."""
    record = {'step': step}
    for name, value in values.items():
      name, value = self._prefix + name, float(value)
      self._events.add_scalar(name, value, step)
      record[name] = value if math.isfinite(value) else None
    self._lines.write(json.dumps(record) + '\n')
    self._lines.flush()

  def text(self, name: str, value: str) -> None:
    """Writes a text, shown by TensorBoard as Markdown."""
    self._events.add_text(name, value)

  def histogram(self, step: int, name: str, values: Any) -> None:
    """Writes the distribution of `values`."""
    self._events.add_histogram(self._prefix + name, values, step)

  def figure(self, step: int, name: str, figure: Any) -> None:
    """Writes a matplotlib figure."""
    self._events.add_figure(self._prefix + name, figure, step)

  def close(self) -> None:
    """Writes what is buffered."""
    self._events.close()
    # What a full disk left in its buffer was reported when it was written.
    with contextlib.suppress(OSError):
      self._lines.close()


class NullWriter:
  """Writes nothing: for every process but the first, and for tests."""

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Drops `values`."""

  def text(self, name: str, value: str) -> None:
    """Drops it."""

  def histogram(self, step: int, name: str, values: Any) -> None:
    """Drops it."""

  def figure(self, step: int, name: str, figure: Any) -> None:
    """Drops it."""

  def close(self) -> None:
    """Does nothing."""
