"""Tables with a row an event: recording, start, end, label, in any columns."""

import collections
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cmsn_jax import segments as segments_lib
from cmsn_jax.annotations import column_names, imported, sample
from cmsn_jax.annotations import columns as columns_lib
from cmsn_jax.files import cell_values, csv_tables, json_files

ORDER = 9
TRIES = True
_MAX_NAMED = 8
_REMARKS = re.compile('comment|note|remark|bemerkung|kommentar|comentario')


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  if file.table is None:
    return None
  found = {
    column_names.understand(k, n).role for k, n in enumerate(file.table.header)
  }
  if {'start', 'end'} <= found or {'start', 'some_duration'} <= found:
    return 'a table with columns for start and end'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """The annotations in a table; see `columns.choose`.

  A row without start, end and label states a recording without events.
  """
  table = file.table or csv_tables.read(file.path)
  return read_rows(filtered(table, options.where), options)


def read_rows(
  table: csv_tables.Table, options: imported.Options
) -> imported.Imported:
  """The annotations in a table whose rows are all wanted."""
  needed = ('video', 'start', 'end', 'label')
  named_by_file = not options.recording and not _names_recordings(
    table, options
  )
  if named_by_file:
    stem = sample.Sample(table.path).stem
    options = dataclasses.replace(options, recording=stem)
  if options.recording:
    needed = needed[1:]
  chosen = columns_lib.choose(
    table, options.columns, needed, options.labels_from
  )
  result = imported.Imported(table.path)
  result.notes = [*table.notes, f'columns: {chosen.shown()}', *chosen.notes]
  if named_by_file:
    result.notes.append(
      'no column names the recording: it is the name of the file (another: '
      '--recording=)'
    )
  result.duration_hint = next(
    (n for n in chosen.notes if 'end - start' in n), ''
  )
  result.bad += table.misfits()
  _Rows(table, chosen, options, result).read()
  if 'label' not in chosen.chosen and not options.labels_from:
    result.notes.append('no label column: all events are labelled "action"')
    if 'score' in chosen.chosen:
      result.notes.append(
        f'{chosen.chosen["score"].name} was not used: rows of proposals are '
        'taken as true events'
      )
  _check_raters(table.path, table, chosen, result, options)
  return result


def _names_recordings(
  table: csv_tables.Table, options: imported.Options
) -> bool:
  """Whether some column names the recordings, or might."""
  if 'video' in options.columns:
    return True
  others = {*options.columns.values(), *options.labels_from, *options.where}
  for k, name in enumerate(table.header):
    role = column_names.understand(k, name).role
    if role == 'video':
      return True
    if role or name in others or _REMARKS.search(name.lower()):
      continue
    cells = [row.cells[k] for row in table.rows]
    if any(
      not cell_values.is_missing(c) and not re.fullmatch(r'[-+\d.,:e ]*', c)
      for c in cells
    ):
      return True
  return False


def below_heading(
  file: sample.Sample,
  is_header: Callable[[Sequence[str]], bool],
  options: imported.Options,
  result: imported.Imported,
) -> csv_tables.Table:
  """The wanted rows of a table that other lines may stand before.

  Args:
    file: of the table.
    is_header: says of a row whether it is the header.
    options: which rows are wanted.
    result: gets the notes, and rows of another number of cells.
  """
  table = file.table
  if table is None or not is_header(table.header):
    table = csv_tables.read(file.path, is_header)
  table = filtered(table, options.where)
  result.notes += table.notes
  result.bad += table.misfits()
  return table


def filtered(
  table: csv_tables.Table, where: Mapping[str, tuple[str, ...]]
) -> csv_tables.Table:
  """The table's rows that have one of the values in each named column.

  Raises:
    TableError: if no row has.
  """
  rows = table.rows
  for name, values in where.items():
    flag = f'--where={name}={"|".join(values)}'
    index = columns_lib.named(table, name, flag)
    kept = tuple(row for row in rows if row.cells[index] in values)
    if not kept:
      there = list(dict.fromkeys(row.cells[index] for row in rows))
      shown = ', '.join(json_files.shown(v, 30) for v in there[:_MAX_NAMED])
      raise csv_tables.TableError(
        f'{table.path}: no row is left after {flag}; there are {shown}'
      )
    rows = kept
  notes = table.notes
  if where:
    notes = (
      *notes,
      f'{len(rows)} of {len(table.rows)} rows taken, as --where says',
    )
  return csv_tables.Table(
    table.path, table.header, rows, table.delimiter, notes, table.ragged
  )


class _Rows:
  """Reads the rows of one table into `result`."""

  def __init__(self, table, chosen, options, result):
    self._table, self._chosen = table, chosen
    self._options, self._result = options, result
    self._decimal = {}
    for roles in (('start', 'end', 'bout_duration'), ('duration',), ('fps',)):
      cells = [
        row.cells[chosen.chosen[role].index]
        for role in roles
        if role in chosen.chosen
        for row in table.rows
      ]
      try:
        sign = cell_values.decimal_sign(cells, options.decimal)
      except ValueError as problem:
        raise csv_tables.TableError(f'{table.path}: {problem}') from None
      if sign == ',' and not options.decimal:
        result.notes.append(f'decimal commas in {", ".join(roles[:2])}')
      self._decimal |= dict.fromkeys(roles, sign)
    self._labels = [
      columns_lib.named(table, name, '--labels_from')
      for name in options.labels_from
    ]
    self._bare = self._stated = 0
    start = chosen.chosen.get('start')
    self._unit = start.unit if start else None

  def read(self) -> None:
    for row in self._table.rows:
      self._row(row)
    if self._unit == 'frames':
      self._result.unit = 'frames'
    elif self._unit is not None or (self._stated and not self._bare):
      self._result.unit = 'seconds'
    elif self._stated:
      self._result.bad.append(
        f'{self._bare} times have no unit where {self._stated} have one'
      )

  def _row(self, row: csv_tables.Row) -> None:
    where = f'row {row.line}'
    name = self._chosen.cell(row, 'video') or self._options.recording
    if not name.strip():
      self._result.bad.append(f"{where}: video id '' is empty")
      return
    self._state(name, row, where)
    times = [
      r for r in ('start', 'end', 'bout_duration') if r in self._chosen.chosen
    ]
    cells = [self._chosen.cell(row, role) for role in times]
    missing = [cell_values.is_missing(cell) for cell in cells]
    label = self._label(row)
    if all(missing[:2]):
      if not cell_values.is_missing(label) and 'label' in self._chosen.chosen:
        self._result.bad.append(
          f'{where}: found neither start nor end of {json_files.shown(label)}'
        )
      return
    if any(missing[:2]) and all(c == '' for c, m in zip(cells, missing) if m):
      self._result.bad.append(
        f'{where}: expected both start and end, or neither'
      )
      return
    values = {role: self._number(row, role, where) for role in times}
    if None in (values['start'], values.get('end', 0.0)):
      return
    if 'label' in self._chosen.chosen and not label:
      self._result.bad.append(f'{where}: no label')
      return
    start = values['start']
    end = (
      values['end']
      if 'end' in values
      else start + (values['bout_duration'] or 0)
    )
    self._result.add(name, start, end, label, where)

  def _label(self, row: csv_tables.Row) -> str:
    if not self._labels:
      return self._chosen.cell(row, 'label')
    parts = (row.cells[k] for k in self._labels)
    return '+'.join(part for part in parts if not cell_values.is_missing(part))

  def _state(self, name: str, row: csv_tables.Row, where: str) -> None:
    duration = self._number(row, 'duration', where)
    fps = self._number(row, 'fps', where)
    values: dict[str, object] = {'duration_sec': duration, 'fps': fps}
    column = self._chosen.chosen.get('duration')
    if column and column.unit == 'frames' and duration is not None:
      values |= {'duration_sec': None, 'num_frames': round(duration)}
    text = self._chosen.cell(row, 'subset')
    if not cell_values.is_missing(text):
      values['subset'] = imported.subset_of(text)
      if values['subset'] is None:
        self._result.wrong.append(
          f'{where}: found subset {json_files.shown(text)}, expected training, '
          'validation or testing'
        )
    self._result.state(name, where, **values)

  def _number(self, row: csv_tables.Row, role: str, where: str) -> float | None:
    """The number in a column, in seconds where units are known."""
    text = self._chosen.cell(row, role)
    is_time = role in ('start', 'end', 'bout_duration')
    if text == '' or not is_time and cell_values.is_missing(text):
      return None
    try:
      number, unit = cell_values.parse(
        text, self._decimal[role], self._options.fps
      )
    except ValueError as problem:
      self._result.bad.append(
        f'{where}: found {role} {json_files.shown(text)}, expected {problem}'
      )
      return None
    column = self._chosen.chosen[role].unit
    if is_time and column == 'clock' and unit is None:
      self._result.bad.append(
        f'{where}: found {role} {json_files.shown(text)}, expected a clock time'
      )
      return None
    if is_time:
      self._stated += unit is not None
      self._bare += unit is None
    unit = unit or (column if column != 'clock' else None)
    return number * cell_values.SECONDS.get(unit or '', 1.0)


def _check_raters(path, table, chosen, result, options) -> None:
  """Warns where two people annotated the same, unless told whom to take."""
  column = chosen.chosen.get('annotator')
  if not column or column.name in options.where:
    return
  people = {f'row {row.line}': row.cells[column.index] for row in table.rows}
  counts = collections.Counter(people.values())
  if len(counts) < 2:
    return
  pairs = total = 0
  for recording in result.recordings.values():
    by_person = collections.defaultdict(list)
    for one in recording.instances:
      by_person[people[one.where]].append((one.start_sec, one.end_sec))
    first, *others = (np.array(rows) for rows in by_person.values())
    for other in others:
      total += min(len(first), len(other))
      tiou = segments_lib.tiou(first[:1000], other[:1000])
      pairs += int((tiou.max(axis=1) >= 0.5).sum())
  shown = ', '.join(f'{name} {n}' for name, n in counts.most_common(_MAX_NAMED))
  if total and pairs >= 0.3 * total:
    name, person = column.name, next(iter(counts))
    result.warnings.append(
      f'{path}: {len(counts)} people annotated the same recordings ({name}: '
      f'{shown}), {pairs} events overlap one of another person by half or '
      'more: taken together such events are there twice. Take one person, '
      f'--where={name}={person}, or all without this warning, '
      f'--where={name}={"|".join(counts)}'
    )
  result.notes.append(f'{column.name}: {shown}; all were taken')
