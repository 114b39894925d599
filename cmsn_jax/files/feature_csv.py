"""One `[T, D]` array in a text table: header, separator and columns found out.

Commas, semicolons or tabs separate; with the latter two a decimal comma is
understood. Columns that number or time the rows are no features: they are left
out, and a note says so.
"""

import csv
import os
import re
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Shaped

from cmsn_jax.files import feature_arrays, json_files

FeatureFileError = feature_arrays.FeatureFileError

_MAX_HEADER_BYTES = 4_000_000
_SAMPLE_ROWS = 50
_CHUNK_BYTES = 2**20
# Names of columns that may number or time the rows; their values decide.
_NUMBERING = re.compile(
  r'(unnamed:_?0|index|idx|row|frames?|frame_?(number|num|no|id|idx|index|nr)?'
  r'|snippet|t|times?|time_?(s|sec|seconds|ms|stamp)|timestamps?|seconds?|sec)?'
)
# What the columns of annotation tables are called: no row a snippet.
_TABLE_NAMES = frozenset(
  'video videoid videoname file filename mediafile recording clip subject id '
  'start end startsec endsec starttime endtime tstart tend onset offset label '
  'labels behavior behaviour action class category event subset split duration '
  'durationsec type observationid annotation'.split()
)
_INSTANCE_NAMES = frozenset(
  'video videoid videoname file filename mediafile start startsec starttime '
  'tstart onset observationid'.split()
)


class CsvArray:
  """A table of numbers, a row a snippet, with or without a header.

  Attributes:
    notes: what was chosen, a line each.
    dim: number of columns that are features.
  """

  cached = True

  def __init__(self, path: str):
    self._path = path
    self._num_rows = None
    json_files.require_file(path, FeatureFileError)
    table = _Sample(path)
    self._skip, self._delimiter = table.skip, table.delimiter
    self._comma = table.decimal_comma
    self._columns, self.notes = _features_of(path, table)
    self._width = table.width
    self.dim = len(self._columns)

  @property
  def num_rows(self) -> int:
    """Number of snippets, counted when first asked for."""
    if self._num_rows is None:
      count = _count_lines(self._path) - self._skip
      if count < 1:
        raise FeatureFileError(f'{self._path}: no row of features')
      self._num_rows = count
    return self._num_rows

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop), float64."""
    try:
      # The context hides loadtxt's warning about files without data.
      with (
        warnings.catch_warnings(),
        np.errstate(over='ignore'),
        open(self._path, encoding='utf-8-sig') as file,
      ):
        warnings.simplefilter('ignore', UserWarning)
        lines = (line.replace(',', '.') for line in file)
        rows = np.loadtxt(
          lines if self._comma else file,
          np.float64,
          comments=None,
          delimiter=self._delimiter,
          skiprows=start + self._skip,
          max_rows=stop - start,
          quotechar='"',
          ndmin=2,
          usecols=None if self.dim == self._width else self._columns,
        )
    except (ValueError, UnicodeDecodeError) as problem:
      raise FeatureFileError(
        f'{self._path}: a row after row {start} is not {self._width} numbers: '
        f'{str(problem)[:200]}'
      ) from None
    if rows.shape != (stop - start, self.dim):
      raise FeatureFileError(
        f'{self._path}: found {list(rows.shape)} in rows {start} to {stop}, '
        f'expected {self.dim} numbers a row (blank lines?)'
      )
    return rows


def is_annotation_table(path: str, strict: bool = True) -> bool:
  """Whether a CSV file's columns are those of annotations, not of features.

  Args:
    path: the file; one that cannot be read is no such table.
    strict: False: any column of text is enough, since features lie beside it.
  """
  try:
    table = _Sample(path)
  except (ValueError, OSError):
    return False
  plain = [
    re.sub(r'[^a-z]', '', re.sub(r'\(.*?\)|\[.*?\]', '', name.lower()))
    for name in table.names
  ]
  known = [name for name in plain if name in _TABLE_NAMES]
  if len(set(known)) > 1 and set(known) & _INSTANCE_NAMES:
    return True
  return not strict and not table.is_pose and bool(table.text_columns)


class _Sample:
  """The beginning of a table, and how it is to be read.

  Attributes:
    names: of the columns; '' where there is no header.
    rows: cells of the first rows below the header.
    skip: lines before the data.
  """

  def __init__(self, path: str):
    lines = _first_lines(path)
    self.skip = 0
    separator = re.fullmatch(r'sep=(.)', lines[0].strip(' "'))
    if separator:
      lines, self.skip = lines[1:], 1
      if not lines:
        raise FeatureFileError(f'{path}: no row of features')
    head = '\n'.join(lines[:2])
    self.delimiter = (
      separator[1] if separator else
      next((mark for mark in ';\t' if mark in head), ',')
    )  # fmt: skip
    cells = [_cells(path, line, self.delimiter) for line in lines]
    self.width = len(cells[0])
    self.decimal_comma = self.delimiter != ',' and any(
      re.fullmatch(r'[+-]?\d*,\d+([eE][+-]?\d+)?', cell)
      for row in cells
      for cell in row
    )
    first = cells[0]
    self.is_pose = first[0] == 'scorer'
    header = not all(map(self.is_number, first)) or _numbers_columns(first)
    self.names = first if header else [''] * self.width
    self.rows = cells[1:] if header else cells
    self.skip += header
    self.has_header = header

  def is_number(self, cell: str) -> bool:
    """Whether a cell is a number; an empty one counts, as a gap."""
    try:
      float((cell.replace(',', '.') if self.decimal_comma else cell) or 'nan')
    except ValueError:
      return False
    return True

  def values(self, column: int) -> list[float]:
    """The numbers of a column of the sample."""
    cells = [row[column] for row in self.rows if len(row) == self.width]
    return [float(cell.replace(',', '.') or 'nan') for cell in cells]

  @property
  def text_columns(self) -> list[int]:
    """Columns with something other than numbers."""
    whole = [row for row in self.rows if len(row) == self.width]
    return [
      k
      for k in range(self.width)
      if not all(self.is_number(row[k]) for row in whole)
    ]


def _first_lines(path: str) -> list[str]:
  lines, size = [], 0
  with open(path, 'rb') as file:
    for _ in range(_SAMPLE_ROWS + 4):
      line = file.readline(_MAX_HEADER_BYTES)
      size += len(line)
      if len(line) >= _MAX_HEADER_BYTES:
        raise FeatureFileError(f'{path}: found a row of over 4 MB')
      if not line or size > 2 * _MAX_HEADER_BYTES:
        break
      lines.append(line)
  try:
    text = b''.join(lines).decode('utf-8-sig')
  except UnicodeDecodeError:
    raise FeatureFileError(f'{path}: not a text file') from None
  # As the reading below sees lines: nothing but these ends one.
  found = re.split(r'\r\n|\r|\n', text)[: _SAMPLE_ROWS + 4]
  while found and not found[-1].strip():
    found.pop()
  if not found or not found[0].strip():
    raise FeatureFileError(f'{path}: empty, expected a header row')
  return found


def _cells(path: str, line: str, delimiter: str) -> list[str]:
  try:
    cells = next(csv.reader([line], delimiter=delimiter), [])
  except csv.Error as problem:
    raise FeatureFileError(f'{path}: not a table: {problem}') from None
  return [cell.strip() for cell in cells] or ['']


def _numbers_columns(cells: Sequence[str]) -> bool:
  """Whether a first row of numbers is pandas' numbering of unnamed columns."""
  if cells[0] == '':  # above the column that numbers the rows
    cells = cells[1:] or cells
  try:
    return [float(c) for c in cells] == list(range(len(cells)))
  except ValueError:
    return False


def _features_of(path: str, table: _Sample) -> tuple[list[int], list[str]]:
  """Columns that are features, and a note on each other one."""
  if table.is_pose:
    raise FeatureFileError(
      f'{path}: found a DeepLabCut table of positions (scorer, bodyparts, '
      f'coords), expected features; {pose_hint(path)}'
    )
  text = table.text_columns
  if len(text) == table.width and len(table.rows) > 1 and table.has_header:
    raise FeatureFileError(
      f'{path}: found several header rows ({table.rows[0][0][:30]!r} is below '
      f'{table.names[0][:30]!r}), expected one'
    )
  if text:
    named = ', '.join(
      f'{table.names[k][:30]!r} ({next(c for c in _column(table, k) if not table.is_number(c))[:30]!r})'
      for k in text[:5]
    )
    raise FeatureFileError(
      f'{path}: found text in the column{"s" if len(text) > 1 else ""} {named}, '
      'expected numbers only, one row a snippet; leave these columns out'
    )
  columns, notes = list(range(table.width)), []
  for k in range(table.width):
    note = _left_out(table, k)
    if note:
      columns.remove(k)
      notes.append(note)
  if not columns:
    raise FeatureFileError(
      f'{path}: found no column of features: {"; ".join(notes)}'
    )
  return columns, notes


def _column(table: _Sample, k: int) -> list[str]:
  return [row[k] for row in table.rows if len(row) == table.width]


def _left_out(table: _Sample, k: int) -> str:
  """Why a column is no feature; '' where it is one."""
  if table.width < 2 or len(table.rows) < 2:
    return ''
  name = table.names[k]
  shown = f'column {k + 1}' + (f' ({name[:40]!r})' if name else '')
  if not name and not any(_column(table, k)):
    return f'{shown} is empty and left out'
  values = table.values(k)
  if len(values) < 2 or not np.isfinite(values).all():
    return ''
  steps = np.diff(values)
  even = steps[0] > 0 and np.allclose(steps, steps[0], rtol=0.1)
  whole = even and (steps == 1).all() and values[0] in (0, 1)
  if whole and not name and k == 0:
    return f'{shown} numbers the rows and is left out'
  plain = re.sub(r'\s*[([].*[)\]]$', '', name.strip().lower())
  if not name or not _NUMBERING.fullmatch(plain.replace(' ', '_')):
    return ''
  if not (steps > 0).all():
    return ''
  if (steps == np.round(steps)).all() and values[0] == round(values[0]):
    return f'{shown} numbers the rows and is left out'
  return (
    f'{shown} times the rows ({np.median(steps):.4g} from one to the next) and '
    'is left out'
  )


def pose_hint(path: str) -> str:
  """The command that makes features of a tracker's file."""
  return (
    'python -m launch.pose_features '
    f'--input={os.path.dirname(path) or "."} --fps=RATE --output=features/ makes them'
  )


def _pieces(path: str) -> Iterator[bytes]:
  with open(path, 'rb') as file:
    # Fixed pieces, since a hostile file may have no line ends at all.
    while piece := file.read(_CHUNK_BYTES):
      yield piece


def _count_lines(path: str) -> int:
  """Number of lines, however they end; blank ones at the end left out."""
  count, before = 0, b''
  for piece in _pieces(path):
    count += piece.count(b'\n') + piece.count(b'\r') - piece.count(b'\r\n')
    count -= before == b'\r' and piece[:1] == b'\n'
    before = piece[-1:]
  count += before not in (b'\n', b'\r')
  # A blank last line is not a row.
  with open(path, 'rb') as file:
    file.seek(max(0, os.path.getsize(path) - 8))
    tail = file.read().replace(b'\r\n', b'\n').replace(b'\r', b'\n')
  while tail.endswith(b'\n\n'):
    tail, count = tail[:-1], count - 1
  return count
