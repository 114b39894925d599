"""Tables in CSV files with the column names that people use."""

import csv
import dataclasses
import difflib
import math
import re
from collections.abc import Sequence

from cmsn_jax.files import json_files

# Our name of a column: other spellings, without case, spaces and signs.
_NAMES = {
  'video': 'video videoid videoname vid id name file filename clip',
  'start': 'start startsec starttime tstart tinit begin startseconds starts '
  'from onset',
  'end': 'end endsec endtime tend stop endseconds ends to offset',
  'label': 'label class action category labelname classname activity '
  'behavior behaviour event',
  'subset': 'subset split set partition',
  'duration': 'duration durationsec videoduration durationseconds length '
  'lengthsec videolength',
  'fps': 'fps framerate videofps',
}
_COLUMN = {
  name: column for column, names in _NAMES.items() for name in names.split()
}
_DELIMITERS = ',;\t'


class TableError(ValueError):
  """A CSV file is not the table that was expected."""


@dataclasses.dataclass(frozen=True)
class Row:
  """One row: its line number in the file, its values by our column names."""

  line: int
  values: dict[str, str]

  def number(self, column: str, problems: list[str]) -> float | None:
    """The finite number in a column; None where empty or absent.

    Anything else adds a line to `problems`, and is None too.
    """
    text = self.values.get(column, '')
    if not text:
      return None
    try:
      value = float(text)
    except ValueError:
      value = math.nan
    # float() also takes 1_000 and words for infinity.
    if math.isfinite(value) and '_' not in text:
      return value
    hint = ''
    if re.fullmatch(r'-?\d+,\d+', text):
      hint = ' with a decimal point'
    elif re.fullmatch(r'\d+:\d+(:\d+)?([.,]\d+)?', text):
      hint = ' of seconds, not a clock time'
    problems.append(
      f'row {self.line}: found {column} {json_files.shown(text)}, expected a '
      f'number{hint}'
    )
    return None


def read(path: json_files.PathLike, required: Sequence[str]) -> list[Row]:
  """The rows of a CSV file below its header.

  The header's first known spelling of each column counts, whatever the case;
  unknown columns are left out. Commas, semicolons and tabs separate.

  Args:
    path: the file, UTF-8.
    required: columns, by our names, that must be there.
  Returns:
    the rows that are not blank, in file order.
  Raises:
    FileNotFoundError: if there is no such file.
    TableError: if it is not UTF-8 text, has no rows, lacks a required column
      or has a row of another length than the header.
  """
  json_files.require_file(path, TableError)
  try:
    with open(path, encoding='utf-8-sig', newline='') as file:
      first = file.readline(1_000_000)
      delimiter = max(_DELIMITERS, key=first.count)
      file.seek(0)
      reader = csv.reader(file, delimiter=delimiter, strict=True)
      header = next(reader, [])
      columns = _columns(path, header, required)
      return _rows(path, reader, columns, len(header))
  except UnicodeDecodeError as problem:
    raise TableError(
      f'{path}: found bytes that are not UTF-8 text at byte {problem.start}'
    ) from None
  except csv.Error as problem:
    raise TableError(f'{path}: not a CSV file: {problem}') from None


def _columns(
  path: json_files.PathLike, header: list[str], required: Sequence[str]
) -> dict[str, int]:
  columns = {}
  for k, name in enumerate(header):
    # "start (s)", "video-name", "t_init" and the like.
    plain = re.sub(r'\((s|sec|seconds)\)$', '', name.strip().lower())
    column = _COLUMN.get(re.sub(r'[^a-z]', '', plain))
    if column:
      columns.setdefault(column, k)
  missing = [column for column in required if column not in columns]
  if not missing:
    return columns
  shown = ', '.join(json_files.shown(name, 30) for name in header[:12])
  hint = ''
  if any(re.search('frame|f-init', name.lower()) for name in header):
    hint = '; frame numbers must be divided by the frame rate first'
  elif any(re.fullmatch(r'\s*-?\d+(\.\d+)?\s*', name) for name in header):
    hint = '; is there no header row?'
  else:
    close = difflib.get_close_matches(missing[0], header, 1)
    hint = f'; is {close[0]!r} the {missing[0]}?' if close else ''
  raise TableError(
    f'{path}: found the columns {shown or "(none)"}, expected a header row with '
    f'{", ".join(required)}: no {", ".join(missing)}{hint}'
  )


def _rows(path, reader, columns, width) -> list[Row]:
  rows, problems = [], []
  for cells in reader:
    if not any(cell.strip() for cell in cells):
      continue
    if len(cells) != width:
      problems.append(
        f'row {reader.line_num}: found {len(cells)} cells, expected {width}'
      )
      continue
    values = {column: cells[k].strip() for column, k in columns.items()}
    rows.append(Row(reader.line_num, values))
  if problems:
    shown = '\n  '.join(problems[:100])
    count = json_files.problems_found(len(problems))
    raise TableError(f'{path}: {count}\n  {shown}')
  if not rows:
    raise TableError(f'{path}: found a header but no rows')
  return rows
