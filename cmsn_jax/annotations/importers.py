"""Annotations from whatever people have, to `activitynet.Annotations`.

Recognise the format, read it, then what all formats share (`finishing`): names of
recordings, durations, units, what to do with bad entries, checks.
"""

import dataclasses
import functools
import importlib
import os
import pkgutil
import re
from collections.abc import Mapping
from types import ModuleType

from cmsn_jax.annotations import (
  activitynet,
  column_names,
  finishing,
  formats,
  imported,
)
from cmsn_jax.annotations import lengths as video_lengths
from cmsn_jax.annotations import sample as sample_lib
from cmsn_jax.annotations import thumos14 as thumos14_files
from cmsn_jax.files import csv_tables, json_files

_MAX_FILES = 100_000
# How far down a header is looked for, where the first row is none.
_TITLE_LINES = 30

thumos14 = thumos14_files.read


@dataclasses.dataclass(frozen=True)
class Converted:
  """Annotations, and what was chosen to make them.

  Attributes:
    annotations: checked.
    format: name of the format.
    notes: what to tell the user, one line each.
    warnings: likewise, of what looks wrong.
  """

  annotations: activitynet.Annotations
  format: str
  notes: tuple[str, ...]
  warnings: tuple[str, ...]


@functools.cache
def readers() -> dict[str, ModuleType]:
  """The modules of `formats` by name, those that are sure of a file first."""
  found = {}
  for info in pkgutil.iter_modules(formats.__path__):
    name = f'{formats.__name__}.{info.name}'
    found[info.name] = importlib.import_module(name)
  return dict(
    sorted(found.items(), key=lambda item: getattr(item[1], 'ORDER', 0))
  )


def names() -> list[str]:
  """What `format` may be."""
  return ['auto', *sorted(readers())]


def convert(
  path: json_files.PathLike,
  *,
  format: str = 'auto',
  lengths: Mapping[str, video_lengths.Length] | None = None,
  options: imported.Options | None = None,
  policy: finishing.Policy | None = None,
) -> Converted:
  """The annotations in a file or folder of any known format.

  Args:
    path: the file, or a folder of files of one format.
    format: one of `names()`; 'auto' goes by the contents.
    lengths: durations, see `lengths.read`.
    options: what the file itself does not say.
    policy: what to do with bad entries and with recordings whose names or
      durations do not match; see `finishing.Policy`.
  Returns:
    the annotations and what was chosen.
  Raises:
    FileNotFoundError: if there is nothing at `path`.
    ValueError: if the format is not known, or the contents are wrong: what was
      found, what was expected, the flag that decides.
  """
  options = options or imported.Options()
  policy = policy or finishing.Policy()
  file = sample_lib.Sample(path)
  if format not in names():
    raise ValueError(
      f'format must be one of {", ".join(names())}, got {format!r}'
    )
  chosen, reason = (format, 'as asked')
  if format == 'auto':
    chosen, reason = recognise(file)
  reader = readers()[chosen]
  if format != 'auto' and not file.is_folder:
    _check_format(file, format, reader)
  if chosen == 'thumos14' and file.is_folder:
    annotations = thumos14_files.read(
      path, lengths=lengths, past_end=policy.past_end
    )
    return Converted(annotations, chosen, (f'{path}: {reason}',), ())
  if file.is_folder:
    result = _read_folder(file, chosen, options)
  else:
    result = reader.read(file, options)
  result.notes.insert(0, f'{file.path}: read as {chosen} ({reason})')
  annotations, warnings = finishing.finish(result, lengths, options, policy)
  return Converted(annotations, chosen, tuple(result.notes), tuple(warnings))


def _check_format(file, format: str, reader: ModuleType) -> None:
  """Refuses a file that a reader cannot know what to do with."""
  if getattr(reader, 'TRIES', False) or reader.recognise(file):
    return
  if file.problem is not None and not file.text:
    raise file.problem
  first = next((line for line in file.lines if line.strip()), '')
  raise csv_tables.TableError(
    f'{file.path}: not of the format {format} as it is known here (it begins '
    f'with {json_files.shown(first)}); --format=auto goes by the contents'
  )


def recognise(file: sample_lib.Sample) -> tuple[str, str]:
  """Name of the format of a file, and why.

  Raises:
    ValueError: if none, or several, know it.
  """
  found: dict[str, str] = {}
  order = None
  for name, reader in readers().items():
    rank = getattr(reader, 'ORDER', 0)
    if found and rank != order:
      break
    reason = reader.recognise(file)
    if reason:
      found[name] = reason
      order = rank
  if len(found) == 1:
    return next(iter(found.items()))
  if found:
    both = ' and '.join(f'{name} ({why})' for name, why in found.items())
    raise csv_tables.TableError(
      f'{file.path}: may be {both}; say which with --format='
    )
  if file.is_folder:
    files, others = _files(file)
    if files:
      kinds = {}
      for name in files:
        kinds.setdefault(files[name][0], []).append(name)
      if len(kinds) == 1:
        kind = next(iter(kinds))
        return kind, f'{len(files)} files, {files[next(iter(files))][1]}'
      shown = ', '.join(
        f'{len(of)} of {kind} ({os.path.basename(of[0])})'
        for kind, of in kinds.items()
      )
      raise csv_tables.TableError(
        f'{file.path}: files of several formats: {shown}; say which with '
        '--format=, or give the file'
      )
    raise csv_tables.TableError(
      f'{file.path}: no annotation file in this folder is of a known format '
      f'({imported.some([os.path.basename(o) for o in others]) or "it is empty"})'
    )
  raise csv_tables.TableError(_unknown(file))


def _header_below(file: sample_lib.Sample) -> int:
  """The line of a header that stands below titles, or 0."""
  for number, line in enumerate(file.lines[:_TITLE_LINES], 1):
    names = re.split('[,;\t|]', line.lstrip('#% '))
    roles = {
      column_names.understand(k, name.strip(' "')).role
      for k, name in enumerate(names)
    }
    if {'start', 'end'} <= roles and len(names) > 2:
      return number
  return 0


def _unknown(file: sample_lib.Sample) -> str:
  problem = file.problem
  # What cannot be read at all, or is JSON or CSV but for a slip.
  slips = ['not a CSV file', 'not valid JSON', 'spreadsheet']
  if any(sign in line for line in file.lines[:1] for sign in ',;\t'):
    slips.append('no rows')
  if problem is not None and (
    not file.text or any(slip in str(problem) for slip in slips)
  ):
    return str(problem)
  if file.table is not None and len(file.table.header) > 1:
    header = ', '.join(json_files.shown(n, 30) for n in file.table.header[:12])
    below = _header_below(file)
    if below:
      return (
        f'{file.path}: found the columns {header}, expected a header row with '
        f'video, start, end, label: line {below} looks like one; delete the '
        'lines above it (and a sign before its first name)'
      )
    return (
      f'{file.path}: found the columns {header}, and know no table of that '
      'kind: expected a header row with video, start, end, label. Say what '
      'the columns are, e.g. --format=csv '
      f'--columns=video={file.table.header[0]},start=…,end=…,label=…; or the '
      'format: --format=' + '|'.join(names()[1:])
    )
  if isinstance(file.document, dict) and 'results' in file.document:
    return (
      f'{file.path}: found a proposals file ("results"), expected annotations'
    )
  first = next((line for line in file.lines if line.strip()), '')
  return (
    f'{file.path}: not of a known annotation format (it begins with '
    f'{json_files.shown(first)}); say which with --format='
    + '|'.join(names()[1:])
  )


def _files(
  folder: sample_lib.Sample,
) -> tuple[dict[str, tuple[str, str]], list[str]]:
  """Format and reason of each annotation file in a folder; the other files."""
  found, others = {}, []
  for name in sorted(os.listdir(folder.path))[:_MAX_FILES]:
    path = os.path.join(folder.path, name)
    if name.startswith('.') or not os.path.isfile(path):
      continue
    try:
      found[path] = recognise(sample_lib.Sample(path))
    except ValueError:
      others.append(path)
  return found, others


def _read_folder(
  folder: sample_lib.Sample, chosen: str, options: imported.Options
) -> imported.Imported:
  """All files of one format in a folder, together."""
  files, others = _files(folder)
  paths = [path for path, (kind, _) in files.items() if kind == chosen]
  others += [path for path, (kind, _) in files.items() if kind != chosen]
  if not paths:
    raise csv_tables.TableError(
      f'{folder.path}: no file of the format {chosen} in it'
    )
  reader = readers()[chosen]
  parts = [
    (path, reader.read(sample_lib.Sample(path), options)) for path in paths
  ]
  whole = imported.Imported(folder.path, parts[0][1].unit)
  for path, part in parts:
    if part.unit != whole.unit:
      raise csv_tables.TableError(
        f'{path}: its times are in {part.unit or "an unknown unit"}, those of '
        f'{paths[0]} in {whole.unit or "an unknown unit"}'
      )
    _merge(whole, part, os.path.basename(path))
  if others:
    names = imported.some([os.path.basename(path) for path in others])
    whole.notes.append(f'{len(others)} other files not read: {names}')
  return whole


def _merge(
  whole: imported.Imported, part: imported.Imported, name: str
) -> None:
  whole.notes += [note for note in part.notes if note not in whole.notes]
  whole.warnings += part.warnings
  whole.wrong += [f'{name}, {text}' for text in part.wrong]
  whole.bad += [f'{name}, {text}' for text in part.bad]
  whole.duration_hint = whole.duration_hint or part.duration_hint
  for kind, places in part.left_out.items():
    whole.left_out[kind] += [f'{name}, {place}' for place in places]
  for key, recording in part.recordings.items():
    into = whole.recording(key)
    into.instances += [
      dataclasses.replace(one, where=f'{name}, {one.where}')
      for one in recording.instances
    ]
    values = {
      field.name: getattr(recording, field.name)
      for field in dataclasses.fields(recording)
      if field.name not in ('name', 'instances')
    }
    whole.state(key, name, **values)
