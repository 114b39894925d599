"""BORIS: aggregated and tabular events in any table, and its project files."""

import re
from collections.abc import Mapping, Sequence

from cmsn_jax.annotations import imported, observations, pairing, sample
from cmsn_jax.annotations.formats import csv as csv_format
from cmsn_jax.files import cell_values, csv_tables, json_files, video_ids

_MARKS = {
  'media file name', 'media file path', 'media file', 'source',
  'observation type',
}  # fmt: skip


def _is_header(cells: Sequence[str]) -> bool:
  names = {cell.lower() for cell in cells}
  return (
    'behavior' in names
    and bool(names & _MARKS)
    and ({'start (s)', 'stop (s)'} <= names or _is_log(names))
  )


def _is_log(names: set[str]) -> bool:
  return 'time' in names and bool(names & {'behavior type', 'status'})


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  document = file.document
  if isinstance(document, dict) and 'observations' in document:
    if {'behaviors_conf', 'project_format_version', 'time_format'} & set(
      document
    ):
      return 'a BORIS project'
    return None
  if document is not None:
    return None
  if _is_header(tuple(file.header)):
    if {'start (s)', 'stop (s)'} <= file.header:
      return 'aggregated events of BORIS'
    return 'tabular events of BORIS'
  for line in file.lines:
    cells = [cell.strip(' "') for cell in re.split(r'[\t,;]', line)]
    if _is_header(cells):
      return 'tabular events of BORIS, below a heading'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """The state events of all observations; points as the options say."""
  result = imported.Imported(file.path, 'seconds')
  if isinstance(file.document, dict):
    _project(file.document, result, options)
  else:
    _table(file, result, options)
  return result


def _table(file, result, options) -> None:
  table = csv_format.below_heading(file, _is_header, options, result)
  rows = _Rows(table, result, options)
  rows.read()
  rows.tell()


class _Rows:
  """Reads the rows of an exported table."""

  def __init__(self, table, result, options):
    self._table, self._result, self._options = table, result, options
    self._index: dict[str, int] = {}
    for k, name in enumerate(table.header):
      self._index.setdefault(name.lower(), k)
    self._log = 'start (s)' not in self._index
    self._modifiers = [
      k for name, k in self._index.items() if name.startswith('modifier')
    ]
    self._labels = [
      csv_format.columns_lib.named(table, name, '--labels_from')
      for name in options.labels_from
    ]
    cells = [
      row.cells[self._index[name]]
      for row in table.rows
      for name in ('time', 'start (s)', 'stop (s)')
      if name in self._index
    ]
    try:
      self._decimal = cell_values.decimal_sign(cells, options.decimal)
    except ValueError as problem:
      raise csv_tables.TableError(f'{table.path}: {problem}') from None
    label = (
      '+'.join(options.labels_from) or table.header[self._index['behavior']]
    )
    times = (
      {'time': 'time'}
      if self._log
      else {'start (s)': 'start', 'stop (s)': 'end'}
    )
    shown = {
      name: role
      for name, role in (
        ('media file name', 'recording'),
        ('media file path', 'recording'), ('media file', 'recording'),
        *times.items(),
        ('media duration (s)', 'duration'), ('total length', 'duration'), ('fps (frame/s)', 'fps'), ('fps', 'fps'),
      )
      if name in self._index
    }  # fmt: skip
    mapped = ', '.join(
      f'{role} ← {table.header[self._index[name]]}'
      for name, role in shown.items()
    )
    result.notes.append(f'columns: {mapped}, label ← {label}')
    self._observations: dict[tuple, observations.Observation] = {}
    self._pairs = pairing.Pairs(result)
    self._offsets: set[float] = set()
    self._subjects: set[str] = set()
    self._modified = False

  def _cell(self, row, *names: str) -> str:
    for name in names:
      if name in self._index:
        text = row.cells[self._index[name]]
        if not cell_values.is_missing(text):
          return text
    return ''

  def read(self) -> None:
    for row in self._table.rows:
      self._row(row)
    self._pairs.finish()

  def _row(self, row) -> None:
    where = f'row {row.line}'
    observation = self._observation(row, where)
    if observation is None:
      return
    behavior = self._cell(row, 'behavior')
    if not behavior:
      self._result.bad.append(f'{where}: no behavior')
      return
    subject = self._cell(row, 'subject')
    modifiers = tuple(
      row.cells[k]
      for k in self._modifiers
      if not cell_values.is_missing(row.cells[k])
    )
    self._subjects.add(subject)
    self._modified = self._modified or bool(modifiers)
    label = behavior
    if self._labels:
      parts = (row.cells[k] for k in self._labels)
      label = '+'.join(p for p in parts if not cell_values.is_missing(p))
    kind = self._cell(row, 'behavior type', 'status').upper()
    if not self._log:
      start, stop = (
        self._time(row, name, where, behavior)
        for name in ('start (s)', 'stop (s)')
      )
      if start is None or (stop is None and kind != 'POINT'):
        return
      if kind == 'POINT':
        observation.add_point(start, label, where)
      else:
        observation.add(start, stop, label, where)
      return
    at = self._time(row, 'time', where, behavior)
    if at is None:
      return
    key = (id(observation), subject, modifiers, behavior)
    if kind == 'POINT':
      observation.add_point(at, label, where)
    elif kind in ('START', 'STATE START'):
      self._pairs.start(key, at, where)
    elif kind in ('STOP', 'STATE STOP'):
      begun = self._pairs.stop(key, where)
      if begun:
        observation.add(begun[0], at, label, begun[1])
    else:
      self._result.bad.append(
        f'{where}: found the behavior type {json_files.shown(kind)}, expected '
        'START, STOP or POINT'
      )

  def _time(self, row, column: str, where: str, behavior: str) -> float | None:
    text = row.cells[self._index[column]]
    if cell_values.is_missing(text):
      if column != 'stop (s)' or self._cell(row, 'behavior type') != 'POINT':
        self._result.bad.append(f'{where}: no {column} of {behavior!r}')
      return None
    try:
      return cell_values.parse(text, self._decimal, self._options.fps).number
    except ValueError as problem:
      self._result.bad.append(
        f'{where}: found {column} {json_files.shown(text)}, expected {problem}'
      )
      return None

  def _observation(self, row, where: str) -> observations.Observation | None:
    source = self._cell(row, 'source')
    name = self._cell(row, 'observation id')
    shown = self._cell(row, 'media file name', 'media file path', 'media file')
    if shown.lower() == 'not found':
      shown = ''
    names = _files(source)
    # Without the list of files, the file that an event is in is all there is.
    key = (name, source, '' if len(names) > 1 else shown)
    if key in self._observations:
      return self._observations[key]
    if len(names) <= 1:
      names = [shown or (names[0] if names else name)]
    if not names[0]:
      self._result.bad.append(
        f'{where}: names no media file and no observation'
      )
      return None
    durations = self._numbers(
      row, len(names), 'media duration (s)', 'total length'
    )
    rates = self._numbers(row, len(names), 'fps (frame/s)', 'fps')
    offset = self._cell(row, 'time offset (s)')
    if offset and offset.strip('0.,:') and offset not in self._offsets:
      self._offsets.add(offset)
      self._result.notes.append(
        f'{where}: the observation has a time offset of {offset} s; times are '
        'taken as they stand, from the beginning of the media file'
      )
    observation = observations.Observation(
      self._result,
      self._options,
      name,
      observations.queue(names, durations, rates),
      where,
    )
    self._observations[key] = observation
    observed = self._numbers(row, 1, 'observation duration')
    if len(names) == 1 and observed[:1] and observed[0]:
      self._result.recording(names[0]).likely_sec = observed[0]
    return observation

  def _numbers(self, row, count: int, *names: str) -> list[float | None]:
    """The numbers of player 1 in a cell that lists them for all files."""
    text = self._cell(row, *names).split('|')[0]
    text = re.sub(r'player #\d+:', '', text)
    separator = r'[;\s]+' if self._decimal == ',' else r'[;,\s]+'
    numbers: list[float | None] = []
    for part in re.split(separator, text.strip()):
      # A list of numbers is text: its points stay where times have commas.
      decimal = ',' if ',' in part else '.'
      try:
        number = cell_values.parse(part, decimal).number
      except ValueError:
        number = 0.0
      numbers.append(number if number > 0 else None)
    return numbers if len(numbers) == count else []

  def tell(self) -> None:
    """Notes of what could be part of the label and is not."""
    if self._labels:
      return
    if len(self._subjects) > 1:
      self._result.notes.append(
        f'{len(self._subjects)} subjects '
        f'({imported.some(sorted(self._subjects))}) are not part of the label: '
        '--labels_from=Behavior+Subject makes them so'
      )
    if self._modified:
      names = '+'.join(self._table.header[k] for k in self._modifiers)
      self._result.notes.append(
        'modifiers are not part of the label: '
        f'--labels_from=Behavior+{names} makes them so'
      )


def _files(source: str) -> list[str]:
  """Media files of the first player: `player #1:a.mp4;b.mp4|player #2:c.mp4`."""
  players = re.split(r'\s*\|?\s*player #(\d+):\s*', source)
  if len(players) == 1:
    return [part.strip() for part in source.split(';') if part.strip()]
  first = players[1]
  found: list[str] = []
  for number, files in zip(players[1::2], players[2::2]):
    if number == first:
      found += [part.strip() for part in files.split(';') if part.strip()]
  return found


def _project(document: dict, result, options) -> None:
  found = document['observations']
  if not isinstance(found, dict):
    raise csv_tables.TableError(
      f'{result.source}: found {json_files.shown(found)} as the '
      'observations of a BORIS project, expected an object'
    )
  kinds = {}
  behaviors = document.get('behaviors_conf')
  for entry in behaviors.values() if isinstance(behaviors, dict) else ():
    if isinstance(entry, dict) and isinstance(entry.get('code'), str):
      kinds[entry['code']] = str(entry.get('type', '')).lower()
  for name, entry in found.items():
    shown = video_ids.shown(name)
    if not isinstance(entry, dict):
      result.wrong.append(
        f'{shown}: found {json_files.shown(entry)}, expected an observation'
      )
      continue
    _project_observation(shown, name, entry, kinds, result, options)


def _project_observation(shown, name, entry, kinds, result, options) -> None:
  queue = _project_queue(entry)
  observation = observations.Observation(result, options, name, queue, shown)
  pairs = pairing.Pairs(result)
  events = entry.get('events')
  timed = []
  for k, event in enumerate(events if isinstance(events, list) else ()):
    where = f'{shown}, event {k + 1}'
    at = (
      json_files.number(event[0]) if isinstance(event, list) and event else None
    )
    if at is None or len(event) < 3 or not isinstance(event[2], str):
      result.bad.append(
        f'{where}: found {json_files.shown(event)}, expected [time, subject, '
        'behavior, modifiers, …]'
      )
      continue
    timed.append((at, where, event))
  for at, where, event in sorted(timed, key=lambda item: item[0]):
    subject, behavior = str(event[1]), event[2]
    modifiers = str(event[3]) if len(event) > 3 else ''
    label = _project_label(options, subject, behavior, modifiers)
    if 'point' in kinds.get(behavior, ''):
      observation.add_point(at, label, where)
      continue
    key = (subject, modifiers, behavior)
    if pairs.is_open(key):
      begun = pairs.stop(key, where)
      observation.add(begun[0], at, label, begun[1])
    else:
      pairs.start(key, at, where)
  pairs.finish()


def _project_queue(entry: Mapping) -> list[observations.Media]:
  files = entry.get('file')
  players = files if isinstance(files, dict) else {'1': files}
  first = next(
    (p for _, p in sorted(players.items()) if isinstance(p, list) and p), []
  )
  names = [str(name) for name in first]
  info = entry.get('media_info')
  info = info if isinstance(info, dict) else {}

  def listed(key: str) -> list[float | None]:
    table = info.get(key)
    table = table if isinstance(table, dict) else {}
    values = [json_files.number(table.get(name)) for name in names]
    return [value if value and value > 0 else None for value in values]

  return observations.queue(names, listed('length'), listed('fps'))


def _project_label(options, subject: str, behavior: str, modifiers: str) -> str:
  if not options.labels_from:
    return behavior
  parts = []
  for name in options.labels_from:
    known = {'behavior': behavior, 'subject': subject, 'modifiers': modifiers}
    if name.lower() not in known:
      raise csv_tables.TableError(
        f'--labels_from: a BORIS project has Behavior, Subject and Modifiers, '
        f'no {name!r}'
      )
    parts.append(known[name.lower()])
  return '+'.join(p for p in parts if not cell_values.is_missing(p))
