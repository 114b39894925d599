"""One `[T, D]` array in files that are read whole: .mat, .pt, .pth, .pkl.

Nothing in them is run: pickles by `safe_pickle`, torch's archives by
`torch_files`. MATLAB's files need scipy (those of version 7.3 do not).
"""

import io
import math
import os
import warnings
from collections.abc import Callable, Mapping

import h5py
import numpy as np
from jaxtyping import Shaped

from cmsn_jax.files import (
  feature_arrays,
  feature_h5,
  json_files,
  safe_pickle,
  torch_files,
)

FeatureFileError = feature_arrays.FeatureFileError
_MAX_FILE_BYTES = 4 << 30
_MAX_NESTED = 1000


class ObjectArray:
  """An array in a file that is read whole each time; see `open_mat` and others.

  Attributes:
    notes: what was chosen.
    dim: values a snippet.
    num_rows: snippets.
  """

  cached = True

  def __init__(
    self, path: str, key: str | None, load: Callable[[str], Mapping]
  ):
    size = json_files.require_file(path, FeatureFileError)
    if size > _MAX_FILE_BYTES:
      raise FeatureFileError(
        f'{path}: found {size} bytes in a file that is read whole, expected at '
        f'most {_MAX_FILE_BYTES}; save the array as .npy'
      )
    self._path, self._load = path, load
    arrays = load(path)
    shapes = {name: array.shape for name, array in arrays.items()}
    self._key = feature_arrays.choose(path, shapes, key)
    array = arrays[self._key]
    where = f'{path}[{self._key}]' if self._key else path
    self.num_rows, self.dim = feature_arrays.check_shape(
      where, array.shape, array.dtype
    )
    self.notes = [feature_arrays.SQUEEZED] if array.ndim > 2 else []
    if len(arrays) > 1:
      self.notes.append(f'array {self._key!r} taken of {len(arrays)}')

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop) in the file's own type."""
    array = self._load(self._path).get(self._key)
    if array is None or math.prod(array.shape) != self.num_rows * self.dim:
      raise FeatureFileError(f'{self._path}: the file changed meanwhile')
    return array.reshape(self.num_rows, self.dim)[start:stop]


def open_pickle(path: str, key: str | None = None) -> ObjectArray:
  """The array in a .pkl: itself, or one of a dict."""
  return ObjectArray(path, key, _of_pickle)


def open_torch(path: str, key: str | None = None) -> ObjectArray:
  """The tensor in a .pt or .pth: itself, or one of a dict."""
  return ObjectArray(path, key, _of_torch)


def open_mat(path: str, key: str | None = None) -> ObjectArray:
  """A variable of a MATLAB file."""
  return ObjectArray(path, key, _of_mat)


def _of_pickle(path: str) -> dict[str, np.ndarray]:
  return _arrays(path, _called(path, safe_pickle.read))


def _of_torch(path: str) -> dict[str, np.ndarray]:
  return _arrays(path, _called(path, torch_files.read_tree))


def _called(path: str, read: Callable) -> object:
  try:
    return read(path)
  except ValueError as problem:
    raise FeatureFileError(str(problem)) from None


def _arrays(path: str, tree: object) -> dict[str, np.ndarray]:
  """The arrays in an object, by name; '' names the object itself."""
  if isinstance(tree, dict):
    found = {
      str(name): array
      for name, array in list(tree.items())[:_MAX_NESTED]
      if isinstance(array, np.ndarray)
    }
    if found:
      return found
  if isinstance(tree, list) and tree:
    tree = _stacked(tree)
  if isinstance(tree, np.ndarray):
    return {'': tree}
  what = f'a {type(tree).__name__}'
  if isinstance(tree, dict):
    what = f'a dict of {", ".join(map(repr, list(tree)[:8]))}'
  raise FeatureFileError(f'{path}: found {what[:300]}, expected an array')


def _stacked(rows: list) -> object:
  """A list of equal rows of numbers as an array; else the list."""
  try:
    array = np.array(rows)
  except (ValueError, OverflowError, TypeError):
    return rows
  return array if array.dtype.kind in 'fiu' else rows


class _Bounded(io.BufferedReader):
  """A file that makes no room for more than it holds.

  Python does before it reads, and a damaged file may ask for 2 GB.
  """

  def read(self, size: int | None = -1) -> bytes:
    if size is not None and size > 0:
      size = min(size, os.fstat(self.fileno()).st_size)
    return super().read(size)


def _of_mat(path: str) -> dict[str, np.ndarray]:
  if h5py.is_hdf5(path):
    return _of_mat_73(path)
  try:
    import scipy.io
  except ImportError:
    raise FeatureFileError(
      f'{path}: MATLAB files before version 7.3 need scipy; pip install scipy, '
      'or save with -v7.3'
    ) from None
  size = os.path.getsize(path)
  try:
    with warnings.catch_warnings(), _Bounded(open(path, 'rb', 0)) as file:
      warnings.simplefilter('ignore')
      listed = scipy.io.whosmat(file)
      names = []
      for name, shape, kind in listed:
        if kind in ('cell', 'struct', 'object', 'char', 'function', 'opaque'):
          continue
        # Numbers may be stored compressed; 8 bytes is the largest of them.
        feature_arrays.check_not_bomb(path, math.prod(shape) * 8, size)
        names.append(name)
      file.seek(0)
      found = scipy.io.loadmat(file, variable_names=names) if names else {}
  except FeatureFileError:
    raise
  # A damaged file can raise nearly anything out of the reader.
  except (Exception, MemoryError) as problem:
    raise FeatureFileError(
      f'{path}: not a MATLAB file, or damaged ({type(problem).__name__}: '
      f'{str(problem)[:200]})'
    ) from None
  arrays = {
    name: found[name] for name in names if isinstance(found[name], np.ndarray)
  }
  if not arrays:
    kinds = ', '.join(f'{name} ({kind})' for name, _, kind in listed[:8])
    raise FeatureFileError(
      f'{path}: found no array of numbers, but {kinds or "nothing"}'
    )
  # A number is an array of [1, 1] to MATLAB.
  return {n: a for n, a in arrays.items() if a.size > 1} or arrays


def _of_mat_73(path: str) -> dict[str, np.ndarray]:
  file = feature_h5.H5File(path)
  found = {}
  for name in file.ids()[:_MAX_NESTED]:
    if name.startswith('#'):  # references of cells
      continue
    try:
      # MATLAB writes columns first, which HDF5 shows with its axes reversed.
      found[name] = file.read(name).T
    except FeatureFileError:
      continue
  file.close()
  if not found:
    raise FeatureFileError(f'{path}: found no array of numbers')
  return found
