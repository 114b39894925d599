"""Label Studio: timeline labels of videos, and labels of sound or series."""

import re

from cmsn_jax.annotations import checks, imported, sample
from cmsn_jax.files import json_files

_LABELS = ('timelinelabels', 'labels', 'timeserieslabels', 'hypertextlabels')


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  document = file.document
  if not isinstance(document, list) or not document:
    return None
  first = document[0]
  if not isinstance(first, dict):
    return None
  if isinstance(first.get('data'), dict) and (
    'annotations' in first or 'id' in first
  ):
    return 'tasks of Label Studio'
  if any(
    _is_regions(value)
    for task in document[:50]
    if isinstance(task, dict)
    for value in task.values()
  ):
    return 'tasks of Label Studio (JSON-MIN)'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Ranges of frames (from 1) or spans in seconds with their labels."""
  result = imported.Imported(file.path)
  if not isinstance(file.document, list):
    raise checks.AnnotationError(f'{file.path}: expected a list of tasks')
  units = set()
  for k, task in enumerate(file.document):
    where = f'task {k + 1}'
    if not isinstance(task, dict):
      result.bad.append(f'{where}: found {json_files.shown(task)}')
      continue
    data = task.get('data') if isinstance(task.get('data'), dict) else task
    name = _name(data)
    if not name:
      result.bad.append(f'{where}: names no file')
      continue
    result.recording(name)
    for index, region in enumerate(_regions(task, where, result)):
      _take(region, name, f'{where}, region {index + 1}', result, units)
  if len(units) > 1:
    raise checks.AnnotationError(
      f'{file.path}: some labels count frames, some seconds; export them apart'
    )
  result.unit = units.pop() if units else 'seconds'
  return result


def _is_regions(value: object) -> bool:
  return (
    isinstance(value, list)
    and bool(value)
    and isinstance(value[0], dict)
    and any(key in value[0] for key in _LABELS)
    and ('ranges' in value[0] or 'start' in value[0])
  )


def _name(data: dict) -> str:
  """File that the task is about, without what uploading puts before it."""
  for key in ('video', 'video_url', 'audio', 'url', 'file', *data):
    value = data.get(key)
    if isinstance(value, str) and re.search(r'\.\w{2,5}(\?.*)?$', value):
      name = re.split(r'[/\\]', value.partition('?')[0])[-1]
      return re.sub(r'^[0-9a-f]{8}-', '', name)
  return ''


def _regions(task: dict, where: str, result) -> list:
  completed = task.get('annotations', task.get('completions'))
  if isinstance(completed, list) and 'data' in task:
    done = [
      one
      for one in completed
      if isinstance(one, dict) and not one.get('was_cancelled')
    ]
    if len(done) > 1:
      result.warnings.append(
        f'{result.source}, {where}: annotated {len(done)} times; the first was taken'
      )
    found = done[0].get('result') if done else []
    return found if isinstance(found, list) else []
  return [one for value in task.values() if _is_regions(value) for one in value]


def _take(region: object, name: str, where: str, result, units: set) -> None:
  value = region.get('value', region) if isinstance(region, dict) else None
  labels = (
    next((value[k] for k in _LABELS if k in value), None)
    if isinstance(value, dict)
    else None
  )
  if not isinstance(labels, list) or not labels:
    result.left_out['regions without a label in time'].append(where)
    return
  label = '+'.join(str(one) for one in labels)
  ranges = value.get('ranges')
  spans = ranges if isinstance(ranges, list) else [value]
  for span in spans:
    start, end = (
      json_files.number(span.get(key)) if isinstance(span, dict) else None
      for key in ('start', 'end')
    )
    if start is None or end is None:
      result.bad.append(
        f'{where}: found {json_files.shown(span)}, expected start and end'
      )
    elif ranges is not None:
      units.add('frames')
      result.add(name, max(0.0, start - 1), end, label, where)
    else:
      units.add('seconds')
      result.add(name, start, end, label, where)
