"""Features of many videos in one HDF5 file."""

import contextlib
import math
import os
from collections.abc import Iterator

import h5py
import numpy as np
from jaxtyping import Shaped

from cmsn_jax.files import feature_arrays, feature_csv, json_files

_MAX_CHUNK_BYTES = 2**30
# A file may hold millions of objects; a group of one video holds few.
_MAX_GROUP = 100


class H5File:
  """An HDF5 file, opened once a process and only when read."""

  def __init__(self, path: str):
    self.path = path
    json_files.require_file(path, feature_arrays.FeatureFileError)
    self._file, self._process = None, None

  def __getstate__(self):
    return {'path': self.path, '_file': None, '_process': None}

  def file(self) -> h5py.File:
    """The open file."""
    # An HDF5 handle must not be used on both sides of a fork.
    if self._file is None or self._process != os.getpid():
      with damage_named(self.path):
        self._file = h5py.File(self.path, 'r', locking='best-effort')
        self._process = os.getpid()
    return self._file

  def close(self) -> None:
    """Closes the file until it is read again."""
    if self._file is not None and self._process == os.getpid():
      self._file.close()
    self._file = None

  def ids(self) -> list[str]:
    """The names at the root.

    Raises:
      FeatureFileError: if the file is no HDF5 file, or of a pose tracker.
    """
    with damage_named(self.path):
      names = [str(name) for name in self.file()]
      kind = _tracker(self.file(), names)
    if kind:
      raise feature_arrays.FeatureFileError(
        f'{self.path}: found a {kind} file of positions, expected features; '
        + feature_csv.pose_hint(self.path)
      )
    return names

  def dataset(self, video_id: str, key: str | None = None) -> h5py.Dataset:
    """The array of one video: real data in this file.

    Raises:
      FeatureFileError: if it is a link, lies in another file, is not an array
        of numbers or is damaged.
    """
    where = f'{self.path}[{video_id}]'
    with damage_named(where):
      node = _real(self.file(), video_id, where)
      if isinstance(node, h5py.Group):
        name = feature_arrays.choose(where, _shapes(node), key)
        where = f'{where}/{name}'
        node = _real(node, name, where)
      if not isinstance(node, h5py.Dataset):
        raise feature_arrays.FeatureFileError(
          f'{where}: found a {type(node).__name__.lower()}, expected an array'
        )
      check_stored(node, where)
      feature_arrays.check_shape(where, node.shape, node.dtype)
      return node

  def read(self, name: str) -> Shaped[np.ndarray, '...']:
    """A whole array.

    Raises:
      FeatureFileError: as `dataset`.
    """
    dataset = self.dataset(name)
    with damage_named(f'{self.path}[{name}]'):
      return dataset[()]


class H5Array:
  """One video's array in an `H5File`, read by slices."""

  cached = False

  def __init__(self, file: H5File, video_id: str, key: str | None = None):
    self._file, self._video_id = file, video_id
    dataset = file.dataset(video_id, key)
    self._name = dataset.name
    where = f'{file.path}[{video_id}]'
    self.shape = feature_arrays.check_shape(where, dataset.shape, dataset.dtype)
    self.notes = [feature_arrays.SQUEEZED] if len(dataset.shape) > 2 else []
    self.dim = self.shape[1]
    kept = feature_arrays.kept_axes(dataset.shape)
    self._before, self._after = (0,) * kept[0], kept[1] - kept[0] - 1
    self._behind = len(dataset.shape) - kept[1] - 1

  @property
  def num_rows(self) -> int:
    """Number of snippets."""
    return self.shape[0]

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop) in the file's own type."""
    with damage_named(f'{self._file.path}[{self._video_id}]'):
      # Checked once: links and storage of an open file do not change.
      index = *self._before, slice(start, stop), *(0,) * self._after
      end = *(slice(None),), *(0,) * self._behind
      return self._file.file()[self._name][index + end]


class OneArray(H5Array):
  """The array of a file that holds those of one video only.

  Raises:
    FeatureFileError: if it is no such file, or of a pose tracker.
  """

  def __init__(self, path: str, key: str | None = None):
    file, shapes = H5File(path), {}
    try:
      file.ids()
      with damage_named(path):
        shapes = _shapes(file.file())
      super().__init__(file, feature_arrays.choose(path, shapes, key))
    except feature_arrays.FeatureFileError as problem:
      if len(shapes) < 2 or key:
        raise
      raise feature_arrays.FeatureFileError(
        f'{problem}; if these are of many videos, give the file itself, not its '
        'folder'
      ) from None
    finally:
      # There may be thousands of such files.
      file.close()

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop) in the file's own type."""
    try:
      return super().read(start, stop)
    finally:
      self._file.close()


def _shapes(group: h5py.Group) -> dict[str, tuple[int, ...]]:
  """Shapes of the arrays of numbers in a group, by name."""
  found = {}
  for name in group:
    node = group.get(name) if _is_hard(group, name) else None
    shape = getattr(node, 'shape', None)
    found[str(name)] = shape or ()
    if len(found) > _MAX_GROUP:
      break
  return found


def _is_hard(group: h5py.Group, name: str) -> bool:
  return isinstance(group.get(name, getlink=True), h5py.HardLink)


def _tracker(group: h5py.Group, names: list[str]) -> str | None:
  """Whose file of positions this is, if it is one."""
  if {'tracks', 'node_names'} <= set(names):
    return 'SLEAP'
  if {'instances', 'frames', 'pred_points'} <= set(names):
    return 'SLEAP'
  if len(names) == 1 and _is_hard(group, names[0]):
    inner = group[names[0]]
    # What pandas writes, as DeepLabCut does.
    if isinstance(inner, h5py.Group) and (
      'table' in inner or 'block0_values' in inner
    ):
      return 'DeepLabCut (pandas)'
  return None


@contextlib.contextmanager
def damage_named(where: str) -> Iterator[None]:
  """HDF5's errors of many classes as one that names the file and array."""
  try:
    yield
  except feature_arrays.FeatureFileError:
    raise
  except (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    UnicodeError,
  ) as problem:
    raise feature_arrays.FeatureFileError(
      f'{where}: not an HDF5 file, or damaged ({str(problem)[:200]})'
    ) from None


def _real(
  group: h5py.Group, name: str, where: str
) -> h5py.Group | h5py.Dataset | h5py.Datatype:
  link = group.get(name, getlink=True)
  if not isinstance(link, h5py.HardLink):
    raise feature_arrays.FeatureFileError(
      f'{where}: found a soft or external link, expected the array itself'
    )
  return group[name]


def check_stored(
  dataset: h5py.Dataset, where: str, numbers: bool = True
) -> None:
  """Checks that an array's values lie in this file, as many as it claims.

  Args:
    dataset: the array.
    where: for the message.
    numbers: whether it must be of plain numbers.
  Raises:
    FeatureFileError: if not.
  """
  if dataset.shape is None:
    raise feature_arrays.FeatureFileError(f'{where}: the array is empty')
  if dataset.is_virtual or dataset.external:
    raise feature_arrays.FeatureFileError(
      f'{where}: the values lie in another file, expected them in this one'
    )
  if numbers and dataset.dtype.kind not in 'fiu':
    raise feature_arrays.FeatureFileError(
      f'{where}: found values of type {dataset.dtype}, expected numbers'
    )
  claimed = math.prod(dataset.shape) * dataset.dtype.itemsize
  stored = dataset.id.get_storage_size()
  if stored == 0:
    raise feature_arrays.FeatureFileError(
      f'{where}: an array of {list(dataset.shape)} that was never filled'
    )
  feature_arrays.check_not_bomb(where, claimed, stored)
  if dataset.chunks:
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if chunk > _MAX_CHUNK_BYTES:
      raise feature_arrays.FeatureFileError(
        f'{where}: found chunks of {chunk} bytes, expected at most '
        f'{_MAX_CHUNK_BYTES}'
      )
