"""Feature sequences on disk: one `[T, D]` array a video, read by slices.

A folder of `<id>.npy`, `.npz`, `.csv`, `.h5`, `.mat`, `.pt` or `.pkl`, or one .h5
file. Opening lists names and looks at the first rows of tables; another file's
header is read when its video is first asked for. What was chosen (an array
among several, columns left out) is said once as a `FeatureFileWarning`.
"""

import collections
import difflib
import os
import warnings
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32

from cmsn_jax.files import (
  feature_arrays,
  feature_folders,
  feature_h5,
  json_files,
  video_ids,
)

SIDECAR = feature_folders.SIDECAR
FeatureFileError = feature_arrays.FeatureFileError
FeatureFileWarning = feature_folders.FeatureFileWarning
_H5_SUFFIXES = ('.h5', '.hdf5')
# Formats without random access are kept in memory, if small, up to this sum.
_CACHED_FILE_BYTES = 32 * 2**20
_CACHE_BYTES = 256 * 2**20
TRANSPOSE = (
  'save them transposed (array.T), or put "transposed": true into features.json'
)
# Rates are compared as text users type, e.g. 3.33 for 10/3.
_RATE_TOLERANCE = 1e-3


class FeatureStore:
  """The features of a data set; made by `open_features`.

  Attributes:
    path: the folder or file.
    ids: the videos, sorted.
    sidecar: what `features.json` says (`feature_fps`, `dim`, `extractor`, …),
      or None without one.
    feature_fps: snippets per second as the caller or the sidecar says; None
      where nothing does, or the sidecar says one for each recording.
  """

  def __init__(
    self,
    path: str,
    openers: dict[str, tuple],
    sidecar: dict | None,
    feature_fps: float | None,
  ):
    self.path = path
    self.ids = tuple(sorted(openers))
    self.sidecar = sidecar
    self.feature_fps = feature_fps
    self._openers = openers
    self._arrays = {}
    self._cache: collections.OrderedDict[str, np.ndarray] = (
      collections.OrderedDict()
    )
    self._dim, self._dim_from = None, SIDECAR
    self._noted = set()

  def __len__(self) -> int:
    return len(self.ids)

  def __contains__(self, video_id: object) -> bool:
    return video_id in self._openers

  def __getstate__(self):
    return {**self.__dict__, '_cache': collections.OrderedDict()}

  @property
  def dim(self) -> int:
    """Width D of the features: the sidecar's, or the first sound file's.

    Raises:
      FeatureFileError: if no file is sound.
    """
    if self._dim is None:
      self._dim = (self.sidecar or {}).get('dim')
    if self._dim is None:
      self._dim = self._first_dim()
    return self._dim

  def prefer_dim(self, dim: int) -> None:
    """Takes a width that is wanted, where a sound file has it.

    One file of another width, first by name, then does not set the width of
    all. Without any such file, or with one stated by the sidecar, `dim` stays.
    """
    if (self.sidecar or {}).get('dim'):
      return
    for video_id in self.ids:
      try:
        found = self._array(video_id).dim
      except (ValueError, OSError):
        continue
      if found == dim:
        self._dim, self._dim_from = dim, video_id
        return

  def num_snippets(self, video_id: str) -> int:
    """Length T of a video's features, from its header.

    Raises:
      FeatureFileError: if there is no such video, or its file is damaged or
        has another width than the others.
    """
    return self._checked(video_id).num_rows

  def read(
    self,
    video_id: str,
    start: int = 0,
    stop: int | None = None,
    *,
    gaps: bool = False,
  ) -> Float32[np.ndarray, 't d']:
    """Rows [start, stop) of a video's features.

    Args:
      video_id: one of `ids`.
      start: first snippet, at least 0.
      stop: one past the last snippet; None, or more than there are, is the end.
      gaps: let NaN pass, which is where a value is missing.
    Returns:
      features, `[stop - start, D]`, a fresh float32 array.
    Raises:
      FeatureFileError: if there is no such video, its file is damaged or has
        another width than the others, or a value in these rows is not finite
        (the row is named).
      ValueError: if start is negative or after stop.
    """
    array = self._checked(video_id)
    num_rows = array.num_rows
    stop = num_rows if stop is None else min(stop, num_rows)
    start = min(start, num_rows)
    if start < 0 or stop < start:
      raise ValueError(
        f'{video_id}: found rows {start} to {stop} of {num_rows}, expected '
        '0 <= start <= stop'
      )
    rows = self._rows(video_id, array, start, stop)
    finite = ~np.isinf(rows) if gaps else np.isfinite(rows)
    if not finite.all():
      row, column = np.argwhere(~finite)[0].tolist()
      raw = array.read(start + row, start + row + 1)
      raise FeatureFileError(
        f'{self.path}: {video_id}: found {rows[row, column]} in row '
        f'{start + row}, column {column}, expected finite numbers; '
        + _remedy(rows[row, column], raw[0, column])
      )
    return rows

  def check(self, ids: Iterable[str] | None = None) -> None:
    """Reads the headers of many videos, reporting all problems in one error.

    Raises:
      FeatureFileError: naming each damaged or differing file.
    """
    problems = []
    for video_id in self.ids if ids is None else ids:
      try:
        self.num_snippets(video_id)
      except (ValueError, OSError) as problem:
        problems.append(str(problem))
    if problems:
      shown = '\n'.join(f'  {problem}' for problem in problems[:100])
      raise FeatureFileError(
        f'{self.path}: {json_files.problems_found(len(problems))}\n{shown}'
      )

  def _first_dim(self) -> int:
    # One damaged file must not keep the others from being read.
    first_problem = None
    for video_id in self.ids:
      try:
        array = self._array(video_id)
      except (ValueError, OSError) as problem:
        first_problem = first_problem or problem
        continue
      self._dim_from = video_id
      return array.dim
    raise first_problem

  def _array(self, video_id: str):
    if video_id not in self._arrays:
      if video_id not in self._openers:
        close = difflib.get_close_matches(video_id, self.ids, 1)
        hint = f' (did you mean {close[0]}?)' if close else ''
        raise FeatureFileError(
          f'{self.path}: no features of video {video_id!r}{hint}'
        )
      opener, *arguments = self._openers[video_id]
      self._arrays[video_id] = opener(*arguments)
      self._note(video_id)
    return self._arrays[video_id]

  def _note(self, video_id: str) -> None:
    """Says what was chosen in a file, once for all that are alike."""
    for note in getattr(self._arrays[video_id], 'notes', ()):
      if note not in self._noted:
        self._noted.add(note)
        warnings.warn(
          f'{self.path}: {note} (in {video_id}, and wherever it is so)',
          FeatureFileWarning,
          stacklevel=4,
        )

  def _checked(self, video_id: str):
    array = self._array(video_id)
    if array.dim != self.dim:
      other = self._dim_from
      hint = ''
      if other != SIDECAR and array.num_rows == self._array(other).num_rows:
        hint = (
          f'. Both have {array.num_rows} rows, as arrays stored [D, T] have; if '
          f'these are, {TRANSPOSE}'
        )
      raise FeatureFileError(
        f'{self.path}: {video_id} has {array.dim}-dimensional features, '
        f'{other} says {self.dim}; expected one width in all files{hint}'
      )
    return array

  def _rows(
    self, video_id: str, array: object, start: int, stop: int
  ) -> Float32[np.ndarray, 't d']:
    nbytes = array.num_rows * array.dim * 4
    if not array.cached or nbytes > _CACHED_FILE_BYTES:
      return _float32(array.read(start, stop))
    if video_id not in self._cache:
      self._cache[video_id] = _float32(array.read(0, array.num_rows))
      held = sum(rows.nbytes for rows in self._cache.values())
      while held > _CACHE_BYTES:
        held -= self._cache.popitem(last=False)[1].nbytes
    self._cache.move_to_end(video_id)
    return self._cache[video_id][start:stop].copy()


def open_features(
  path: json_files.PathLike,
  *,
  feature_fps: float | int | None = None,
  key: str | None = None,
) -> FeatureStore:
  """The features in a folder, in an HDF5 file, or of one video's file.

  A folder holds one `<id>.npy` (or another kind of `feature_folders.READERS`) a
  video; an .h5 file one array a video, `/<id>` or `/<id>/features`. A
  `features.json` in the folder (`<name>.features.json` beside an .h5 file) may
  state `feature_fps`, `dim`, `extractor`, `key` and `transposed` (the arrays are
  `[D, T]`).

  Args:
    path: the folder or the file; a video's own file goes by the `features.json`
      beside it.
    feature_fps: snippets per second; None takes the sidecar's.
    key: which array of each video's file; None takes the sidecar's, else the
      only one that can be meant.
  Returns:
    the store; no header was read so far.
  Raises:
    FileNotFoundError: if there is nothing at `path`.
    FeatureFileError: if there are no features, an id has two files or cannot
      be an id, or the sidecar is malformed or says another rate.
  """
  path = os.fspath(path)
  if not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such file or folder of features')
  suffix = os.path.splitext(path)[1].lower()
  if os.path.isdir(path):
    openers = feature_folders.scan(path)
    sidecar_path = os.path.join(path, SIDECAR)
  elif suffix in _H5_SUFFIXES:
    file = feature_h5.H5File(path)
    openers = {name: (feature_h5.H5Array, file, name) for name in file.ids()}
    sidecar_path = f'{os.path.splitext(path)[0]}.{SIDECAR}'
  elif suffix in feature_folders.READERS:
    name = os.path.splitext(os.path.basename(path))[0]
    openers = {name: (feature_folders.READERS[suffix], path)}
    sidecar_path = os.path.join(os.path.dirname(path), SIDECAR)
  else:
    raise FeatureFileError(
      f'{path}: expected a folder of <video id>.npy, .npz, .csv, ... files, or '
      'one of these'
    )
  if not openers:
    raise FeatureFileError(f'{path}: no array in the file')
  bad = [name for name in openers if video_ids.problem(name)]
  if bad:
    raise FeatureFileError(
      f'{path}: {len(bad)} names cannot be video ids: '
      + '; '.join(
        f'{video_ids.shown(name)} {video_ids.problem(name)}'
        for name in bad[:10]
      )
    )
  sidecar = _read_sidecar(sidecar_path)
  key = key or (sidecar or {}).get('key')
  openers = {name: (*opener, key) for name, opener in openers.items()}
  if (sidecar or {}).get('transposed'):
    openers = {
      name: (feature_arrays.Transposed, *opener)
      for name, opener in openers.items()
    }
  return FeatureStore(path, openers, sidecar, _rate(path, sidecar, feature_fps))


def _remedy(value: np.float32, raw: np.generic) -> str:
  """What makes a value finite, by what the file has in its own type."""
  if np.isinf(value) and np.isfinite(raw):
    return (
      f'the file has {raw:g}, beyond what float32 holds: divide this column by '
      'a constant'
    )
  if np.isinf(value) and raw.dtype == np.float16:
    return (
      'it is float16, which ends at 65504: save as float32, or divide the '
      'features before they are saved'
    )
  if np.isinf(value):
    return 'extract this video again'
  return (
    'extract this video again, or let training and proposing fill the gaps: '
    '--config.data.fill_gaps_sec=1 interpolates those of up to 1 s'
  )


def _float32(rows: np.ndarray) -> Float32[np.ndarray, 't d']:
  with np.errstate(over='ignore'):  # shows as infinity, which read() reports
    return np.array(rows, np.float32)


def _read_sidecar(path: str) -> dict | None:
  if not os.path.exists(path):
    return None
  sidecar = json_files.read(path, FeatureFileError)
  if not isinstance(sidecar, dict):
    raise FeatureFileError(
      f'{path}: found {json_files.shown(sidecar)}, expected '
      '{"feature_fps": …, "dim": …, "extractor": …}'
    )
  rate = sidecar.get('feature_fps')
  rates = rate if isinstance(rate, dict) else {'': rate}
  for video_id, rate in rates.items():
    if rate is not None and not (json_files.number(rate) or 0) > 0:
      of = f' of {video_ids.shown(video_id)}' if video_id else ''
      raise FeatureFileError(
        f'{path}: found feature_fps {json_files.shown(rate)}{of}, expected '
        'snippets per second'
      )
  dim = sidecar.get('dim')
  if dim is not None and (type(dim) is not int or dim < 1):
    raise FeatureFileError(
      f'{path}: found dim {json_files.shown(dim)}, expected the width of the '
      'features'
    )
  for name, kind, what in (
    ('key', str, 'the name of an array'),
    ('transposed', bool, 'true or false'),
    ('rescaled', bool, 'true or false'),
  ):
    if not isinstance(sidecar.get(name, kind()), kind):
      raise FeatureFileError(
        f'{path}: found {name} {json_files.shown(sidecar[name])}, expected '
        f'{what}'
      )
  for name in ('feature_window', 'feature_stride', 'feature_offset'):
    frames = json_files.number(sidecar.get(name, 0))
    if frames is None or (frames < 0 and name != 'feature_offset'):
      raise FeatureFileError(
        f'{path}: found {name} {json_files.shown(sidecar[name])}, expected a '
        'number of frames'
      )
  return sidecar


def _rate(
  path: str, sidecar: dict | None, feature_fps: float | int | None
) -> float | None:
  stated = (sidecar or {}).get('feature_fps')
  if isinstance(stated, dict):  # one for each recording
    stated = None
  if feature_fps is None:
    return None if stated is None else float(stated)
  if not (np.isfinite(feature_fps) and feature_fps > 0):
    raise ValueError(
      f'feature_fps must be a positive number of snippets per second, got '
      f'{feature_fps}'
    )
  if stated and abs(stated - feature_fps) > _RATE_TOLERANCE * feature_fps:
    raise FeatureFileError(
      f'{path}: its {SIDECAR} says feature_fps {stated:g}, the call says '
      f'{feature_fps:g}; leave feature_fps out or extract again'
    )
  return float(feature_fps)
