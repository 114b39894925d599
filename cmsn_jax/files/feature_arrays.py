"""One `[T, D]` array in an .npy or .npz file: its header, then slices.

Files come from anywhere. Nothing is unpickled, and what a header claims is
held against the file's size before memory is asked for.
"""

import ast
import contextlib
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Shaped

from cmsn_jax.files import json_files

_MAX_HEADER_BYTES = 10_000
# An archive this large that also unpacks this many times is a trap.
_BOMB_BYTES = 256 * 2**20
_BOMB_RATIO = 100
_CHUNK_BYTES = 2**20
_MAX_MEMBERS = 100
# Names under which an array among others is the features.
KEYS = ('features', 'feature', 'feats', 'feat', 'c3d_features', 'data')
SQUEEZED = 'axes of length 1 are dropped: the others are read as [T, D]'


class FeatureFileError(ValueError):
  """A feature file is damaged, or not what it should be."""


def kept_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
  """The axes of `shape` that are T and D.

  Of more than two axes those of length 1 are dropped, if that leaves two.
  """
  long = tuple(axis for axis, length in enumerate(shape) if length != 1)
  return long if len(shape) > len(long) == 2 else tuple(range(len(shape)))


def choose(
  where: str, arrays: Mapping[str, tuple[int, ...]], key: str | None
) -> str:
  """The name of the array that is the features.

  Args:
    where: for the message.
    arrays: shapes by name; an empty shape where it is not known.
    key: the name that the user gives, if any.
  Raises:
    FeatureFileError: if the key is not there, or several might be meant.
  """
  listed = ', '.join(
    f'{ascii(name)[1:-1][:40]} {list(shape) if shape else ""}'.strip()
    for name, shape in list(arrays.items())[:8]
  )
  if key:
    if key in arrays:
      return key
    raise FeatureFileError(
      f'{where}: no array named {key!r}; found {listed or "none"}'
    )
  known = [name for name in KEYS if name in arrays]
  wide = [name for name, shape in arrays.items() if len(shape) > 1]
  for found in (list(arrays), known[:1], wide):
    if len(found) == 1:
      return found[0]
  raise FeatureFileError(
    f'{where}: found {len(arrays)} arrays ({listed}), expected one, or one '
    f'named {", ".join(KEYS)}; say which one is the features: '
    f'--feature_key=NAME, --config.data.feature_key=NAME for training, or '
    '{"key": NAME} in features.json'
  )


def check_shape(
  where: str, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[int, int]:
  """The shape `(T, D)` of an array of real numbers, see `kept_axes`.

  Raises:
    FeatureFileError: if it is anything else, saying what was found.
  """
  if dtype.kind not in 'fiu' or dtype.itemsize == 0:
    raise FeatureFileError(
      f'{where}: found values of type {dtype}, expected floating point or '
      'integer numbers'
    )
  found, shape = shape, tuple(shape[axis] for axis in kept_axes(shape))
  if len(shape) != 2:
    hint = ''
    if len(shape) == 1:
      hint = '; one number a snippet is an array [T, 1]: reshape(-1, 1)'
    elif len(shape) > 2 and sorted(shape)[-2] == 1:
      hint = '; drop the axes of length 1 (numpy.squeeze)'
    elif len(shape) > 2:
      hint = '; pool or flatten all but time into one axis'
    raise FeatureFileError(
      f'{where}: found shape {list(found)}, expected [T, D]: one row a snippet'
      f'{hint}'
    )
  if min(shape) < 1:
    raise FeatureFileError(
      f'{where}: found shape {list(shape)}, an array without values'
    )
  return shape[0], shape[1]


def check_not_bomb(where: str, unpacked: int, packed: int) -> None:
  """Refuses data that claim to unpack to far more than is stored.

  Raises:
    FeatureFileError: if they are both large and implausibly well packed.
  """
  if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * packed:
    raise FeatureFileError(
      f'{where}: {packed} stored bytes claim to unpack to {unpacked}; refused '
      'as damaged (no features compress that well)'
    )


def _npy_header(file: io.BufferedIOBase, where: str):
  """(shape, fortran_order, dtype, offset of the data) of an .npy stream."""
  prefix = file.read(8)
  if prefix[:6] != b'\x93NUMPY' or len(prefix) < 8:
    raise FeatureFileError(f'{where}: not an .npy array (damaged or empty?)')
  version = prefix[6], prefix[7]
  if version not in ((1, 0), (2, 0)):
    raise FeatureFileError(
      f'{where}: found .npy version {version[0]}.{version[1]}, expected a '
      'plain array of numbers (1.0 or 2.0)'
    )
  width = 2 if version == (1, 0) else 4
  size_bytes = file.read(width)
  if len(size_bytes) < width:
    raise FeatureFileError(f'{where}: the .npy header is cut off')
  size = struct.unpack('<H' if width == 2 else '<I', size_bytes)[0]
  if size > _MAX_HEADER_BYTES:
    raise FeatureFileError(f'{where}: found an .npy header of {size} bytes')
  text = file.read(size)
  if len(text) < size:
    raise FeatureFileError(f'{where}: the .npy header is cut off')
  try:
    header = ast.literal_eval(text.decode('latin1').strip())
    if set(header) != {'descr', 'fortran_order', 'shape'}:
      raise ValueError('other keys')
    shape = tuple(header['shape'])
    if not all(type(n) is int and n >= 0 for n in shape):
      raise ValueError('not a shape')
    if not isinstance(header['descr'], str):
      raise ValueError('not a plain number type')
    dtype = np.dtype(header['descr'])
  # The text is arbitrary: parsing it may also overflow the parser's stack.
  except (Exception, RecursionError, MemoryError):
    raise FeatureFileError(
      f'{where}: the .npy header is damaged or of a pickled or structured '
      'array, expected a plain array of numbers'
    ) from None
  return shape, bool(header['fortran_order']), dtype, 8 + width + size


class NpyArray:
  """An .npy file, read by slices."""

  cached = False

  def __init__(self, path: str):
    self._path = path
    size = json_files.require_file(path, FeatureFileError)
    with open(path, 'rb') as file:
      shape, self._fortran, self._dtype, self._offset = _npy_header(file, path)
    self.shape = check_shape(path, shape, self._dtype)
    self.notes = [SQUEEZED] if len(shape) > 2 else []
    needed = self._offset + math.prod(self.shape) * self._dtype.itemsize
    if needed > size:
      raise FeatureFileError(
        f'{path}: the header promises {list(self.shape)} of {self._dtype} '
        f'({needed} bytes), the file has {size} bytes: cut off?'
      )
    self.dim = self.shape[1]

  @property
  def num_rows(self) -> int:
    """Number of snippets."""
    return self.shape[0]

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop) in the file's own type."""
    if self._fortran:
      return np.array(
        np.memmap(
          self._path, self._dtype, 'r', self._offset, self.shape, order='F'
        )[start:stop]
      )
    # Not memory-mapped: a file that shrinks meanwhile would kill the process.
    with open(self._path, 'rb') as file:
      file.seek(self._offset + start * self.dim * self._dtype.itemsize)
      rows = np.fromfile(file, self._dtype, (stop - start) * self.dim)
    if rows.size != (stop - start) * self.dim:
      raise FeatureFileError(f'{self._path}: the file became shorter')
    return rows.reshape(stop - start, self.dim)


@contextlib.contextmanager
def _damage_named(path: str) -> Iterator[None]:
  """Zipfile's errors of many classes as one that names the file."""
  try:
    yield
  except FeatureFileError:
    raise
  except (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    struct.error,
    RuntimeError,  # among them NotImplementedError: newer kinds of archive
    KeyError,
    UnicodeError,
  ) as problem:
    raise FeatureFileError(
      f'{path}: not an .npz archive, or damaged ({type(problem).__name__}: '
      f'{str(problem)[:200]})'
    ) from None


class NpzArray:
  """An .npz archive of one array, one with a known name, or one [T, D].

  Compressed data have no random access: the stream is unpacked up to the
  wanted rows, in constant memory.
  """

  cached = True

  def __init__(self, path: str, key: str | None = None):
    self._path, self.notes = path, []
    packed = json_files.require_file(path, FeatureFileError)
    with _damage_named(path), zipfile.ZipFile(path) as archive:
      member = self._choose(archive, packed, key)
      self._member = member.filename
      self._check_member(member, packed)
      with archive.open(member) as file:
        where = f'{path}[{ascii(member.filename)[1:-1]}]'
        shape, fortran, self._dtype, self._offset = _npy_header(file, where)
    if fortran and sum(n > 1 for n in shape) > 1:
      raise FeatureFileError(
        f'{path}: found columns first (Fortran order), expected rows first '
        '(numpy.ascontiguousarray)'
      )
    self.shape = check_shape(where, shape, self._dtype)
    self.notes += [SQUEEZED] if len(shape) > 2 else []
    needed = self._offset + math.prod(self.shape) * self._dtype.itemsize
    if needed > member.file_size:
      raise FeatureFileError(
        f'{where}: the header promises {list(self.shape)} of {self._dtype}, '
        f'the member has {member.file_size} bytes'
      )
    self.dim = self.shape[1]

  def _choose(
    self, archive: zipfile.ZipFile, packed: int, key: str | None
  ) -> zipfile.ZipInfo:
    members = {
      m.filename[:-4]: m
      for m in archive.infolist()
      if m.filename.endswith('.npy')
    }
    shapes = dict.fromkeys(members, ())
    if len(members) > 1:
      for name, member in list(members.items())[:_MAX_MEMBERS]:
        # One of another kind may lie beside the features.
        with contextlib.suppress(FeatureFileError):
          self._check_member(member, packed)
          with archive.open(member) as file:
            shapes[name] = _npy_header(file, self._path)[0]
    chosen = choose(self._path, shapes, key)
    if len(members) > 1 and not key and chosen not in KEYS:
      self.notes.append(f'array {chosen!r} taken, the only one of two axes')
    return members[chosen]

  def _check_member(self, member: zipfile.ZipInfo, packed: int) -> None:
    where = f'{self._path}[{ascii(member.filename)[1:-1]}]'
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      raise FeatureFileError(
        f'{where}: found a compression that numpy does not write'
      )
    if member.flag_bits & 1:
      raise FeatureFileError(f'{where}: the archive is encrypted')
    check_not_bomb(where, member.file_size, packed)

  @property
  def num_rows(self) -> int:
    """Number of snippets."""
    return self.shape[0]

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop) in the file's own type."""
    row = self.dim * self._dtype.itemsize
    skip, wanted = self._offset + start * row, (stop - start) * row
    parts = []
    with (
      _damage_named(self._path),
      zipfile.ZipFile(self._path) as archive,
      archive.open(self._member) as file,
    ):
      while skip > 0:
        skipped = len(file.read(min(skip, _CHUNK_BYTES)))
        if not skipped:
          raise EOFError('cut off')
        skip -= skipped
      while wanted > 0:
        parts.append(file.read(min(wanted, _CHUNK_BYTES)))
        if not parts[-1]:
          raise EOFError('cut off')
        wanted -= len(parts[-1])
      if stop == self.num_rows:
        file.read(1)  # reaches the end: the checksum is verified there
    rows = np.frombuffer(b''.join(parts), self._dtype)
    return rows.reshape(stop - start, self.dim)


class Transposed:
  """An array kept as `[D, T]`, read as `[T, D]`."""

  cached = True

  def __init__(self, opener: Callable, *arguments: object):
    self._array = opener(*arguments)
    self.notes = [*getattr(self._array, 'notes', ()), 'read as [D, T]']
    self.dim = self._array.num_rows
    self.num_rows = self._array.dim

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop) in the file's own type."""
    return self._array.read(0, self.dim).T[start:stop]
