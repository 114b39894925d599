"""The Observer (Noldus): exported event logs, in tables of any kind."""

import re
from collections.abc import Sequence

from cmsn_jax.annotations import imported, pairing, sample
from cmsn_jax.annotations.formats import csv as csv_format
from cmsn_jax.files import cell_values, csv_tables, json_files

_TIMES = (
  'time_relative_sf', 'time_relative_s', 'time_relative_hmsf', 'time_relative_hms',
  'time_relative_(sf)',
)  # fmt: skip
_DURATIONS = ('duration_sf', 'duration_s', 'duration_(sf)')


def _names(cells: Sequence[str]) -> list[str]:
  return [re.sub(r'\s+', '_', cell.strip().lower()) for cell in cells]


def _is_header(cells: Sequence[str]) -> bool:
  names = set(_names(cells))
  return (
    'behavior' in names
    and 'event_type' in names
    and any(name in names for name in _TIMES)
  )


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  if _is_header(tuple(file.header)):
    return 'an event log of The Observer'
  for line in file.lines:
    cells = [cell.strip(' "') for cell in re.split(r'[\t;,]', line)]
    if _is_header(cells):
      return 'an event log of The Observer, below a heading'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """State events: from start to stop, or as long as the duration says."""
  result = imported.Imported(file.path, 'seconds')
  table = csv_format.below_heading(file, _is_header, options, result)
  rows = _Rows(table, result, options, file.stem)
  for row in table.rows:
    rows.read(row)
  rows.finish()
  return result


class _Rows:
  """Reads the rows of a log."""

  def __init__(self, table, result, options, stem: str):
    self._result, self._options, self._stem = result, options, stem
    names = list(enumerate(_names(table.header)))
    # Of two columns of a name the first one counts.
    index = self._index = {name: k for k, name in reversed(names)}
    self._time = next(name for name in _TIMES if name in index)
    self._duration = next((name for name in _DURATIONS if name in index), None)
    self._pairs = pairing.Pairs(result)
    self._labels = [
      csv_format.columns_lib.named(table, name, '--labels_from')
      for name in options.labels_from
    ]
    times = [name for name in (self._time, self._duration) if name]
    try:
      self._decimal = cell_values.decimal_sign(
        (row.cells[index[name]] for row in table.rows for name in times),
        options.decimal,
      )
    except ValueError as problem:
      raise csv_tables.TableError(f'{table.path}: {problem}') from None
    self._tell(table)

  def _tell(self, table):
    """Notes what each column is taken for."""
    recording = 'Observation' if 'observation' in self._index else '(the file)'
    shown = (
      f'recording ← {recording}, start ← {self._header(table, self._time)}'
    )
    if self._duration:
      shown += f", the event's duration ← {self._header(table, self._duration)}"
    label = '+'.join(self._options.labels_from) or 'Behavior'
    self._result.notes.append(f'columns: {shown}, label ← {label}')

  def _header(self, table, name):
    return table.header[self._index[name]]

  def _cell(self, row, name: str) -> str:
    return row.cells[self._index[name]] if name in self._index else ''

  def read(self, row) -> None:
    """Takes the event of a row, or says why not."""
    where = f'row {row.line}'
    kind = self._cell(row, 'event_type').lower()
    behavior = self._cell(row, 'behavior')
    if not behavior or kind in ('start', 'stop', 'comment'):
      # Rows for the observation itself.
      if kind:
        self._result.left_out['rows without a behavior'].append(where)
      return
    try:
      at = self._number(self._cell(row, self._time))
      text = self._cell(row, self._duration) if self._duration else ''
      length = None if cell_values.is_missing(text) else self._number(text)
    except ValueError as problem:
      found = json_files.shown(self._cell(row, self._time))
      self._result.bad.append(
        f'{where}: found the time {found}, expected {problem}'
      )
      return
    name = (
      self._options.recording or self._cell(row, 'observation') or self._stem
    )
    label = self._label(row, behavior)
    if 'point' in kind:
      self._result.add_point(name, at, label, where, self._options)
    elif self._duration is None:
      key = (name, self._cell(row, 'subject'), self._modifiers(row), behavior)
      self._paired(key, kind, at, label, where)
    elif 'start' in kind:
      if length is None:
        self._result.bad.append(f'{where}: no duration of {behavior!r}')
      else:
        self._result.add(name, at, at + length, label, where)
    elif not _is_stop(kind):
      self._unknown(kind, where)

  def finish(self) -> None:
    """Tells of events that do not end."""
    self._pairs.finish()

  def _paired(self, key, kind, at, label, where):
    if _is_stop(kind):
      begun = self._pairs.stop(key, where)
      if begun:
        self._result.add(key[0], begun[0], at, label, begun[1])
    elif 'start' in kind:
      self._pairs.start(key, at, where)
    else:
      self._unknown(kind, where)

  def _unknown(self, kind, where):
    self._result.bad.append(
      f'{where}: found the event type {json_files.shown(kind)}, expected State '
      'start, State stop or Point'
    )

  def _number(self, text: str) -> float:
    return cell_values.parse(text, self._decimal, self._options.fps).number

  def _label(self, row, behavior: str) -> str:
    if not self._labels:
      return behavior
    parts = (row.cells[k] for k in self._labels)
    return '+'.join(p for p in parts if not cell_values.is_missing(p))

  def _modifiers(self, row) -> tuple[str, ...]:
    return tuple(
      self._cell(row, name)
      for name in self._index
      if name.startswith('modifier')
    )


def _is_stop(kind: str) -> bool:
  return 'stop' in kind or 'end' in kind
