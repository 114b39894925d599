"""Durations of videos, from wherever they can be had."""

import dataclasses
import os
import warnings

from cmsn_jax.annotations import (
  activitynet,
  checks,
  columns,
  dialects,
  recording_names,
)
from cmsn_jax.files import (
  cell_values,
  csv_tables,
  feature_files,
  feature_folders,
  json_files,
  video_ids,
)  # fmt: skip
from cmsn_jax.video import decoding, video_files

_H5_SUFFIXES = ('.h5', '.hdf5')


@dataclasses.dataclass(frozen=True)
class Length:
  """A video's length.

  Attributes:
    duration_sec: seconds.
    fps: frames per second, where known.
  """

  duration_sec: float | int
  fps: float | int | None = None


def read(
  path: json_files.PathLike, feature_fps: float | int | None = None
) -> dict[str, Length]:
  """Lengths by video id.

  Args:
    path: one of: a JSON file `{"<id>": seconds}` or `{"<id>": {"duration":
      seconds, "fps": frames per second}}` or a whole annotation file; a
      table with the columns video, duration and perhaps fps; a folder of
      videos; a folder or .h5 file of features (with `feature_fps`).
    feature_fps: snippets per second of the features; None takes the folder's
      `features.json`.
  Returns:
    the lengths of all videos there.
  Raises:
    FileNotFoundError: if there is nothing at `path`.
    ValueError: if it is none of these, or malformed.
  """
  path = os.fspath(path)
  if not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such file or folder')
  if os.path.isdir(path):
    if _holds_videos(path):
      return of_videos(path)
    return _of_features(path, feature_fps)
  suffix = os.path.splitext(path)[1].lower()
  if suffix in _H5_SUFFIXES:
    return _of_features(path, feature_fps)
  if suffix not in csv_tables.SPREADSHEETS:
    json_files.require_file(path)
    with open(path, 'rb') as file:
      if file.read(100).lstrip(b'\xef\xbb\xbf \r\n\t')[:1] in (b'{', b'['):
        return _of_json(path)
  return _of_table(path)


def of_videos(folder: json_files.PathLike) -> dict[str, Length]:
  """Lengths of the videos in a folder, by name without suffix.

  Those that cannot be read are left out, with a warning each.

  Raises:
    ValueError: if there is no video that can be read.
  """
  lengths, problems = {}, []
  for video_id, file in video_files.find_videos(folder).items():
    try:
      info = decoding.probe(file)
    except video_files.VideoError as error:
      problems.append(str(error))
    else:
      lengths[video_id] = Length(info.duration_sec, info.fps)
  if not lengths:
    raise ValueError(
      f'{folder}: none of its {len(problems)} videos can be read, e.g. '
      f'{problems[0]}'
    )
  for problem in problems:
    warnings.warn(
      f'no duration: {problem}', video_files.VideoWarning, stacklevel=2
    )
  return lengths


def compare(
  annotations: activitynet.Annotations, folder: json_files.PathLike
) -> list[str]:
  """How annotated durations and those of videos agree, in a few lines.

  A video may be off by half a second or 2 %, whichever is more.
  """
  found = of_videos(folder)
  known = annotations.videos
  both = sorted(set(known) & set(found))
  lines = [
    f'videos: {len(both)} of {len(known)} annotated ones are in {folder}'
  ]
  if set(known) - set(found):
    lines.append(
      'without a file that can be read: ' + _few(set(known) - set(found))
    )
  if set(found) - set(known):
    lines.append('not annotated: ' + _few(set(found) - set(known)))
  for video_id in both:
    stated, measured = (
      known[video_id].duration_sec,
      found[video_id].duration_sec,
    )
    if abs(stated - measured) > max(0.5, 0.02 * measured):
      lines.append(
        f'{video_id}: annotated as {stated:.2f} s, its file has '
        f'{measured:.2f} s'
      )
  return lines


def _few(names) -> str:
  names = sorted(names)
  return ', '.join(names[:5]) + (', …' if len(names) > 5 else '')


def _holds_videos(folder: str) -> bool:
  """Whether it is rather a folder of videos than one of features."""
  suffixes = [os.path.splitext(name)[1].lower() for name in os.listdir(folder)]
  videos = sum(suffix in video_files.SUFFIXES for suffix in suffixes)
  features = sum(suffix in feature_folders.READERS for suffix in suffixes)
  # A table beside the videos, or a picture beside the features, decides nothing.
  return 0 < videos >= features


def _of_features(
  path: str, feature_fps: float | int | None
) -> dict[str, Length]:
  store = feature_files.open_features(path, feature_fps=feature_fps)
  sidecar = store.sidecar or {}
  if sidecar.get('rescaled'):
    raise ValueError(
      f'{path}: features stretched to one length (rescaled) say no duration; '
      'give the durations from videos or a table'
    )
  own = sidecar.get('feature_fps')
  rates = own if isinstance(own, dict) else {}
  if store.feature_fps is None and not set(store.ids) <= set(rates):
    raise ValueError(
      f'{path}: the rate of the features is needed for durations; give '
      'feature_fps (snippets per second)'
    )
  rows = {video_id: store.num_snippets(video_id) for video_id in store.ids}
  shown = f'{store.feature_fps:g}' if store.feature_fps else 'of each'
  equal = len(rows) > 1 and len(set(rows.values())) == 1
  warnings.warn(
    f'{path}: durations are computed from the number of rows and the rate '
    f'({shown} a second), not measured: they cannot show '
    'whether that rate is right'
    + (
      f'. All {len(rows)} recordings have {next(iter(rows.values()))} rows: if '
      'they are not equally long, the arrays may be transposed ([D, T]) or '
      'stretched to one length'
      if equal
      else ''
    ),
    feature_files.FeatureFileWarning,
    stacklevel=3,
  )
  return {
    video_id: Length(count / rates.get(video_id, store.feature_fps))
    for video_id, count in rows.items()
  }


def _of_table(path: str) -> dict[str, Length]:
  table = csv_tables.read(path)
  chosen = columns.choose(table, needed=('video', 'duration'))
  lengths, problems, names = {}, [], {}
  signs = {}
  for role in ('duration', 'fps'):
    try:
      cells = [chosen.cell(row, role) for row in table.rows]
      signs[role] = cell_values.decimal_sign(cells)
    except ValueError as problem:
      raise csv_tables.TableError(f'{path}: {problem}') from None
  problems += table.misfits()
  for row in table.rows:
    where = f'row {row.line}'
    name = chosen.cell(row, 'video')
    video_id = recording_names.plain(name)
    if video_ids.problem(video_id):
      problems.append(
        f'{where}: video id {video_ids.shown(video_id)} '
        f'{video_ids.problem(video_id)}'
      )
      continue
    duration = _number(chosen, row, 'duration', signs, problems)
    fps = _number(chosen, row, 'fps', signs, problems)
    if duration is None or duration <= 0:
      problems.append(f'{where}: expected a positive duration of {video_id}')
      continue
    length = Length(duration, fps)
    if names.setdefault(video_id, name) != name:
      problems.append(
        f'{where}: {names[video_id]!r} and {name!r} have one name without '
        'their suffix; rename one'
      )
    elif lengths.setdefault(video_id, length) != length:
      problems.append(f'{where}: another duration of {video_id} than before')
  if problems:
    raise checks.AnnotationError(
      f'{path}: {json_files.problems_found(len(problems))}', tuple(problems)
    )
  return lengths


def _number(chosen, row, role, signs, problems) -> float | None:
  """The number in a column, in seconds; None where there is none."""
  text = chosen.cell(row, role)
  if cell_values.is_missing(text):
    return None
  try:
    value = cell_values.parse(text, signs[role])
  except ValueError as problem:
    problems.append(
      f'row {row.line}: found {role} {json_files.shown(text)}, expected '
      f'{problem}'
    )
    return None
  unit = value.unit or chosen.chosen[role].unit or ''
  return value.number * cell_values.SECONDS.get(unit, 1.0)


def _of_json(path: str) -> dict[str, Length]:
  document = json_files.read(path)
  if isinstance(document, dict) and 'database' in document:
    document = document['database']
  if not isinstance(document, dict) or not document:
    raise ValueError(
      f'{path}: found {json_files.shown(document)}, expected '
      '{"<video id>": seconds, …}'
    )
  lengths = {}
  for video_id, value in document.items():
    fps = None
    if isinstance(value, dict):
      value = dialects.entry(value)
      fps = json_files.number(value.get('fps'))
      value = value.get('duration')
    duration = json_files.number(dialects.number(value))
    if duration is None or duration <= 0:
      raise ValueError(
        f'{path}: found {json_files.shown(value)} as the duration of '
        f'{video_ids.shown(video_id)}, expected seconds'
      )
    lengths[video_id] = Length(duration, fps)
  return lengths
