"""Other tools' JSON in ActivityNet's manner, brought to the one form.

ActionFormer, OpenTAD, HACS, FineAction, Ego4D, EPIC (`Validation`, `Test`,
`segment(frames)`, `label_id`), MMAction2 and BMN (`duration_second`, no
"database"), lists in place of objects, numbers as text.
"""

import os
import re
from collections.abc import Mapping

from cmsn_jax.annotations import checks
from cmsn_jax.files import json_files

_DURATION = (
  'duration', 'duration_second', 'duration_seconds', 'duration_sec',
  'video_duration', 'video_duration_sec', 'duration_s',
)  # fmt: skip
_ID = (
  'id', 'video_id', 'video', 'video_name', 'video_uid', 'clip_uid', 'name',
  'filename', 'vid',
)  # fmt: skip
_ITEMS = ('annotations', 'segments', 'actions', 'events', 'instances')
_LABEL = ('label', 'label_name', 'class', 'class_name', 'action', 'category')
_LABEL_ID = ('label_id', 'label_idx', 'class_id', 'category_id', 'action_id')
_FRAMES = ('segment(frames)', 'segment_frames', 'frames', 'frame_segment')
_PAIRS = (
  ('start', 'end'), ('start_time', 'end_time'), ('start_sec', 'end_sec'),
  ('t_start', 't_end'), ('begin', 'end'), ('t0', 't1'), ('startTime', 'endTime'),
)  # fmt: skip
_NUMBER = re.compile(
  r'\s*[-+]?\d{1,300}(\.\d{0,300})?(e[-+]?\d{1,3})?\s*', re.I
)


def is_dialect(document: object) -> bool:
  """Whether a document is of ActivityNet's kind, as far as its shape goes."""
  try:
    database = _database(document)
  except checks.AnnotationError:
    return False
  return isinstance(database, dict) and any(
    isinstance(entry, dict)
    and any(key in entry for key in (*_DURATION, *_ITEMS, 'subset'))
    for entry in list(database.values())[:50]
  )


def normalise(document: object, source: str) -> tuple[object, list[str]]:
  """The document in the form of `activitynet`; what is odd stays as it is.

  Args:
    document: what the JSON file holds; it is not changed.
    source: the file: its name may say the subset.
  Returns:
    the document; what was chosen, one line each.
  Raises:
    AnnotationError: if a recording's name occurs twice in a list.
  """
  database = _database(document)
  if not isinstance(database, dict):
    return document, []
  notes: list[str] = []
  entries = {
    key: entry(value) if isinstance(value, dict) else value
    for key, value in database.items()
  }
  dicts = [value for value in entries.values() if isinstance(value, dict)]
  if dicts and not any('subset' in value for value in dicts):
    subset = subset_of_name(source)
    if subset:
      notes.append(f'the subset {subset} is taken from the name of the file')
      for value in dicts:
        value['subset'] = subset
  version = document.get('version', '') if isinstance(document, dict) else ''
  return {'version': version, 'database': entries}, notes


def subset_of_name(path: str) -> str | None:
  """The subset that a file's name states, e.g. `anet_anno_train.json`."""
  words = re.findall(r'[a-z]+', os.path.basename(path).lower())
  found = {checks.SUBSET_NAMES[w] for w in words if w in checks.SUBSET_NAMES}
  return found.pop() if len(found) == 1 else None


def number(value: object) -> object:
  """A number that is written as text as a number; anything else unchanged."""
  if isinstance(value, str) and _NUMBER.fullmatch(value):
    found = json_files.number(float(value))
    return value if found is None else found
  return value


def _database(document: object) -> object:
  """Entries by id; whatever there is, where it is something else."""
  if isinstance(document, dict) and 'database' in document:
    inner = document['database']
  elif isinstance(document, dict) and isinstance(document.get('videos'), list):
    inner = document['videos']
  elif isinstance(document, dict):
    # An entry for each recording, and perhaps a version beside them.
    inner = {k: v for k, v in document.items() if isinstance(v, dict)}
    if not any(
      any(key in entry for key in (*_DURATION, 'annotations'))
      for entry in inner.values()
    ):
      return None
  else:
    inner = document
  if not isinstance(inner, list):
    return inner
  if not inner or not all(isinstance(entry, dict) for entry in inner):
    return None
  if all(_is_event(entry) for entry in inner):
    return None  # A row an event: a table.
  if any('clips' in entry for entry in inner):
    inner = [clip for video in inner for clip in _ego4d_clips(video)]
  found = {}
  for entry in inner:
    name = next((entry[k] for k in _ID if isinstance(entry.get(k), str)), None)
    if name is None:
      return None
    if name in found:
      raise checks.AnnotationError(f'two entries are called {name[:80]!r}')
    found[name] = entry
  return found


def _is_event(entry: Mapping) -> bool:
  """Whether an entry of a list is an event, not a recording with events."""
  has_times = 'segment' in entry or any(
    start in entry and end in entry for start, end in _PAIRS
  )
  return has_times and not any(key in entry for key in (*_ITEMS, 'clips'))


def _ego4d_clips(video: dict) -> list[dict]:
  """Clips of a video of Ego4D's moments, as entries."""
  clips = video.get('clips')
  entries = []
  for clip in clips if isinstance(clips, list) else ():
    if not isinstance(clip, dict):
      continue
    begin, end = (
      json_files.number(clip.get(f'video_{side}_sec'))
      for side in ('start', 'end')
    )
    items = []
    for one in clip.get('annotations') or ():
      labels = one.get('labels') if isinstance(one, dict) else None
      items += labels if isinstance(labels, list) else []
    entry = {'id': clip.get('clip_uid'), 'annotations': items}
    if begin is not None and end is not None:
      entry['duration'] = end - begin
    if 'split' in video:
      entry['subset'] = video['split']
    entries.append(entry)
  return entries


def entry(found: Mapping) -> dict:
  """What a file says of one recording, with our names of it."""
  made = dict(found)
  if 'duration' not in made:
    key = next((k for k in _DURATION if k in made), None)
    if key:
      made['duration'] = made[key]
  for key in ('duration', 'fps', 'feature_fps'):
    if key in made:
      made[key] = number(made[key])
  for key in ('subset', 'split'):
    subset = made.get(key)
    if isinstance(subset, str) and 'subset' not in made or key == 'subset':
      if isinstance(subset, str):
        made['subset'] = checks.SUBSET_NAMES.get(subset.strip().lower(), subset)
  if 'annotations' not in made:
    key = next((k for k in _ITEMS if isinstance(made.get(k), list)), None)
    if key:
      made['annotations'] = made[key]
  if made.get('annotations', ()) is None and made.get('subset') == 'testing':
    made['annotations'] = []  # Hidden test annotations.
  items = made.get('annotations')
  if isinstance(items, list):
    fps = json_files.number(made.get('fps'))
    made['annotations'] = [
      _item(item, fps) if isinstance(item, dict) else item for item in items
    ]
  return made


def _item(item: Mapping, fps: float | None) -> dict:
  made = dict(item)
  if 'segment' not in made:
    for start, end in _PAIRS:
      if start in made and end in made:
        made['segment'] = [made[start], made[end]]
        break
    else:
      key = next((k for k in _FRAMES if isinstance(made.get(k), list)), None)
      if key and fps and fps > 0:
        values = [json_files.number(number(v)) for v in made[key]]
        if None not in values:
          made['segment'] = [value / fps for value in values]
  pair = made.get('segment')
  if isinstance(pair, list):
    made['segment'] = [number(value) for value in pair]
  if 'label' not in made:
    key = next((k for k in _LABEL if isinstance(made.get(k), str)), None)
    if key:
      made['label'] = made[key]
    else:  # Classes by number only: still classes, not one and the same.
      key = next((k for k in _LABEL_ID if k in made), None)
      value = json_files.number(number(made[key])) if key else None
      if value is not None:
        made['label'] = f'{value:g}'
  return made
