"""Other annotation formats to ActivityNet's: THUMOS14's folders, CSV tables."""

import math
import os
from collections.abc import Mapping

from cmsn_jax.annotations import activitynet, imported
from cmsn_jax.annotations import lengths as video_lengths
from cmsn_jax.annotations import thumos14 as thumos14_files
from cmsn_jax.files import csv_tables, json_files, video_ids
from cmsn_jax.video import video_files

_SUBSET_NAMES = {
  'train': 'training',
  'training': 'training',
  'val': 'validation',
  'valid': 'validation',
  'validation': 'validation',
  'dev': 'validation',
  'test': 'testing',
  'testing': 'testing',
}


thumos14 = thumos14_files.read


def csv(
  path: json_files.PathLike,
  *,
  lengths: Mapping[str, video_lengths.Length] | None = None,
  subset: str = 'training',
) -> activitynet.Annotations:
  """The annotations in a CSV table.

  The header names the columns video, start, end (seconds) and label, in any
  order and common spelling; subset, duration and fps may be there too. A row
  with neither start nor end states a video without instances.

  Args:
    path: the file.
    lengths: durations that no column states, see `video_lengths.read`. Videos
      that only these name are left out.
    subset: of the videos for which no column states it.
  Returns:
    the annotations, videos in order of first appearance.
  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is no such table (`TableError`) or its contents are
      wrong (`AnnotationError`, all problems by row).
  """
  if subset not in activitynet.SUBSETS:
    raise ValueError(
      f'subset must be one of {", ".join(activitynet.SUBSETS)}, got {subset!r}'
    )
  rows = csv_tables.read(path, ('video', 'start', 'end', 'label'))
  problems = []
  videos = _csv_videos(rows, problems, str(path))
  database, names = {}, {}
  for video_id, (stated, instances) in videos.items():
    length = (lengths or {}).get(video_id, video_lengths.Length(math.nan))
    duration = stated.get('duration', length.duration_sec)
    fps = stated.get('fps', length.fps)
    if math.isnan(duration):
      problems.append(
        f'{video_id}: no duration; add a column "duration" (seconds of the '
        'video) or give durations from another file or folder'
      )
      continue
    measured = length.duration_sec
    if abs(measured - duration) > max(0.5, 0.02 * duration):  # never if NaN
      problems.append(
        f'{video_id}: the table says {duration:g} s, the files given for '
        f'durations say {measured:g} s; mend the column, or the rate of the '
        'features'
      )
      continue
    items = [
      {'segment': [i.start_sec, i.end_sec], 'label': i.label} for i in instances
    ]
    database[video_id] = imported.entry(
      stated.get('subset', subset), video_lengths.Length(duration, fps), items
    )
    names[video_id] = [i.where for i in instances]
  imported.raise_all(str(path), problems)
  return activitynet.parse(
    {'version': os.path.basename(path), 'database': database}, str(path), names
  )


def _csv_videos(
  rows: list[csv_tables.Row], problems: list[str], source: str
) -> dict[str, tuple[dict, list[imported.Instance]]]:
  """What is stated of each video, and its instances, in order."""
  videos: dict[str, tuple[dict, list[imported.Instance]]] = {}
  cut = []
  for row in rows:
    where = f'row {row.line}'
    video_id, suffix = os.path.splitext(row.values['video'])
    if suffix.lower() in video_files.SUFFIXES:
      cut.append(row.values['video'])
    else:
      video_id = row.values['video']
    bad_id = video_ids.problem(video_id)
    if bad_id:
      problems.append(f'{where}: video id {video_ids.shown(video_id)} {bad_id}')
      continue
    stated, instances = videos.setdefault(video_id, ({}, []))
    _state(row, stated, problems)
    start, end = row.number('start', problems), row.number('end', problems)
    if not row.values['start'] and not row.values['end']:
      continue
    if start is None or end is None:
      if not row.values['start'] or not row.values['end']:
        problems.append(f'{where}: expected both start and end, or neither')
      continue
    if not row.values['label']:
      problems.append(f'{where}: no label')
      continue
    instances.append(imported.Instance(start, end, row.values['label'], where))
  if cut:
    imported.warn(
      f'{source}: video ids are names without a suffix; left out in '
      f'{len(cut)} rows ({imported.some(cut)})'
    )
  return videos


def _state(row: csv_tables.Row, stated: dict, problems: list[str]) -> None:
  """Adds the row's subset, duration and rate to what earlier rows stated."""
  found = {
    'duration': row.number('duration', problems),
    'fps': row.number('fps', problems),
  }
  subset = row.values.get('subset', '')
  if subset:
    found['subset'] = _SUBSET_NAMES.get(subset.lower())
    if found['subset'] is None:
      problems.append(
        f'row {row.line}: found subset {json_files.shown(subset)}, expected '
        'training, validation or testing'
      )
  for key, value in found.items():
    if value is not None and stated.setdefault(key, value) != value:
      problems.append(
        f'row {row.line}: found {key} {value}, earlier rows of this video '
        f'have {stated[key]}'
      )
