"""Proposals in tables and lists of other programs, in the units they have.

A table with a header (our own CSV; DAPs' and TURN's `f-init f-end score
video-frames video-name`), a folder of one table a video (BSN's and BMN's `xmin,
xmax, …, score`), lines of `video start end [score [label]]`, and the proposal
lists of TAG and SSN, blocks that begin with `#`.
"""

import csv
import math
import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from cmsn_jax.files import json_files, proposal_files, video_ids

ProposalFileError = proposal_files.ProposalFileError

# Our name of a column: its spellings, letters only.
_NAMES = {
  'video': 'video videoid videoname vid id name file filename recording '
  'mediafile',
  'start': 'start tstart xmin finit startsec starttime tinit begin startseconds '
  'starts from tmin startframe onset',
  'end': 'end tend xmax fend endsec endtime stop endseconds ends to tmax '
  'endframe offset',
  'score': 'score scores confidence conf prob probability',
  'label': 'label class labelname classname behavior behaviour',
  'frames': 'videoframes numframes nframes',
}
_COLUMN = {
  name: column for column, names in _NAMES.items() for name in names.split()
}
# Units that a name says.
_FRAMES = ('finit', 'fend', 'startframe', 'endframe')
_FRACTIONS = ('xmin', 'xmax')
_SECONDS = (
  'startsec',
  'endsec',
  'startseconds',
  'endseconds',
  'tstart',
  'tend',
)
_MAX_LINE = 1_000_000


class Raw(NamedTuple):
  """Proposals as a file has them.

  Attributes:
    rows: (start, end, score or NaN, label or '') by video id, in file order.
    unit: 'seconds', 'frames', 'fractions'; None: the file does not say.
    num_frames: of the videos, where the file says it.
  """

  rows: dict[str, list[tuple[float, float, float, str]]]
  unit: str | None = None
  num_frames: dict[str, int] = {}


def read(path: str) -> Raw:
  """The proposals of a table or list.

  Raises:
    ProposalFileError: if it is none of these, with the rows that are wrong.
  """
  json_files.require_file(path, ProposalFileError)
  lines = _lines(path)
  first = next((line for line in lines if line.strip()), '')
  if first.startswith('#') and not _has_header(first[1:]):
    return _blocks(path, _lines(path))
  return _table(path, first, _lines(path))


def read_folder(path: str) -> Raw:
  """The proposals of a folder with one table a video, `<video id>.csv`."""
  found, unit = {}, set()
  names = [
    name
    for name in sorted(os.listdir(path))
    if name.lower().endswith(('.csv', '.tsv', '.txt'))
    and not name.startswith('.')
  ]
  if not names:
    raise ProposalFileError(
      f'{path}: found no <video id>.csv with the proposals of a video'
    )
  for name in names:
    file = os.path.join(path, name)
    stem = os.path.splitext(name)[0]
    lines = _lines(file)
    first = next((line for line in lines if line.strip()), '')
    raw = _table(file, first, _lines(file), stem)
    found.update(raw.rows or {stem: []})
    unit.add(raw.unit)
  if len(unit) > 1:
    raise ProposalFileError(
      f'{path}: its tables have columns of different units'
    )
  return Raw(found, unit.pop())


def _lines(path: str) -> Iterator[str]:
  try:
    with open(path, encoding='utf-8-sig', newline='') as file:
      while line := file.readline(_MAX_LINE):
        if len(line) >= _MAX_LINE:
          raise ProposalFileError(f'{path}: found a line of over 1 MB')
        # A lone \r ends a line too.
        yield from line.rstrip('\r\n').split('\r')
  except UnicodeDecodeError as problem:
    raise ProposalFileError(
      f'{path}: found bytes that are not UTF-8 text at byte {problem.start}'
    ) from None


def _plain(name: str) -> str:
  name = re.sub(r'\(.*?\)', '', name.lower())
  return re.sub(r'[^a-z]', '', name)


def _splitter(line: str) -> Callable[[str], list[str]]:
  for mark in ('\t', ';', ','):
    if mark in line:
      return lambda text: [
        cell.strip() for cell in next(csv.reader([text], delimiter=mark), [])
      ]
  return str.split


def _has_header(line: str) -> bool:
  known = {_COLUMN.get(_plain(cell)) for cell in _splitter(line)(line)}
  return {'start', 'end'} <= known


def _table(
  path: str, first: str, lines: Iterator[str], video_id: str | None = None
) -> Raw:
  """A table, with or without a header; of one video where that is given."""
  try:
    split = _splitter(first)
    header = split(first.removeprefix('#'))
  except csv.Error as problem:
    raise ProposalFileError(f'{path}: not a table: {problem}') from None
  columns, names = {}, {}
  for k, name in enumerate(header):
    column = _COLUMN.get(_plain(name))
    if column and column not in columns:
      columns[column], names[column] = k, _plain(name)
    elif column in ('start', 'end', 'video'):
      raise ProposalFileError(
        f'{path}: found two columns that may be the {column}, '
        f'{header[columns[column]]!r} and {name!r}; leave one out'
      )
  if not {'start', 'end'} <= set(columns):
    columns = _headerless(path, header, video_id)
    names, skip = {}, False
  else:
    skip = True
    if video_id is None and 'video' not in columns:
      raise ProposalFileError(
        f'{path}: found the columns {", ".join(header[:10])}, expected one that '
        'names the video'
      )
  return Raw(
    *_rows(path, lines, split, columns, skip, video_id),
  )._replace(unit=_unit(names))


def _unit(names: dict[str, str]) -> str | None:
  for unit, known in (
    ('frames', _FRAMES),
    ('fractions', _FRACTIONS),
    ('seconds', _SECONDS),
  ):
    if names.get('start') in known and names.get('end') in known:
      return unit
  return None


def _number(text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    return math.nan
  return value if '_' not in text else math.nan


def _headerless(path, cells, video_id) -> dict[str, int]:
  """Columns of `video start end [score [label]]`, by what the cells are."""
  first = 0 if video_id is not None else 1
  numbers = [not math.isnan(_number(cell)) for cell in cells]
  wanted = numbers[first : first + 2] == [True, True]
  if not wanted or (first and numbers[0] and len(cells) < 3):
    raise ProposalFileError(
      f'{path}: found {" ".join(cells)[:80]!r} in the first line, expected a '
      'header with video, start, end and score, or lines of "video start end '
      'score"'
    )
  columns = {'start': first, 'end': first + 1}
  if first:
    columns['video'] = 0
  for k in range(first + 2, len(cells)):
    columns.setdefault('score' if numbers[k] else 'label', k)
  return columns


def _rows(path, lines, split, columns, skip, video_id):
  found, frames, problems = {}, {}, []
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    if skip:
      skip = False
      continue
    try:
      cells = split(line)
    except csv.Error as problem:
      problems.append(f'line {number}: {problem}')
      continue
    if max(columns.values()) >= len(cells):
      problems.append(f'line {number}: found {len(cells)} cells only')
      continue
    name = video_id or cells[columns['video']]
    row = _row(cells, columns)
    bad = video_ids.problem(name)
    if bad:
      problems.append(f'line {number}: video id {video_ids.shown(name)} {bad}')
    elif row is None:
      problems.append(
        f'line {number}: found {line[:80]!r}, expected numbers, the start '
        'before the end'
      )
    else:
      found.setdefault(name, []).append(row)
      if 'frames' in columns:
        count = _number(cells[columns['frames']])
        if 0 < count < 1e9:
          frames[name] = int(count)
  if problems:
    raise ProposalFileError(
      f'{path}: {json_files.problems_found(len(problems))}', tuple(problems)
    )
  return found, None, frames


def _row(cells, columns):
  start, end = (_number(cells[columns[name]]) for name in ('start', 'end'))
  score = math.nan
  if 'score' in columns:
    score = _number(cells[columns['score']])
    if not math.isfinite(score):
      return None
  if not (math.isfinite(start) and math.isfinite(end) and start <= end):
    return None
  label = cells[columns['label']] if 'label' in columns else ''
  return start, end, score, label


def _blocks(path: str, lines: Iterator[str]) -> Raw:
  """TAG's and SSN's lists: `#`, id, frames, 1, truths, proposals."""
  found, frames, highest = {}, {}, 0.0
  lines = [line.strip() for line in lines]
  lines = [line for line in lines if line] + ['#']
  at = 1
  try:
    while at < len(lines):
      name = os.path.basename(lines[at].rstrip('/'))
      frames[name] = int(float(lines[at + 1]) * float(lines[at + 2]))
      at += 4 + _count(lines[at + 3])  # over the ground truth
      count, at = _count(lines[at]), at + 1
      rows = [_block_row(line) for line in lines[at : at + count]]
      at += count
      if len(rows) < count or not lines[at].startswith('#'):
        raise ValueError(f'{name}: found another number of rows than it says')
      bad = video_ids.problem(name)
      if bad:
        raise ValueError(f'video id {video_ids.shown(name)} {bad}')
      found[name] = rows
      highest = max(highest, max((row[1] for row in rows), default=0.0))
      at += 1
  except (ValueError, IndexError, OverflowError) as problem:
    raise ProposalFileError(
      f'{path}: not a proposal list of TAG or SSN after its line '
      f'{min(at, len(lines) - 1)} ({str(problem)[:200]})'
    ) from None
  unit = 'fractions' if highest <= 1 + 1e-3 else 'frames'
  return Raw(found, unit, {k: n for k, n in frames.items() if n > 0})


def _count(text: str) -> int:
  count = int(text)
  if count < 0:
    raise ValueError(f'found {count} rows')
  return count


def _block_row(line):
  numbers = [float(text) for text in line.split()]
  start, end = numbers[-2:]
  if not (np.isfinite(numbers).all() and start <= end):
    raise ValueError(f'found {line[:60]!r}')
  return start, end, math.nan, ''
