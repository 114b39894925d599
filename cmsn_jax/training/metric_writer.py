"""Metrics of a run: TensorBoard events and one JSON line a record."""

import json
import math
import pathlib
from typing import Protocol

import tensorboardX


class MetricWriter(Protocol):
  """Takes named numbers of a step."""

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Writes `values` at `step`."""

  def close(self) -> None:
    """Writes what is buffered."""


class WorkdirWriter:
  """Writes `<workdir>/tensorboard` and `<workdir>/metrics.jsonl`."""

  def __init__(self, workdir: pathlib.Path, prefix: str = ''):
    self._events = tensorboardX.SummaryWriter(str(workdir / 'tensorboard'))
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

  def histogram(self, step: int, name: str, values) -> None:
    """Writes the distribution of `values`."""
    self._events.add_histogram(self._prefix + name, values, step)

  def figure(self, step: int, name: str, figure) -> None:
    """Writes a matplotlib figure."""
    self._events.add_figure(self._prefix + name, figure, step)

  def close(self) -> None:
    """Writes what is buffered."""
    self._events.close()
    self._lines.close()


class NullWriter:
  """Writes nothing: for every process but the first, and for tests."""

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Drops `values`."""

  def text(self, name: str, value: str) -> None:
    """Drops it."""

  def histogram(self, step: int, name: str, values) -> None:
    """Drops it."""

  def figure(self, step: int, name: str, figure) -> None:
    """Drops it."""

  def close(self) -> None:
    """Does nothing."""
