"""Features of many videos in one HDF5 file."""

import contextlib
import math
import os
from collections.abc import Iterator

import h5py
import numpy as np
from jaxtyping import Shaped

from cmsn_jax.files import feature_arrays, json_files

# The layouts in use: /<id> is the array, or /<id>/<one of these> is.
KEYS = ('features', 'feature', 'feats', 'feat', 'c3d_features', 'data')
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
      with _damage_named(self.path):
        self._file = h5py.File(self.path, 'r', locking='best-effort')
        self._process = os.getpid()
    return self._file

  def ids(self) -> list[str]:
    """The names at the root."""
    with _damage_named(self.path):
      return [str(name) for name in self.file()]

  def dataset(self, video_id: str) -> h5py.Dataset:
    """The array of one video: real data in this file.

    Raises:
      FeatureFileError: if it is a link, lies in another file, is not an array
        of numbers or is damaged.
    """
    where = f'{self.path}[{video_id}]'
    with _damage_named(where):
      node = _real(self.file(), video_id, where)
      if isinstance(node, h5py.Group):
        names = []
        for name in node:
          names.append(str(name))
          if len(names) > _MAX_GROUP:
            break
        chosen = [key for key in KEYS if key in names] or names
        if len(names) > 1 and not set(names) & set(KEYS) or not names:
          raise feature_arrays.FeatureFileError(
            f'{where}: found a group of {len(names)} entries, expected an '
            f'array, or one named {", ".join(KEYS)}'
          )
        where = f'{where}/{chosen[0]}'
        node = _real(node, chosen[0], where)
      if not isinstance(node, h5py.Dataset):
        raise feature_arrays.FeatureFileError(
          f'{where}: found a {type(node).__name__.lower()}, expected an array'
        )
      _check_storage(node, where)
      return node


class H5Array:
  """One video's array in an `H5File`, read by slices."""

  cached = False

  def __init__(self, file: H5File, video_id: str):
    self._file, self._video_id = file, video_id
    dataset = file.dataset(video_id)
    self._name = dataset.name
    where = f'{file.path}[{video_id}]'
    self.shape = feature_arrays.check_shape(where, dataset.shape, dataset.dtype)
    self.dim = self.shape[1]

  @property
  def num_rows(self) -> int:
    """Number of snippets."""
    return self.shape[0]

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop) in the file's own type."""
    with _damage_named(f'{self._file.path}[{self._video_id}]'):
      # Checked once: links and storage of an open file do not change.
      return self._file.file()[self._name][start:stop]


@contextlib.contextmanager
def _damage_named(where: str) -> Iterator[None]:
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


def _check_storage(dataset: h5py.Dataset, where: str) -> None:
  if dataset.shape is None:
    raise feature_arrays.FeatureFileError(f'{where}: the array is empty')
  if dataset.is_virtual or dataset.external:
    raise feature_arrays.FeatureFileError(
      f'{where}: the values lie in another file, expected them in this one'
    )
  feature_arrays.check_shape(where, dataset.shape, dataset.dtype)
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
