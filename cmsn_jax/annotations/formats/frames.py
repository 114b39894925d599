"""A label for every frame: columns of 0 and 1, columns of text, lines of text.

DeepEthogram, SimBA's targets, Solomon; Breakfast, 50Salads, GTEA.
"""

import re
from collections.abc import Sequence

from cmsn_jax.annotations import column_names, frame_labels, imported, sample
from cmsn_jax.annotations import columns as columns_lib
from cmsn_jax.annotations.formats import csv as csv_format
from cmsn_jax.files import cell_values, csv_tables

ORDER = 5
TRIES = True
_INDEX = re.compile(
  r'|unnamed: ?0|index|idx|frames?|frame[ _]?(number|nr|no|id|idx|index)?|'
  r'time|t|time[ _]?\(?s(ec(onds)?)?\)?|timestamp|seconds|row|image|image index'
)
_ONE_HOT = {'0', '1', '0.0', '1.0', 'true', 'false', '-1', '-1.0', ''}
_ON = {'1', '1.0', 'true'}
_SPAN = re.compile(r'(\d{1,9})-(\d{1,9})[ \t]+(\S.*)')
_LABEL_NAMES = ('label', 'labels', 'behavior', 'behaviour', 'action')


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  if file.document is not None or file.is_folder:
    return None
  if _span_lines(file):
    return 'lines of first-last label, in frames'
  if _label_lines(file):
    return 'a label on every line, one a frame'
  table = file.table
  if table is None or len(table.rows) < 2 or len(table.header) < 2:
    return None
  roles = {
    column_names.understand(k, n).role for k, n in enumerate(table.header)
  }
  if 'start' in roles:
    return None
  layout = _Layout(table)
  if layout.place is None and not layout.binary_only:
    return None
  if layout.binary:
    names = ', '.join(table.header[k] for k in layout.binary[:5])
    return f'columns of 0 and 1, a row a frame ({names})'
  if layout.text and layout.regular:
    return 'a column of text with a row a frame'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Runs of equal labels, as instances; background is left out."""
  result = imported.Imported(file.path, 'frames')
  name = options.recording or re.sub(
    r'[_-](labels?|annotations?|targets?|gt)$',
    '',
    file.stem,
    flags=re.IGNORECASE,
  )
  if _span_lines(file):
    _read_spans(file, result, name, options)
  elif file.text and _label_lines(file):
    labels = [line.strip() for line in file.text.strip('\ufeff').splitlines()]
    if labels and labels[0].lower() in _LABEL_NAMES:
      labels = labels[1:]
    while labels and not labels[-1]:
      labels.pop()
    _add(result, name, labels, range(len(labels)), 1.0, options)
    result.recording(name).num_frames = len(labels)
  else:
    table = file.table or csv_tables.read(file.path)
    _read_table(
      csv_format.filtered(table, options.where), result, name, options
    )
  return result


def _label_lines(file: sample.Sample) -> bool:
  """Whether the text is one label a line, with some line like the one before."""
  lines = [line.strip() for line in file.lines]
  while lines and not lines[-1]:
    lines.pop()
  if len(lines) < 3 or any(re.search(r'[,;\t|{}<=]', line) for line in lines):
    return False
  if any(len(line) > 80 or len(line.split()) > 4 for line in lines):
    return False
  if any(re.fullmatch(r'[-+]?\d*\.\d+(e[-+]?\d+)?', line) for line in lines):
    return False
  return any(a == b for a, b in zip(lines, lines[1:]))


def _span_lines(file: sample.Sample) -> bool:
  lines = [line.strip() for line in file.lines if line.strip()]
  return bool(lines) and all(_SPAN.fullmatch(line) for line in lines)


def _read_spans(file, result, name, options) -> None:
  """Breakfast's coarse labels: `31-150 take_cup`, frames from 1, inclusive."""
  last = 0
  for k, line in enumerate(file.text.splitlines()):
    if not line.strip():
      continue
    where = f'line {k + 1}'
    match = _SPAN.fullmatch(line.strip())
    if not match:
      result.bad.append(
        f'{where}: found {line[:60]!r}, expected FIRST-LAST label'
      )
      continue
    first, end, label = int(match[1]), int(match[2]), match[3].strip()
    last = max(last, end)
    if not frame_labels.is_background(label, options.background):
      result.add(name, first - 1, end, label, where)
  result.recording(name).num_frames = last
  result.notes.append('frames are counted from 1, the last one inclusive')


class _Layout:
  """Which column of a frame table is what."""

  def __init__(self, table: csv_tables.Table):
    self.header = table.header
    sampled = [row.cells for row in table.rows[:2000]]
    columns = list(zip(*sampled))
    self.video = next(
      (
        k
        for k, name in enumerate(table.header)
        if column_names.understand(k, name).role == 'video'
        and column_names.understand(k, name).rank < 2
      ),
      None,
    )
    self.place = next(
      (
        k
        for k, name in enumerate(table.header)
        if _INDEX.fullmatch(name.strip().lower())
        and all(_number(cell) is not None for cell in columns[k])
      ),
      None,
    )
    others = [
      k for k in range(len(table.header)) if k not in (self.place, self.video)
    ]
    self.binary = [
      k
      for k in others
      if {cell.lower() for cell in columns[k]} <= _ONE_HOT
      and any(cell != '' for cell in columns[k])
      and not re.search(r'_(x|y|p|likelihood)$', table.header[k].lower())
      and column_names.understand(k, table.header[k]).role in ('', 'label')
      and not re.fullmatch(r'-?\d+(\.\d+)?', table.header[k])
    ]
    self.binary_only = bool(self.binary) and len(self.binary) == len(others)
    self.text = [
      k
      for k in others
      if any(
        _number(cell) is None and not cell_values.is_missing(cell)
        for cell in columns[k]
      )
    ]
    self.regular = self.place is not None and _is_regular(
      [_number(cell) for cell in columns[self.place]]
    )


def _number(text: str) -> float | None:
  try:
    return cell_values.parse(text).number
  except ValueError:
    return None


def _middle_step(places: Sequence[float]) -> float:
  steps = sorted(b - a for a, b in zip(places, places[1:]))
  return steps[len(steps) // 2]


def _is_regular(places: Sequence[float]) -> bool:
  """Whether moments have one distance, as frames have."""
  steps = sorted(b - a for a, b in zip(places, places[1:]))
  if len(steps) < 2:
    return False
  middle = steps[len(steps) // 2]
  near = sum(abs(step - middle) <= 0.3 * middle for step in steps)
  return middle > 0 and near >= 0.9 * len(steps)


def _read_table(table, result, name, options) -> None:
  if not table.rows:
    raise csv_tables.TableError(
      f'{table.path}: no row has as many cells as the header, '
      f'{len(table.header)}'
    )
  layout = _Layout(table)
  result.notes += table.notes
  result.bad += table.misfits()
  if not layout.binary and not layout.text:
    raise csv_tables.TableError(
      f'{table.path}: found the columns {", ".join(table.header[:12])}, expected '
      'labels of frames: columns of 0 and 1, or of text'
    )
  groups: dict[str, list] = {}
  for row in table.rows:
    key = row.cells[layout.video] if layout.video is not None else name
    groups.setdefault(key, []).append(row)
  parts = [_places(rows, layout, table.path) for rows in groups.values()]
  result.notes += _steps(parts)
  in_seconds = any(seconds for _, _, seconds in parts)
  if in_seconds:
    result.unit = 'seconds'
    result.notes.append(
      f'times are in the column {table.header[layout.place]}: '
      f'{1 / parts[0][1]:.6g} rows a second'
    )
  columns = _columns(table, layout, result, options)
  for (key, rows), (places, step, _) in zip(groups.items(), parts):
    recording = result.recording(key)
    for k in columns:
      labels = _labels(
        table.header[k], [row.cells[k] for row in rows], k in layout.binary
      )
      _add(result, key, labels, places, step, options)
    recording.instances.sort(key=lambda one: one.start_sec)
    end = places[-1] + step
    if in_seconds:
      recording.duration_sec = round(end, 6)
    else:
      recording.num_frames = round(end)


def _columns(table, layout, result, options) -> list[int]:
  """The columns that say what happens."""
  if 'label' in options.columns:
    name = options.columns['label']
    return [columns_lib.named(table, name, f'--columns=label={name}')]
  if layout.binary:
    kept = [
      k
      for k in layout.binary
      if not frame_labels.is_background(table.header[k], options.background)
    ]
    names = ', '.join(table.header[k] for k in kept[:20])
    result.notes.append(f'labels ← the columns of 0 and 1: {names}')
    unlabelled = sum(
      any(row.cells[k].startswith('-1') for k in kept) for row in table.rows
    )
    if unlabelled:
      result.warnings.append(
        f'{table.path}: {unlabelled} of {len(table.rows)} rows are -1, not '
        'labelled: taken as nothing happening'
      )
    return kept
  roles = [column_names.understand(k, table.header[k]) for k in layout.text]
  kept = [c.index for c in roles if c.role == 'label' and c.rank == 0]
  kept = (
    kept or [c.index for c in roles if c.role == 'label'] or list(layout.text)
  )
  names = ', '.join(table.header[k] for k in kept)
  others = [table.header[k] for k in layout.text if k not in kept]
  result.notes.append(
    f'labels ← {names}' + (f', not {", ".join(others)}' if others else '')
  )
  return kept


def _labels(name: str, cells: list[str], is_binary: bool) -> list[str]:
  if is_binary:
    return [name if cell.lower() in _ON else '' for cell in cells]
  return cells


def _places(rows, layout, path: str) -> tuple[list[float], float, bool]:
  """Where each row is: frames from 0 or times; the step; whether in seconds."""
  count = len(rows)
  if layout.place is None:
    return [float(k) for k in range(count)], 1.0, False
  places = [_number(row.cells[layout.place]) for row in rows]
  if None in places or any(b <= a for a, b in zip(places, places[1:])):
    raise csv_tables.TableError(
      f'{path}: the column {layout.header[layout.place]!r} does not count up '
      'from row to row: are several recordings in one file, without a column '
      'that names them?'
    )
  named = layout.header[layout.place].strip().lower()
  is_time = re.match(r't$|t\W|time|seconds', named)
  if not is_time and all(place == round(place) for place in places):
    # Frames are counted from 0 or from 1.
    shift = 1.0 if places[0] == 1 else 0.0
    # Every fifth frame may be labelled only: a row lasts until the next one.
    step = _middle_step(places) if _is_regular(places) else 1.0
    return [place - shift for place in places], step, False
  if len(places) < 2:
    raise csv_tables.TableError(
      f'{path}: one row of a recording says nothing of the time between rows'
    )
  return places, _middle_step(places), True


def _steps(parts: Sequence[tuple[Sequence[float], float, bool]]) -> list[str]:
  """What to tell of rows that are not one frame apart."""
  notes = []
  sparse = sorted({step for _, step, seconds in parts if not seconds} - {1.0})
  if sparse:
    notes.append(
      f'rows are {", ".join(f"{step:g}" for step in sparse)} frames apart: each '
      'is taken to last until the next'
    )
  gaps = sum(
    b - a > 1.5 * step
    for places, step, _ in parts
    for a, b in zip(places, places[1:])
  )
  if gaps:
    notes.append(f'{gaps} gaps between rows; events end at a gap')
  return notes


def _add(result, name, labels, places, step, options) -> None:
  """Adds the runs of labels that are not background."""
  result.recording(name)  # also where nothing happens
  for first, last, label in frame_labels.runs(labels, places, step):
    if not frame_labels.is_background(label, options.background):
      result.add(
        name,
        places[first],
        places[last] + step,
        label,
        f'frames {first}-{last}',
      )
