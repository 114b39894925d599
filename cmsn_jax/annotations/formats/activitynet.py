"""ActivityNet JSON and its dialects; see `dialects`."""

from cmsn_jax.annotations import checks, dialects, imported, sample
from cmsn_jax.annotations import thumos14 as thumos14_files
from cmsn_jax.files import json_files, video_ids

TRIES = True


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  if file.document is None or not dialects.is_dialect(file.document):
    return None
  if isinstance(file.document, dict) and 'database' in file.document:
    return 'JSON with a "database" of recordings'
  return 'JSON with an entry for each recording'


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """The annotations in a JSON file; bad entries are left to the caller."""
  document = file.document
  if document is None:
    document = json_files.read(file.path, checks.AnnotationError)
  document, notes = dialects.normalise(document, file.path)
  # Raises where the document has another shape altogether.
  database = checks.database(document, file.path)
  result = imported.Imported(file.path)
  result.notes += notes
  version = document.get('version') if isinstance(document, dict) else ''
  result.version = version if isinstance(version, str) else ''
  for name, entry in database.items():
    if video_ids.problem(name):
      result.wrong.append(
        f'{video_ids.shown(name)}: the video id {video_ids.problem(name)}'
      )
    elif not isinstance(entry, dict):
      result.wrong.append(
        f'{name}: found {json_files.shown(entry)}, expected an object with '
        '"duration" and "annotations"'
      )
    else:
      _entry(result, name, entry)
  result.past_end_known = thumos14_files.are_ids(result.recordings)
  return result


def _entry(result: imported.Imported, name: str, entry: dict) -> None:
  recording = result.recording(name)
  for key, field in (
    ('duration', 'duration_sec'), ('fps', 'fps'), ('feature_fps', 'feature_fps'),
  ):  # fmt: skip
    if entry.get(key) is None:
      continue
    value = json_files.number(entry[key])
    if value is None or value <= 0:
      result.wrong.append(
        f'{name}: found {key} {json_files.shown(entry[key])}, expected a '
        'positive number'
      )
    else:
      setattr(recording, field, value)
  subset = entry.get('subset')
  if subset in checks.SUBSETS:
    recording.subset = subset
  elif subset is not None:
    result.wrong.append(
      f'{name}: found subset {json_files.shown(subset)}, expected one of '
      f'{", ".join(checks.SUBSETS)}'
    )
  items = entry.get('annotations', [])
  if not isinstance(items, list):
    result.wrong.append(
      f'{name}: found annotations {json_files.shown(items)}, expected a list'
    )
    return
  for k, item in enumerate(items):
    _item(result, recording, f'entry {k + 1}', item)
  spans = entry.get('ignore') or []
  if not isinstance(spans, list):
    result.wrong.append(
      f'{name}: found ignore {json_files.shown(spans)}, expected a list of '
      '[start, end]'
    )
    return
  for k, pair in enumerate(spans):
    span, where = _pair(pair), f'ignore {k + 1}'
    if span is None:
      result.bad.append(
        f'{name}, {where}: found {json_files.shown(pair)}, expected '
        '[start, end] in seconds'
      )
    else:
      recording.ignore.append(imported.Instance(*span, '', where))


def _pair(found: object) -> list[float] | None:
  """Two numbers, or None."""
  if not (isinstance(found, list) and len(found) == 2):
    return None
  values = [json_files.number(value) for value in found]
  return None if None in values else values


def _item(result, recording, where: str, item: object) -> None:
  values = _pair(item.get('segment') if isinstance(item, dict) else None)
  label = item.get('label', '') if isinstance(item, dict) else ''
  if values is None:
    result.bad.append(
      f'{recording.name}, {where}: found {json_files.shown(item)}, expected '
      '{"segment": [start, end], "label": "…"} with seconds'
    )
  elif not isinstance(label, str):
    result.bad.append(
      f'{recording.name}, {where}: found label {json_files.shown(label)}, '
      'expected a text'
    )
  else:
    recording.instances.append(
      imported.Instance(
        values[0],
        values[1],
        label.strip() or checks.NO_LABEL,
        where,
        item.get('past_end') is True,
      )
    )
