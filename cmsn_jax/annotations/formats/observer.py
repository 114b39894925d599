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
  table = file.table
  if table is None or not _is_header(table.header):
    table = csv_tables.read(file.path, _is_header)
  table = csv_format.filtered(table, options.where)
  result = imported.Imported(file.path, 'seconds')
  result.notes += table.notes
  for line, width in table.ragged:
    result.bad.append(
      f'row {line}: found {width} cells, expected {len(table.header)}'
    )
  index = {
    name: k for k, name in reversed(list(enumerate(_names(table.header))))
  }
  time = next(name for name in _TIMES if name in index)
  duration = next((name for name in _DURATIONS if name in index), None)
  try:
    decimal = cell_values.decimal_sign(
      (
        row.cells[index[n]] for row in table.rows for n in (time, duration) if n
      ),
      options.decimal,
    )
  except ValueError as problem:
    raise csv_tables.TableError(f'{table.path}: {problem}') from None
  label = '+'.join(options.labels_from) or 'Behavior'
  length = (
    f", the event's duration ← {table.header[index[duration]]}"
    if duration
    else ''
  )
  result.notes.append(
    f'columns: recording ← {"Observation" if "observation" in index else "(the file)"}'
    f', start ← {table.header[index[time]]}{length}, label ← {label}'
  )
  labels = [
    csv_format.columns_lib.named(table, name, '--labels_from')
    for name in options.labels_from
  ]
  pairs = pairing.Pairs(result)
  for row in table.rows:
    where = f'row {row.line}'

    def cell(name, row=row):
      return row.cells[index[name]] if name in index else ''

    kind = cell('event_type').lower()
    behavior = cell('behavior')
    if not behavior or kind in ('start', 'stop', 'comment'):
      # Rows for the observation itself.
      if kind:
        result.left_out['rows without a behavior'].append(where)
      continue
    name = options.recording or cell('observation') or file.stem
    label = behavior
    if labels:
      parts = (row.cells[k] for k in labels)
      label = '+'.join(p for p in parts if not cell_values.is_missing(p))
    try:
      at = cell_values.parse(cell(time), decimal, options.fps).number
      text = cell(duration) if duration else ''
      length = (
        None
        if cell_values.is_missing(text)
        else cell_values.parse(text, decimal, options.fps).number
      )
    except ValueError as problem:
      result.bad.append(
        f'{where}: found the time {json_files.shown(cell(time))}, expected {problem}'
      )
      continue
    modifiers = tuple(cell(n) for n in index if n.startswith('modifier'))
    key = (name, cell('subject'), modifiers, behavior)
    if 'point' in kind:
      result.add_point(name, at, label, where, options)
    elif 'stop' in kind or 'end' in kind:
      if duration is None:
        begun = pairs.stop(key, where)
        if begun:
          result.add(name, begun[0], at, label, begun[1])
    elif 'start' in kind:
      if duration is None:
        pairs.start(key, at, where)
      elif length is None:
        result.bad.append(f'{where}: no duration of {behavior!r}')
      else:
        result.add(name, at, at + length, label, where)
    else:
      result.bad.append(
        f'{where}: found the event type {json_files.shown(kind)}, expected State '
        'start, State stop or Point'
      )
  pairs.finish()
  return result
