"""Tables as people have them: CSV in any dialect, spreadsheets.

Only what lies in the file: header, rows, how it was written. What a column
means is decided by whoever reads it (`annotations/columns.py`).
"""

import csv
import dataclasses
import datetime
import io
import os
import zipfile
from collections.abc import Callable, Sequence

from cmsn_jax.files import json_files

SPREADSHEETS = ('.xlsx', '.xlsm', '.xlsb', '.xls', '.ods')
_DELIMITERS = ',;\t|'
_NAMES = {
  ',': 'commas',
  ';': 'semicolons',
  '\t': 'tabs',
  '|': 'bars',
  ' ': 'spaces',
}
_BOMS = (
  (b'\xff\xfe\x00\x00', 'utf-32'),
  (b'\x00\x00\xfe\xff', 'utf-32'),
  (b'\xff\xfe', 'utf-16'),
  (b'\xfe\xff', 'utf-16'),
  (b'\xef\xbb\xbf', 'utf-8-sig'),
)
# A spreadsheet is an archive: a few kilobytes may promise gigabytes.
_MAX_UNPACKED = 300_000_000
# More than any event table, and than an hour of labelled frames.
_MAX_TEXT = 500_000_000


class TableError(ValueError):
  """A file is not the table that was expected."""


@dataclasses.dataclass(frozen=True)
class Row:
  """A row: its line number in the file, and its cells, stripped."""

  line: int
  cells: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
  """A table.

  Attributes:
    path: the file.
    header: names of the columns.
    rows: those below the header that are not blank.
    delimiter: what separated cells; '' in a spreadsheet.
    notes: what was chosen to read it, if not the usual: encoding, sheet.
    ragged: (line, number of cells) of rows of another width than the header;
      they are not among `rows`.
  """

  path: str
  header: tuple[str, ...]
  rows: tuple[Row, ...]
  delimiter: str = ','
  notes: tuple[str, ...] = ()
  ragged: tuple[tuple[int, int], ...] = ()

  def misfits(self) -> list[str]:
    """What is wrong with each ragged row, for the user."""
    return [
      f'row {line}: found {width} cells, expected {len(self.header)}'
      for line, width in self.ragged
    ]


def read_text(path: json_files.PathLike) -> tuple[str, str]:
  """A text file in whatever encoding, and which that was.

  Args:
    path: the file: with a byte-order mark (UTF-8, 16, 32), UTF-8, or else
      Windows-1252.
  Returns:
    the text, line ends as they are; the encoding's name.
  Raises:
    FileNotFoundError: if there is no such file.
    TableError: if it is no text.
  """
  size = json_files.require_file(path, TableError)
  if size > _MAX_TEXT:
    raise TableError(f'{path}: {size} bytes, too much for a table of labels')
  with open(path, 'rb') as file:
    content = file.read()
  encodings = ['utf-8', 'cp1252']
  for mark, name in _BOMS:
    if content.startswith(mark):
      encodings = [name]
      break
  else:
    if b'\x00' in content[1:4:2] and not content[0:1] == b'\x00':
      encodings = ['utf-16-le']
  for encoding in encodings:
    try:
      text = content.decode(encoding)
    except UnicodeDecodeError:
      continue
    odd = next((c for c in text if ord(c) < 32 and c not in '\t\n\r\f\v'), '')
    if odd:
      raise TableError(
        f'{path}: found the control character {odd!r}, expected a text file'
      )
    return text, encoding
  raise TableError(
    f'{path}: not a text file: found bytes that are not UTF-8 text nor another '
    'encoding known here (UTF-16 with its mark, Windows-1252)'
  )


def read(
  path: json_files.PathLike,
  find_header: Callable[[Sequence[str]], bool] | None = None,
) -> Table:
  """The table in a CSV file or on the first filled sheet of a spreadsheet.

  Commas, semicolons, tabs, bars or blanks separate; a first line `sep=;` says
  which. Blank lines and lines that begin with # are passed over.

  Args:
    path: the file.
    find_header: says of a row whether it is the header, in files that begin
      with other lines; None: the first row is.
  Returns:
    the table.
  Raises:
    FileNotFoundError: if there is no such file.
    TableError: if it is no table, or has no rows below its header.
  """
  path = os.fspath(path)
  notes: list[str] = []
  if path.lower().endswith(SPREADSHEETS):
    delimiter, rows = '', _sheet(path, notes)
  else:
    delimiter, rows = _delimited(path, notes, find_header)
  if find_header:
    at = next((k for k, row in enumerate(rows) if find_header(row.cells)), None)
    if at is None:
      raise TableError(f'{path}: found no header row')
    rows = rows[at:]
  if not rows:
    raise TableError(
      f'{path}: found the columns (none), expected a header row and rows'
    )
  header, rows = rows[0].cells, rows[1:]
  while header and not header[-1] and not any(_has(r, header) for r in rows):
    header = header[:-1]
  fitting, ragged = [], []
  for row in rows:
    cells = row.cells
    while len(cells) > len(header) and not cells[-1]:
      cells = cells[:-1]
    if len(cells) == len(header):
      fitting.append(Row(row.line, cells))
    else:
      ragged.append((row.line, len(cells)))
  if not fitting and not ragged:
    hint = ''
    if any(cell.replace('.', '', 1).isdigit() for cell in header):
      hint = '; is there no header row?'
    raise TableError(f'{path}: found a header but no rows{hint}')
  return Table(
    path, header, tuple(fitting), delimiter, tuple(notes), tuple(ragged)
  )


def headerless(path: json_files.PathLike) -> Table:
  """Likewise where the first row is a row like the others.

  The header is `column 1`, `column 2`, …
  """
  path, notes = os.fspath(path), []
  if path.lower().endswith(SPREADSHEETS):
    delimiter, rows = '', _sheet(path, notes)
  else:
    delimiter, rows = _delimited(path, notes)
  width = max((len(row.cells) for row in rows), default=0)
  header = tuple(f'column {k + 1}' for k in range(width))
  return Table(path, header, tuple(rows), delimiter, tuple(notes))


def _has(row: Row, header: Sequence[str]) -> bool:
  return len(row.cells) >= len(header) and bool(row.cells[len(header) - 1])


def _delimited(
  path: str,
  notes: list[str],
  find_header: Callable[[Sequence[str]], bool] | None = None,
) -> tuple[str, list[Row]]:
  text, encoding = read_text(path)
  if not encoding.startswith('utf-8'):
    notes.append(f'read as {encoding} text')
  lines = text.splitlines(keepends=True)
  skipped = 0
  delimiter = ''
  if lines and lines[0].lower().startswith('sep=') and len(lines[0]) < 8:
    delimiter = lines[0][4:5]
    skipped = 1
  while skipped < len(lines) and (
    not lines[skipped].strip() or lines[skipped].lstrip().startswith('#')
  ):
    skipped += 1
  first = lines[skipped] if skipped < len(lines) else ''
  if find_header:
    found = (
      sign
      for line in lines[:200]
      for sign in _DELIMITERS
      if find_header([cell.strip(' "\r\n') for cell in line.split(sign)])
    )
    delimiter = next(found, delimiter)
  if delimiter not in _NAMES or not delimiter.strip(' '):
    delimiter = max(_DELIMITERS, key=lambda d: _outside_quotes(first, d))
    if not _outside_quotes(first, delimiter):
      delimiter = ' ' if _blank_separated(lines[skipped:]) else ','
  if delimiter not in ',\t;':
    notes.append(f'cells are separated by {_NAMES[delimiter]}')
  if delimiter == ' ':
    rows = [
      Row(skipped + k + 1, tuple(line.split()))
      for k, line in enumerate(lines[skipped:])
      if line.strip() and not line.lstrip().startswith('#')
    ]
    return delimiter, rows
  rows = []
  reader = csv.reader(
    io.StringIO(''.join(lines[skipped:]), newline=''),
    delimiter=delimiter,
    strict=True,
    skipinitialspace=True,
  )
  try:
    for cells in reader:
      if cells and cells[0].lstrip().startswith('#'):
        continue
      if any(cell.strip() for cell in cells):
        stripped = tuple(cell.strip() for cell in cells)
        rows.append(Row(skipped + reader.line_num, stripped))
  except csv.Error as problem:
    raise TableError(
      f'{path}: not a CSV file: {problem} (line {skipped + reader.line_num})'
    ) from None
  return delimiter, rows


def _outside_quotes(line: str, delimiter: str) -> int:
  """How often the delimiter stands in a line, outside quotes."""
  return ''.join(line.split('"')[::2]).count(delimiter)


def _blank_separated(lines: Sequence[str]) -> bool:
  widths = {len(line.split()) for line in lines[:1000] if line.strip()}
  return len(widths) == 1 and widths != {1}


def _sheet(path: str, notes: list[str]) -> list[Row]:
  json_files.require_file(path, TableError)
  try:
    import python_calamine
  except ImportError:
    raise TableError(
      f'{path}: reading spreadsheets needs python-calamine: pip install -r '
      'requirements-formats.txt (or save the sheet as CSV)'
    ) from None
  _check_size(path)
  try:
    book = python_calamine.load_workbook(path)
    sheets = {}
    for name in book.sheet_names:
      cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
      if any(any(_cell(value) for value in row) for row in cells):
        sheets[name] = cells
  except Exception as problem:
    raise TableError(f'{path}: not a readable spreadsheet: {problem}') from None
  except BaseException as problem:
    # What the library's own faults look like; they are no Exception.
    if type(problem).__name__ != 'PanicException':
      raise
    raise TableError(f'{path}: not a readable spreadsheet') from None
  if not sheets:
    raise TableError(f'{path}: all sheets are empty')
  name = next(iter(sheets))
  if len(sheets) > 1:
    others = ', '.join(repr(other) for other in list(sheets)[1:6])
    notes.append(f'the sheet {name!r} was read; there are {others} too')
  rows = []
  for k, values in enumerate(sheets[name]):
    cells = tuple(_cell(value).strip() for value in values)
    if any(cells) and not cells[0].startswith('#'):
      rows.append(Row(k + 1, cells))
  return rows


def _check_size(path: str) -> None:
  if not zipfile.is_zipfile(path):
    return
  try:
    with zipfile.ZipFile(path) as archive:
      size = sum(item.file_size for item in archive.infolist())
  except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
    raise TableError(f'{path}: not a readable spreadsheet') from None
  if size > _MAX_UNPACKED:
    raise TableError(
      f'{path}: unpacks to {size} bytes, too much for a table of labels'
    )


def _cell(value: object) -> str:
  """A spreadsheet's cell as CSV would have it; times of day as clock times."""
  if isinstance(value, bool):
    return str(int(value))
  if isinstance(value, float):
    return str(int(value)) if value.is_integer() else repr(value)
  if isinstance(value, datetime.timedelta):
    seconds = value.total_seconds()
    minutes = int(seconds // 60)
    return f'{minutes // 60}:{minutes % 60:02}:{seconds - 60 * minutes:09.6f}'
  if isinstance(value, (datetime.date, datetime.time)):
    return value.isoformat()
  return str(value)
