"""Which column of a table means what.

By the names that people use, with the units in them. Two columns of one
meaning are an error, unless a unit decides or one of them plainly is something
else (a row number, a class index).
"""

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence

from cmsn_jax.annotations import column_names
from cmsn_jax.files import cell_values, csv_tables, json_files

_UNIT_ORDER = (
  'seconds', 'milliseconds', 'minutes', 'hours', 'days', 'clock', None, 'frames',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Columns:
  """The columns that were chosen, by role, and what to tell of the choice."""

  chosen: Mapping[str, column_names.Column]
  notes: tuple[str, ...] = ()

  def cell(self, row: csv_tables.Row, role: str) -> str:
    """The row's cell of a role; '' where there is no such column."""
    column = self.chosen.get(role)
    return row.cells[column.index] if column else ''

  def shown(self) -> str:
    """`recording ← Media file name, start ← Start (s), …`"""
    return ', '.join(
      f'{column_names.SHOWN.get(role, role)} ← {column.name}'
      + (f' [{column.unit}]' if column.unit in ('frames', 'clock') else '')
      for role, column in self.chosen.items()
    )


def choose(
  table: csv_tables.Table,
  stated: Mapping[str, str] | None = None,
  needed: Sequence[str] = ('video', 'start', 'end', 'label'),
  labels_from: Sequence[str] = (),
) -> Columns:
  """The columns of a table by role.

  Args:
    table: the table.
    stated: names of columns by role, as the user says them.
    needed: roles that must be there. A start with the event's duration does
      for an end; without a label and without any other text in the table all
      instances are of one kind.
    labels_from: columns that make the label, instead of one.
  Returns:
    the choice.
  Raises:
    TableError: if a needed column is missing, or two have one meaning.
  """
  return _Choice(table, stated or {}, needed, labels_from).columns()


def named(table: csv_tables.Table, name: str, flag: str) -> int:
  """Place of the column that a user names.

  Raises:
    TableError: if there is none, or several.
  """
  for fold in (str, str.casefold):
    found = [k for k, h in enumerate(table.header) if fold(h) == fold(name)]
    if len(found) == 1:
      return found[0]
    if found:
      raise csv_tables.TableError(
        f'{table.path}: {len(found)} columns are called {name!r}; rename one '
        f'({flag})'
      )
  close = difflib.get_close_matches(name, table.header, 1)
  hint = f' (did you mean {close[0]!r}?)' if close else ''
  raise csv_tables.TableError(
    f'{table.path}: no column {json_files.shown(name)}{hint}, as {flag} says; '
    f'there are {_listed(table.header)}'
  )


def _listed(names: Sequence[str]) -> str:
  shown = ', '.join(json_files.shown(name, 30) for name in names[:12])
  return (shown or '(none)') + (', …' if len(names) > 12 else '')


def _bout_scales(
  start: column_names.Column,
  column: column_names.Column,
  pairs: Sequence[tuple[float, float]],
) -> list[tuple[int, float]]:
  """How an event's duration may be counted, beside end - start.

  Args:
    start: the column of starts.
    column: that may be the events' duration.
    pairs: (end - start, duration) of each row.
  Returns:
    (how many the last frame adds, times' units in one of the duration's).
  """
  if start.unit != 'frames':
    seconds = cell_values.SECONDS
    if column.unit not in seconds:
      return [(0, 1.0)]
    return [(0, seconds[column.unit] / seconds.get(start.unit or '', 1.0))]
  scales = [(0, 1.0), (1, 1.0)]
  length, duration = max(pairs, default=(0.0, 0.0))
  if len(set(pairs)) > 1 and duration > 0:
    # Frames beside seconds: of one frame rate in all rows.
    rates = [(more, (length + more) / duration) for more in (0, 1)]
    scales += [(more, rate) for more, rate in rates if 4 <= rate <= 1000]
  return scales


class _Choice:
  """Chooses the columns of one table."""

  def __init__(self, table, stated, needed, labels_from):
    self._table = table
    self._needed = needed
    self._labels_from = labels_from
    self._notes: list[str] = []
    self._all = [
      column_names.understand(k, name) for k, name in enumerate(table.header)
    ]
    self._stated = {}
    for role, name in stated.items():
      if role not in column_names.ROLES:
        raise csv_tables.TableError(
          f'{table.path}: --columns={role}={name}: no meaning {role!r}; there '
          f'are {", ".join(column_names.ROLES)}'
        )
      index = named(table, name, f'--columns={role}={name}')
      column = dataclasses.replace(self._all[index], role=role, rank=0)
      self._stated[role] = column
    taken = {column.index for column in self._stated.values()}
    self._free = [c for c in self._all if c.index not in taken]

  def columns(self) -> Columns:
    chosen = {}
    for role in ('video', *self._times(), 'label', *column_names.ROLES[4:]):
      if role == 'label' and self._labels_from:
        continue
      column = (
        role if isinstance(role, column_names.Column) else self._one(role)
      )
      if column:
        chosen[column.role] = column
    self._durations(chosen)
    if 'end' not in chosen and 'bout_duration' in chosen:
      self._notes.append('the end of an event is its start and its duration')
    missing = [
      role
      for role in self._needed
      if role not in chosen
      and not (role == 'end' and 'bout_duration' in chosen)
      and not (role == 'label' and (self._labels_from or self._no_text(chosen)))
    ]
    if missing:
      self._refuse(missing, chosen)
    self._refuse_shares(chosen)
    return Columns(chosen, tuple(self._notes))

  def _refuse(self, missing, chosen):
    header = self._table.header
    hint = ''
    if any(re.fullmatch(r'\s*-?\d+(\.\d+)?\s*', name) for name in header):
      hint = '; is there no header row?'
    else:
      used = {column.index for column in chosen.values()}
      free = [c for c in self._all if c.index not in used]
      close = difflib.get_close_matches(missing[0], [c.name for c in free], 1)
      texts = [c.name for c in free if not c.role and self._is_text(c)]
      other = (close or texts or [c.name for c in free] or ['NAME'])[0]
      hint = f'; is {other!r} the {missing[0]}?' if close else '.'
      hint += f' Say it with --columns={missing[0]}={other}'
      if missing[0] == 'video':
        hint += ', or --recording=NAME if the file is about one recording'
    raise csv_tables.TableError(
      f'{self._table.path}: found the columns {_listed(header)}, expected a '
      f'header row with {", ".join(self._needed)}: no {", ".join(missing)}{hint}'
    )

  def _refuse_shares(self, chosen):
    """Per cent are of each recording's length: no unit of time."""
    for role in ('start', 'end', 'bout_duration', 'duration'):
      column = chosen.get(role)
      if column and role not in self._stated and '%' in column.name:
        raise csv_tables.TableError(
          f'{self._table.path}: {column.name!r} is a share of the recording, '
          'expected times: multiply by its duration / 100 first; if the values '
          f'are times all the same, say --columns={role}={column.name}'
        )

  def _no_text(self, chosen) -> bool:
    """Whether no column is left that could be the label."""
    used = {column.index for column in chosen.values()}
    return not any(
      column.index not in used and not column.unit and self._is_text(column)
      for column in self._all
    )

  def _cells(self, column: column_names.Column) -> list[str]:
    return [row.cells[column.index] for row in self._table.rows]

  def _is_text(self, column: column_names.Column) -> bool:
    return any(
      not re.fullmatch(r'[-+\d.,:e ]*', cell)
      and not cell_values.is_missing(cell)
      for cell in self._cells(column)
    )

  def _is_filled(self, column: column_names.Column) -> bool:
    return any(not cell_values.is_missing(cell) for cell in self._cells(column))

  def _one(self, role: str) -> column_names.Column | None:
    """The column of a role, or None."""
    if role in self._stated:
      return self._stated[role]
    found = [c for c in self._free if c.role == role]
    if len(found) > 1:
      found = [c for c in found if self._is_filled(c)] or found[:1]
    if len(found) > 1 and role == 'video':
      found = self._recordings(found)
    if len(found) > 1 and role == 'label':
      texts = [c for c in found if self._is_text(c)]
      if texts and len(texts) < len(found):
        others = [c.name for c in found if c not in texts]
        self._notes.append(f'{", ".join(others)}: numbers, not the label')
        found = texts
    if len(found) > 1 and role != 'video':
      best = min(c.rank for c in found)
      others = [c.name for c in found if c.rank > best]
      found = [c for c in found if c.rank == best]
      if others:
        self._notes.append(
          f'{found[0].name} is the {column_names.SHOWN.get(role, role)}, not '
          f'{", ".join(others)}'
        )
    return self._same(role, found)

  def _same(
    self, role: str, found: list[column_names.Column]
  ) -> column_names.Column | None:
    """The first of columns with equal cells."""
    if not found:
      return None
    cells = self._cells(found[0])
    for other in found[1:]:
      if self._cells(other) != cells:
        self._ambiguous(role, found)
    return found[0]

  def _ambiguous(self, role: str, found: list[column_names.Column]):
    names = ' and '.join(repr(c.name) for c in found)
    if len({c.name for c in found}) < len(found):
      remedy = 'rename one in the file'
    else:
      remedy = f'say which, e.g. --columns={role}={found[-1].name}'
    raise csv_tables.TableError(
      f'{self._table.path}: the columns {names} may both be the '
      f'{column_names.SHOWN.get(role, role)}, and differ; {remedy}'
    )

  def _recordings(
    self, found: list[column_names.Column]
  ) -> list[column_names.Column]:
    """Of columns that may name the recording, those that do."""
    counters = [c for c in found if c.rank == 2 and self._counts_rows(c)]
    if len(counters) < len(found):
      found = [c for c in found if c not in counters]
    found = sorted(found, key=lambda c: c.rank)
    kept, others = found[:1], [c.name for c in counters]
    for other in found[1:]:
      if other.rank == found[0].rank or not (
        (found[0].rank, other.rank) == (0, 2)
        or self._one_to_one(found[0], other)
      ):
        kept.append(other)
      else:
        others.append(other.name)
    if others and len(kept) == 1:
      self._notes.append(
        f'{kept[0].name} names the recording, not {", ".join(others)}'
      )
    return kept

  def _counts_rows(self, column: column_names.Column) -> bool:
    cells = self._cells(column)
    return len(set(cells)) == len(cells) and (
      all(re.fullmatch(r'\d+', cell) for cell in cells)
      or column_names.words_of(column.name) == ['id']
    )

  def _one_to_one(
    self, one: column_names.Column, other: column_names.Column
  ) -> bool:
    pairs = set(zip(self._cells(one), self._cells(other)))
    return (
      len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    )

  def _times(self) -> list:
    """The columns of start and end: of one unit, the plainest there is."""
    parts = {}
    for role in ('start', 'end'):
      parts[role] = [c for c in self._free if c.role == role]
      if len(parts[role]) > 1:
        parts[role] = [c for c in parts[role] if self._is_filled(c)]
      if role in self._stated:
        parts[role] = [self._stated[role]]
    starts, ends = parts['start'], parts['end']
    if not starts or not ends:
      return [self._of_unit('start', starts)] if starts else []
    common = {c.unit for c in starts} & {c.unit for c in ends}
    if not common:
      pair = [self._of_unit('start', starts), self._of_unit('end', ends)]
      units = {c.unit for c in pair if c}
      if len(units - {None}) > 1:
        raise csv_tables.TableError(
          f'{self._table.path}: {pair[0].name!r} and {pair[1].name!r} are in '
          'different units; say which columns, e.g. '
          f'--columns=start={starts[-1].name},end={ends[-1].name}'
        )
      unit = next(iter(units - {None}), None)
      return [dataclasses.replace(c, unit=unit) for c in pair]
    wanted = unit = next(u for u in _UNIT_ORDER if u in common)
    if unit is None and 'frames' in common:
      unit = self._seconds_beside_frames(starts)
    chosen = [
      self._same(role, [c for c in parts[role] if c.unit == wanted])
      for role in ('start', 'end')
    ]
    others = [c.name for c in (*starts, *ends) if c not in chosen]
    if others:
      why = f'{unit}, stated' if wanted else 'seconds'
      self._notes.append(
        f'times are {chosen[0].name}, {chosen[1].name} ({why}), not '
        f'{", ".join(others)}'
      )
    return [dataclasses.replace(c, unit=unit or c.unit) for c in chosen]

  def _of_unit(
    self, role: str, found: list[column_names.Column]
  ) -> column_names.Column | None:
    if not found:
      return None
    unit = next(u for u in _UNIT_ORDER if u in {c.unit for c in found})
    return self._same(role, [c for c in found if c.unit == unit])

  def _seconds_beside_frames(
    self, starts: list[column_names.Column]
  ) -> str | None:
    """Whether columns without a unit are the frames' columns in seconds."""
    plain = next(c for c in starts if c.unit is None)
    frames = next(c for c in starts if c.unit == 'frames')
    ratios = []
    for row in self._table.rows[:5000]:
      try:
        time, unit = cell_values.parse(row.cells[plain.index])
        if unit:  # 00:00:03.5, or 3.5 s: it says so itself.
          return unit
        frame = cell_values.parse(row.cells[frames.index]).number
      except ValueError:
        continue
      if time > 0.5:
        ratios.append((frame / time, 2 / time))
    ratios.sort()
    middle = ratios[len(ratios) // 2][0] if ratios else 0.0
    near = [
      r for r, slack in ratios if abs(r - middle) <= slack + 0.25 * middle
    ]
    if 4 <= middle <= 1000 and len(near) >= 0.9 * len(ratios):
      self._notes.append(
        f'{plain.name} is in seconds: {frames.name} is about {middle:.4g} times '
        'as much'
      )
      return 'seconds'
    self._ambiguous('start', [plain, frames])
    return None

  def _durations(self, chosen: dict[str, column_names.Column]) -> None:
    """Whether a column "duration" is the recording's or the event's."""
    found = [c for c in self._free if c.role == 'some_duration']
    found = [c for c in found if self._is_filled(c)]
    if not found or 'start' not in chosen:
      if found and 'duration' not in chosen:
        column = self._same('duration', found)
        chosen['duration'] = dataclasses.replace(column, role='duration')
      return
    if 'end' not in chosen and 'bout_duration' not in chosen:
      column = self._same('bout_duration', found)
      self._check_bouts(chosen, column)
      chosen['bout_duration'] = dataclasses.replace(
        column, role='bout_duration'
      )
      return
    bouts = [c for c in found if self._is_end_less_start(chosen, c)]
    if bouts:
      self._notes.append(
        f'{bouts[0].name} is end - start in every row: the duration of the '
        'event, not of the recording'
      )
    rest = [c for c in found if c not in bouts]
    if 'duration' in chosen:
      if rest:
        self._notes.append(
          f'{chosen["duration"].name} is the duration of the recording, not '
          f'{rest[0].name}'
        )
    elif rest:
      column = self._same('duration', rest)
      chosen['duration'] = dataclasses.replace(column, role='duration')

  def _is_end_less_start(self, chosen, column: column_names.Column) -> bool:
    """Whether a column is the events' duration, as its values say."""
    if 'end' not in chosen:
      return False
    pairs = []
    for row in self._table.rows:
      try:
        start, end, duration = (
          cell_values.parse(row.cells[c.index].replace(',', '.')).number
          for c in (chosen['start'], chosen['end'], column)
        )
      except ValueError:
        continue
      pairs.append((end - start, duration))
    return bool(pairs) and any(
      all(
        abs(length + more - factor * duration)
        <= 0.02 * factor * abs(duration) + 0.0501
        for length, duration in pairs
      )
      for more, factor in _bout_scales(chosen['start'], column, pairs)
    )

  def _check_bouts(self, chosen, column: column_names.Column) -> None:
    """Refuses a duration that may be the recording's as well."""
    if 'video' not in chosen:
      return
    by_video: dict[str, set] = {}
    rows = 0
    for row in self._table.rows:
      by_video.setdefault(row.cells[chosen['video'].index], set()).add(
        row.cells[column.index]
      )
      rows += 1
    if rows > len(by_video) and all(len(v) == 1 for v in by_video.values()):
      raise csv_tables.TableError(
        f'{self._table.path}: there is no end, and {column.name!r} is the same '
        "in all rows of a recording: is it the event's duration "
        f"(--columns=bout_duration={column.name}) or the recording's?"
      )
