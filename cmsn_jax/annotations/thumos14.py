"""THUMOS14's temporal annotations, as they are distributed."""

import collections
import os
import re
from collections.abc import Iterable, Mapping

from cmsn_jax.annotations import activitynet, imported
from cmsn_jax.annotations import lengths as video_lengths
from cmsn_jax.files import json_files, video_ids

# THUMOS14 trains on its validation videos: its training videos are trimmed
# (Sec. 5.1). So they become the training subset here.
SUBSETS = {'val': 'training', 'test': 'testing'}
_ID = re.compile(r'video_(validation|test)_\d{7}')
_FILE = re.compile(r'(.+)_(val|test)\.txt')
_LINE = re.compile(r'(\S+)\s+(\S+)\s+(\S+)')
# Usual frame rates below THUMOS14's 30, for videos whose own is not known.
_RATES = (30.0, 29.97, 25.0, 24.0, 23.976, 20.0, 15.0)
_MAX_DEPTH = 3


def read(
  folder: json_files.PathLike,
  *,
  lengths: Mapping[str, video_lengths.Length] | None = None,
  past_end: str = 'keep',
) -> activitynet.Annotations:
  """THUMOS14's temporal annotations, as they are distributed.

  Every `<Class>_val.txt` (subset "training") and `<Class>_test.txt` ("testing")
  below the folder, with lines `video start end` in seconds. "Ambiguous" stays a
  label: drop it later with `without_labels`.

  Durations are `lengths`, else frame counts over frame rates out of
  `frm_num.json`, `thumos_frames_info.json` and `movie_fps.json` below the
  folder. A rate that these lack is taken as 30, or as the next usual one at
  which the last instance still lies in the video.

  A few instances end after the video. One that begins in it is clipped; one
  that begins after it is kept, marked `past_end`, since the usual evaluation
  counts it.

  Args:
    folder: holds the annotation folders, at most three levels down.
    lengths: of the videos themselves, see `video_lengths.read`; None uses the
      files above only.
    past_end: 'keep' or 'drop' instances that begin after the video's end.
  Returns:
    the annotations, videos in order of their ids.
  Raises:
    FileNotFoundError: if there is no such folder.
    AnnotationError: if there are no annotation files, a line is malformed, or
      a duration is missing; all problems in one.
  """
  if past_end not in ('keep', 'drop'):
    raise ValueError(f"past_end must be 'keep' or 'drop', got {past_end!r}")
  files = _walk(os.fspath(folder))
  instances, subsets = _instances(os.fspath(folder), files)
  found = _lengths(files, instances, lengths or {}, str(folder))
  clipped, behind, database, names = [], [], {}, {}
  for video_id in sorted(instances):
    length = found[video_id]
    items, places = [], []
    for instance in instances[video_id]:
      item, kind = _fitted(instance, length.duration_sec)
      if kind == 'clipped':
        clipped.append(video_id)
      elif kind == 'behind':
        behind.append(video_id)
        if past_end == 'drop':
          continue
      items.append(item)
      places.append(instance.where)
    database[video_id] = imported.entry(subsets[video_id], length, items)
    names[video_id] = places
  _warn_past_end(str(folder), clipped, behind, past_end)
  return activitynet.parse(
    {'version': 'THUMOS14', 'database': database}, str(folder), names
  )


def are_ids(names: Iterable[str]) -> bool:
  """Whether all names are those of THUMOS14's videos."""
  names = list(names)
  return bool(names) and all(_ID.fullmatch(name) for name in names)


def _walk(folder: str) -> list[str]:
  """Files at most `_MAX_DEPTH` folders down, sorted."""
  if not os.path.isdir(folder):
    raise FileNotFoundError(f'{folder}: no such folder')
  found = []
  top = folder.rstrip(os.sep).count(os.sep)
  for parent, folders, names in os.walk(folder, followlinks=True):
    if parent.rstrip(os.sep).count(os.sep) - top >= _MAX_DEPTH:
      folders.clear()
    found += [os.path.join(parent, name) for name in names]
  return sorted(found)


def _instances(
  folder: str, files: list[str]
) -> tuple[dict[str, list[imported.Instance]], dict[str, str]]:
  """Instances and subset of each video, out of all annotation files."""
  instances, subsets = collections.defaultdict(list), {}
  problems = []
  seen = {}
  for path in files:
    match = _FILE.fullmatch(os.path.basename(path))
    if not match:
      continue
    if match[0] in seen:
      problems.append(f'{path}: there is {seen[match[0]]} too; keep one')
      continue
    seen[match[0]] = path
    label, subset = match[1], SUBSETS[match[2]]
    for line, text in enumerate(_lines(path, problems), 1):
      where = f'{match[0]} line {line}'
      fields = _LINE.fullmatch(text.strip())
      times = [_seconds(fields[k]) for k in (2, 3)] if fields else [None]
      if None in times:
        if text.strip():
          problems.append(
            f'{where}: found {json_files.shown(text.strip())}, expected '
            '"video start end" with seconds'
          )
        continue
      video_id = fields[1]
      if video_ids.problem(video_id):
        problems.append(f'{where}: video id {video_ids.problem(video_id)}')
        continue
      if subsets.setdefault(video_id, subset) != subset:
        problems.append(
          f'{where}: {video_id} is in both the validation and the test files'
        )
      instances[video_id].append(imported.Instance(*times, label, where))
  if not seen:
    raise activitynet.AnnotationError(
      f'{folder}: no annotation files, expected <Class>_val.txt and '
      '<Class>_test.txt in it or in folders below it'
    )
  imported.raise_all(folder, problems)
  return dict(instances), subsets


def _lines(path: str, problems: list[str]) -> list[str]:
  try:
    json_files.require_file(path)
    with open(path, encoding='utf-8-sig') as file:
      return file.read().splitlines()
  except (UnicodeDecodeError, ValueError):
    problems.append(f'{path}: not a text file')
    return []


def _seconds(text: str) -> float | None:
  # float() takes more than THUMOS14 writes: nan, inf, 1_0.
  if not re.fullmatch(r'-?\d{1,9}(\.\d{1,20})?', text):
    return None
  return float(text)


def _lengths(
  files: list[str],
  instances: dict[str, list[imported.Instance]],
  given: Mapping[str, video_lengths.Length],
  source: str,
) -> dict[str, video_lengths.Length]:
  by_name = {os.path.basename(path): path for path in files}
  frames = {
    **_table(by_name.get('thumos_frames_info.json')),
    **_table(by_name.get('frm_num.json')),
  }
  rates = _table(by_name.get('movie_fps.json'))
  lengths, missing, assumed = {}, [], collections.defaultdict(list)
  for video_id, items in sorted(instances.items()):
    if video_id in given:
      lengths[video_id] = given[video_id]
    elif video_id not in frames:
      missing.append(video_id)
    else:
      fps = rates.get(video_id)
      if fps is None:
        last = max(item.end_sec for item in items)
        fps = _assumed_rate(frames[video_id], last)
        assumed[fps].append(video_id)
      lengths[video_id] = video_lengths.Length(frames[video_id] / fps, fps)
  if missing:
    raise activitynet.AnnotationError(
      f'{source}: no duration of {len(missing)} of {len(instances)} videos '
      f'({imported.some(missing)}); give them (--durations: a folder of the videos or '
      'of their features, a JSON or CSV file) or put frm_num.json and '
      'movie_fps.json, or thumos_frames_info.json, beside the annotations'
    )
  if assumed:
    counts = '; '.join(
      f'{fps:g} for {len(names)} videos ({imported.some(names)})'
      for fps, names in sorted(assumed.items(), reverse=True)
    )
    imported.warn(
      f'{source}: the frame rate of {sum(map(len, assumed.values()))} videos is '
      f'not stated; taken as {counts}: 30, or the next usual rate at which all '
      'instances lie in the video'
    )
  return lengths


def _assumed_rate(num_frames: float, last_sec: float) -> float:
  for fps in _RATES:
    if last_sec <= num_frames / fps:
      return fps
  return _RATES[0]


def _table(path: str | None) -> dict[str, float]:
  if path is None:
    return {}
  document = json_files.read(path, activitynet.AnnotationError)
  if not isinstance(document, dict):
    raise activitynet.AnnotationError(
      f'{path}: found {json_files.shown(document)}, expected {{"<id>": number}}'
    )
  table = {key: json_files.number(value) for key, value in document.items()}
  for key, value in table.items():
    if value is None or value <= 0:
      raise activitynet.AnnotationError(
        f'{path}: found {json_files.shown(document[key])} for '
        f'{video_ids.shown(key)}, expected a positive number'
      )
  return table


def _fitted(
  instance: imported.Instance, duration_sec: float
) -> tuple[dict, str]:
  """The instance as a JSON entry inside the video, and what that took."""
  start, end = instance.start_sec, instance.end_sec
  item = {'segment': [start, end], 'label': instance.label}
  if end <= duration_sec or start >= end:
    return item, 'inside'
  if start >= duration_sec:
    return {**item, 'past_end': True}, 'behind'
  return {**item, 'segment': [start, duration_sec]}, 'clipped'


def _warn_past_end(
  source: str, clipped: list[str], behind: list[str], past_end: str
) -> None:
  parts = []
  if clipped:
    parts.append(
      f'{len(clipped)} instances end after their video and were clipped '
      f'({imported.some(clipped)})'
    )
  if behind:
    done = {'keep': 'kept, marked "past_end"', 'drop': 'dropped'}[past_end]
    parts.append(
      f'{len(behind)} instances begin after the end of their video and were '
      f'{done} ({imported.some(behind)})'
    )
  if parts:
    imported.warn(f'{source}: {"; ".join(parts)}')
