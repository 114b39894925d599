"""Positions of body parts as trackers write them.

DeepLabCut and Lightning Pose (CSV with header rows scorer, bodyparts, coords;
pandas HDF5), SLEAP (analysis HDF5), OpenPose and MediaPipe (JSON). The readers
are our own: `movement` and `sleap-io` bring xarray, pandas, PyTables and video
libraries for what is a table of numbers.
"""

import csv
import os
import re
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Float

from cmsn_jax.files import (
  feature_arrays,
  feature_h5,
  json_files,
  safe_pickle,
)

_MAX_HEADER = 4_000_000
SUFFIXES = ('.csv', '.h5', '.hdf5', '.json')


class PoseFileError(ValueError):
  """A file is damaged, or of no tracker that is known."""


class Pose(NamedTuple):
  """Positions of one recording.

  Attributes:
    points: [t, a, n, 2], frames, animals, body parts, (x, y); NaN where a part
      was not found.
    likelihood: [t, a, n] in [0, 1]; 1 where the tracker says none.
    animals: names.
    parts: names.
  """

  points: Float[np.ndarray, 't a n 2']
  likelihood: Float[np.ndarray, 't a n']
  animals: tuple[str, ...]
  parts: tuple[str, ...]


def read(path: str) -> Pose:
  """The positions in a tracker's file.

  Raises:
    FileNotFoundError: if there is no such file.
    PoseFileError: if it is damaged, or of no tracker that is known.
  """
  json_files.require_file(path, PoseFileError)
  suffix = os.path.splitext(path)[1].lower()
  try:
    if suffix == '.csv':
      return _of_csv(path)
    if suffix in ('.h5', '.hdf5'):
      return _of_h5(path)
    if suffix == '.json':
      return _of_json(path)
  except (feature_arrays.FeatureFileError, safe_pickle.PickleError) as problem:
    raise PoseFileError(str(problem)) from None
  raise PoseFileError(
    f'{path}: expected a file of DeepLabCut, Lightning Pose (.csv, .h5), SLEAP '
    '(.h5), OpenPose or MediaPipe (.json)'
  )


def _of_csv(path: str) -> Pose:
  rows, header = [], []
  try:
    with open(path, encoding='utf-8-sig', newline='') as file:
      for cells in csv.reader(file):
        if len(header) < 5 and cells and not _is_number(cells[0]):
          header.append([cell.strip() for cell in cells])
          if sum(map(len, header[-1])) > _MAX_HEADER:
            raise PoseFileError(f'{path}: found a header of over 4 MB')
        elif cells:
          rows.append([float(cell or 'nan') for cell in cells[1:]])
  except UnicodeDecodeError:
    raise PoseFileError(f'{path}: not a text file') from None
  except (csv.Error, ValueError) as problem:
    raise PoseFileError(
      f'{path}: row {len(header) + len(rows) + 1}: {str(problem)[:200]}'
    ) from None
  names = {row[0].lower(): row[1:] for row in header}
  if 'bodyparts' not in names or 'coords' not in names or not rows:
    raise PoseFileError(
      f'{path}: expected the header rows scorer, bodyparts and coords of '
      'DeepLabCut or Lightning Pose, and rows of numbers'
    )
  width = len(names['coords'])
  if any(len(row) != width for row in rows) or len(names['bodyparts']) != width:
    raise PoseFileError(f'{path}: found rows of another width than the header')
  animals = names.get('individuals') or ['animal'] * width
  columns = list(zip(animals, names['bodyparts'], names['coords']))
  return _of_columns(path, np.array(rows, np.float64), columns)


def _is_number(text: str) -> bool:
  try:
    float(text)
  except ValueError:
    return False
  return True


def _of_columns(path, values, columns) -> Pose:
  """From columns named (animal, part, 'x' | 'y' | 'likelihood')."""
  animals = tuple(dict.fromkeys(str(column[0]) for column in columns))
  parts = tuple(dict.fromkeys(str(column[1]) for column in columns))
  shape = len(values), len(animals), len(parts)
  points = np.full((*shape, 2), np.nan)
  likelihood = np.ones(shape)
  places = set()
  for k, (animal, part, coord) in enumerate(columns):
    at = animals.index(str(animal)), parts.index(str(part))
    coord = str(coord).lower()
    if (at, coord) in places:
      raise PoseFileError(f'{path}: found the column {part} {coord} twice')
    places.add((at, coord))
    if coord in ('x', 'y'):
      points[:, at[0], at[1], 'xy'.index(coord)] = values[:, k]
    elif coord in ('likelihood', 'confidence', 'score'):
      likelihood[:, at[0], at[1]] = np.nan_to_num(values[:, k])
  if not any(coord == 'x' for _, coord in places):
    raise PoseFileError(f'{path}: found no column x of any part')
  return Pose(points, likelihood, animals, parts)


def _of_h5(path: str) -> Pose:
  file = feature_h5.H5File(path)
  try:
    with feature_h5.damage_named(path):
      group = file.file()
      names = [str(name) for name in group]
      if 'tracks' in names:
        return _of_sleap(path, group)
      inner = group[names[0]] if len(names) == 1 else None
      if isinstance(inner, h5py.Group) and 'table' in inner:
        return _of_pandas_table(path, inner)
      if isinstance(inner, h5py.Group) and 'block0_values' in inner:
        return _of_pandas_fixed(path, inner)
  finally:
    file.close()
  raise PoseFileError(
    f"{path}: found {', '.join(names[:6]) or 'nothing'}, expected SLEAP's "
    'analysis file ("tracks", "node_names") or DeepLabCut\'s'
  )


def _texts(dataset) -> list[str]:
  return [
    one.decode('utf-8', 'replace') if isinstance(one, bytes) else str(one)
    for one in np.ravel(dataset[()]).tolist()
  ]


def _of_sleap(path: str, group: h5py.File) -> Pose:
  tracks = group['tracks']
  feature_h5.check_stored(tracks, path)
  if tracks.ndim != 4 or 2 not in tracks.shape:
    raise PoseFileError(
      f'{path}: found tracks of shape {list(tracks.shape)}, expected [animals, '
      '2, parts, frames]'
    )
  values = tracks[()].astype(np.float64)
  if values.shape[1] != 2:  # as MATLAB-minded exports have it
    values = values.T if values.shape[2] == 2 else values
  if values.shape[1] != 2:
    raise PoseFileError(f'{path}: no axis of x and y where it is expected')
  points = values.transpose(3, 0, 2, 1)
  likelihood = np.ones(points.shape[:3])
  if 'point_scores' in group:
    scores = group['point_scores']
    feature_h5.check_stored(scores, path)
    scores = scores[()]
    if scores.shape == (values.shape[0], values.shape[2], values.shape[3]):
      likelihood = np.nan_to_num(scores).transpose(2, 0, 1)
  parts = _texts(group['node_names']) if 'node_names' in group else []
  animals = _texts(group['track_names']) if 'track_names' in group else []
  if len(parts) != points.shape[2]:
    parts = [f'part {k}' for k in range(points.shape[2])]
  if len(animals) != points.shape[1]:
    animals = [f'animal {k}' for k in range(points.shape[1])]
  return Pose(points, likelihood, tuple(animals), tuple(parts))


def _of_pandas_table(path: str, group: h5py.Group) -> Pose:
  table = group['table']
  fields = [name for name in table.dtype.names or () if name != 'index']
  blocks = [name for name in fields if name.startswith('values_block')]
  if len(blocks) != 1:
    raise PoseFileError(f'{path}: found a table of {", ".join(fields[:5])}')
  feature_h5.check_stored(table, path, numbers=False)
  values = np.asarray(table[()][blocks[0]], np.float64)
  values = values.reshape(len(values), -1)
  axes = group.attrs.get('non_index_axes')
  columns = None
  if axes is not None:
    raw = axes if isinstance(axes, bytes) else bytes(axes)
    tree = safe_pickle.loads(raw, path)
    if isinstance(tree, list) and tree and isinstance(tree[0], (tuple, list)):
      columns = [tuple(column)[-3:] for column in tree[0][1]]
      if len(tree[0][1][0]) == 3:
        columns = [('animal', part, coord) for _, part, coord in columns]
  return _of_columns(path, values, columns or _usual(path, values.shape[1]))


def _of_pandas_fixed(path: str, group: h5py.Group) -> Pose:
  dataset = group['block0_values']
  feature_h5.check_stored(dataset, path)
  values = np.asarray(dataset[()], np.float64)
  levels = []
  for k in range(5):
    if f'axis0_level{k}' in group and f'axis0_label{k}' in group:
      names = _texts(group[f'axis0_level{k}'])
      places = np.ravel(group[f'axis0_label{k}'][()]).tolist()
      if len(places) != values.shape[1] or not all(
        0 <= place < len(names) for place in places
      ):
        raise PoseFileError(f'{path}: its columns have no sound names')
      levels.append([names[place] for place in places])
  if len(levels) < 3:
    return _of_columns(path, values, _usual(path, values.shape[1]))
  columns = list(zip(*levels[-3:]))
  if len(levels) == 3:
    columns = [('animal', part, coord) for _, part, coord in columns]
  return _of_columns(path, values, columns)


def _usual(path: str, width: int) -> list[tuple[str, str, str]]:
  """The columns of a DeepLabCut table that does not name them."""
  if width % 3:
    raise PoseFileError(
      f'{path}: found {width} columns without names, expected x, y and '
      'likelihood of each part'
    )
  return [
    ('animal', f'part {k}', coord)
    for k in range(width // 3)
    for coord in ('x', 'y', 'likelihood')
  ]


def _of_json(path: str) -> Pose:
  """OpenPose's and MediaPipe's frames: a list of them, or under one key."""
  document = json_files.read(path, PoseFileError)
  if isinstance(document, dict) and 'people' not in document:
    lists = [v for v in document.values() if isinstance(v, list)]
    document = lists[0] if len(lists) == 1 else document
  frames = document if isinstance(document, list) else [document]
  found = [_people(path, frame) for frame in frames]
  widths = {len(person) for people in found for person in people}
  if len(widths) != 1 or 0 in widths:
    raise PoseFileError(
      f'{path}: expected frames with "people" (OpenPose) or "landmarks" '
      f'(MediaPipe) of one number of points, found {sorted(widths)[:5]}'
    )
  animals = max(len(people) for people in found)
  count = widths.pop()
  table = np.full((len(found), animals, count, 3), np.nan)
  for t, people in enumerate(found):
    for a, person in enumerate(people):
      table[t, a] = person
  # OpenPose writes zeros for a point that it does not find.
  likelihood = np.nan_to_num(table[..., 2])
  points = np.where(likelihood[..., None] > 0, table[..., :2], np.nan)
  return Pose(
    points,
    likelihood,
    tuple(f'animal {k}' for k in range(animals)),
    tuple(f'part {k}' for k in range(count)),
  )


def _people(path: str, frame: Any) -> list[list[list[float]]]:
  if isinstance(frame, dict) and isinstance(frame.get('people'), list):
    people = []
    for person in frame['people']:
      numbers = isinstance(person, dict) and person.get('pose_keypoints_2d')
      if not isinstance(numbers, list) or len(numbers) % 3:
        raise PoseFileError(f'{path}: a person without "pose_keypoints_2d"')
      people.append(
        [_numbers(path, numbers[k : k + 3]) for k in range(0, len(numbers), 3)]
      )
    return people
  if isinstance(frame, dict):
    frame = next(
      (
        frame[key]
        for key in ('landmarks', 'pose_landmarks', 'keypoints')
        if key in frame
      ),
      None,
    )
  if frame is None or frame == []:
    return []
  if not isinstance(frame, list):
    raise PoseFileError(f'{path}: found {json_files.shown(frame)} as a frame')
  # One person's points, or a list of persons.
  if (
    isinstance(frame[0], list)
    and isinstance(frame[0][0:1], list)
    and (frame[0] and isinstance(frame[0][0], (dict, list)))
  ):
    return [[_point(path, p) for p in person] for person in frame]
  return [[_point(path, point) for point in frame]]


def _point(path: str, point: Any) -> list[float]:
  if isinstance(point, dict):
    seen = point.get('visibility', point.get('confidence', 1.0))
    point = [point.get('x'), point.get('y'), seen]
  if isinstance(point, list) and len(point) == 2:
    point = [*point, 1.0]
  return _numbers(path, point)


def _numbers(path: str, values: Any) -> list[float]:
  numbers = (
    [json_files.number(value) for value in values]
    if isinstance(values, list) and len(values) >= 3
    else [None]
  )
  if None in numbers[:3]:
    raise PoseFileError(
      f'{path}: found the point {json_files.shown(values)}, expected x, y and '
      'confidence'
    )
  return numbers[:3]


def recording(path: str) -> str:
  """The recording's name: without what trackers add behind it."""
  stem = os.path.splitext(os.path.basename(path))[0]
  stem = re.sub(r'\.(analysis|predictions)(\.\w+)?$', '', stem)
  return re.sub(r'(DLC[_A-Z].*|_keypoints|_filtered)$', '', stem) or stem
