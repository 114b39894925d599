"""VIA (VGG): exported CSV and project files, temporal segments of videos."""

import csv as csv_reader
import json

from cmsn_jax.annotations import imported, sample
from cmsn_jax.files import csv_tables, json_files

_HEADER = '# CSV_HEADER ='


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  document = file.document
  if isinstance(document, dict) and {'metadata', 'view', 'file'} <= set(
    document
  ):
    return 'a VIA project'
  if any(line.startswith(_HEADER) for line in file.lines):
    return 'CSV of VIA'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Segments with their first attribute as the label."""
  result = imported.Imported(file.path, 'seconds')
  if isinstance(file.document, dict):
    _project(file.document, result, options)
  else:
    _table(file, result, options)
  return result


def _table(file, result, options) -> None:
  lines = file.text.splitlines()
  header = next(line for line in lines if line.startswith(_HEADER))
  names = [name.strip() for name in header[len(_HEADER) :].split(',')]
  body = [line if not line.startswith('#') else '' for line in lines]
  reader = csv_reader.reader(body, strict=True)
  try:
    for cells in reader:
      if not any(cells):
        continue
      where = f'row {reader.line_num}'
      if len(cells) != len(names):
        result.bad.append(
          f'{where}: found {len(cells)} cells, expected {len(names)}'
        )
        continue
      _row(dict(zip(names, cells)), where, result, options)
  except csv_reader.Error as problem:
    raise csv_tables.TableError(
      f'{file.path}: not a CSV file: {problem}'
    ) from None


def _row(cells: dict, where: str, result, options) -> None:
  files = _decoded(cells.get('file_list', ''))
  metadata = _decoded(cells.get('metadata', '')) or {}
  if not isinstance(files, list) or not files or not isinstance(metadata, dict):
    result.bad.append(f'{where}: names no file, or its metadata are not JSON')
    return
  if 'temporal_segment_start' in cells:
    times = [
      _decoded(cells.get(f'temporal_segment_{end}', ''))
      for end in ('start', 'end')
    ]
  else:
    times = _decoded(cells.get('temporal_coordinates', ''))
  _take(str(files[0]), times, list(metadata.values()), where, result, options)


def _take(name: str, times, values: list, where: str, result, options) -> None:
  result.recording(name)
  numbers = [
    json_files.number(time)
    for time in (times if isinstance(times, list) else [])
  ]
  texts = [str(value) for value in values if isinstance(value, str) and value]
  label = '+'.join(texts)
  if not numbers:
    result.left_out['regions without times'].append(where)
  elif None in numbers or len(numbers) > 2:
    result.bad.append(f'{where}: found the times {json_files.shown(times)}')
  elif len(numbers) == 1:
    result.add_point(name, numbers[0], label or 'action', where, options)
  else:
    result.add(name, numbers[0], numbers[1], label, where)


def _decoded(text: str) -> object:
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    return None


def _project(document: dict, result, options) -> None:
  parts = [document[key] for key in ('metadata', 'view', 'file')]
  if not all(isinstance(part, dict) for part in parts):
    raise csv_tables.TableError(
      f'{result.source}: a VIA project whose metadata, view or file is no object'
    )
  metadata, views, files = parts
  attributes = document.get('attribute')
  attributes = attributes if isinstance(attributes, dict) else {}
  names = {}
  for key, view in views.items():
    ids = view.get('fid_list') if isinstance(view, dict) else None
    entry = files.get(str(ids[0])) if isinstance(ids, list) and ids else None
    name = entry.get('fname') if isinstance(entry, dict) else None
    if isinstance(name, str) and name:
      names[key] = name
      result.recording(name)
  for key, one in metadata.items():
    where = f'region {key[:40]}'
    view = str(one.get('vid')) if isinstance(one, dict) else ''
    if view not in names:
      result.bad.append(f'{where}: belongs to no file of the project')
      continue
    values = one.get('av')
    values = values if isinstance(values, dict) else {}
    texts = [_option(attributes, k, value) for k, value in values.items()]
    _take(names[view], one.get('z'), texts, where, result, options)


def _option(attributes: dict, key: str, value: object) -> object:
  """The text of an attribute's value: choices are stored by their number."""
  attribute = attributes.get(key)
  choices = attribute.get('options') if isinstance(attribute, dict) else None
  if isinstance(choices, dict) and isinstance(value, str):
    return choices.get(value) or value
  return value
