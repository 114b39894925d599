"""One `[T, D]` array in an .npy, .npz or .csv file: its header, then slices.

Files come from anywhere. Nothing is unpickled, and what a header claims is
held against the file's size before memory is asked for.
"""

import ast
import contextlib
import io
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

from cmsn_jax.files import json_files

_MAX_HEADER_BYTES = 10_000
_MAX_CSV_HEADER_BYTES = 4_000_000
# An archive this large that also unpacks this many times is a trap.
_BOMB_BYTES = 256 * 2**20
_BOMB_RATIO = 100
_CHUNK_BYTES = 2**20
NPZ_KEYS = ('features', 'feature', 'feats', 'feat', 'data', 'arr_0')


class FeatureFileError(ValueError):
  """A feature file is damaged, or not what it should be."""


def check_shape(
  where: str, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[int, int]:
  """The shape `(T, D)` of an array of real numbers.

  Raises:
    FeatureFileError: if it is anything else, saying what was found.
  """
  if dtype.kind not in 'fiu' or dtype.itemsize == 0:
    raise FeatureFileError(
      f'{where}: found values of type {dtype}, expected floating point or '
      'integer numbers'
    )
  if len(shape) != 2:
    hint = ''
    if len(shape) > 2 and sorted(shape)[-3] == 1:
      hint = '; drop the axes of length 1 (numpy.squeeze)'
    elif len(shape) > 2:
      hint = '; pool or flatten all but time into one axis'
    raise FeatureFileError(
      f'{where}: found shape {list(shape)}, expected [T, D]: one row a snippet'
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
  """An .npz archive of one array (or one with a known name).

  Compressed data have no random access: the stream is unpacked up to the
  wanted rows, in constant memory.
  """

  cached = True

  def __init__(self, path: str):
    self._path = path
    packed = json_files.require_file(path, FeatureFileError)
    with _damage_named(path), zipfile.ZipFile(path) as archive:
      member = self._choose(archive)
      self._member = member.filename
      self._check_member(member, packed)
      with archive.open(member) as file:
        where = f'{path}[{ascii(member.filename)[1:-1]}]'
        shape, fortran, self._dtype, self._offset = _npy_header(file, where)
    if fortran and min(shape, default=0) > 1:
      raise FeatureFileError(
        f'{path}: found columns first (Fortran order), expected rows first '
        '(numpy.ascontiguousarray)'
      )
    self.shape = check_shape(where, shape, self._dtype)
    needed = self._offset + math.prod(self.shape) * self._dtype.itemsize
    if needed > member.file_size:
      raise FeatureFileError(
        f'{where}: the header promises {list(self.shape)} of {self._dtype}, '
        f'the member has {member.file_size} bytes'
      )
    self.dim = self.shape[1]

  def _choose(self, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = {m.filename: m for m in archive.infolist()}
    arrays = [name for name in members if name.endswith('.npy')]
    if len(arrays) == 1:
      return members[arrays[0]]
    for key in NPZ_KEYS:
      if f'{key}.npy' in members:
        return members[f'{key}.npy']
    raise FeatureFileError(
      f'{self._path}: found {len(arrays)} arrays '
      f'({", ".join(ascii(a[:-4])[1:-1][:40] for a in arrays[:5])}), expected '
      f'one, or one named {", ".join(NPZ_KEYS)}'
    )

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


class CsvArray:
  """A .csv file as BSN writes them: a header row of names, a row a snippet."""

  cached = True

  def __init__(self, path: str):
    self._path = path
    self._num_rows = None
    json_files.require_file(path, FeatureFileError)
    with open(path, 'rb') as file:
      line = file.readline(_MAX_CSV_HEADER_BYTES)
    if len(line) >= _MAX_CSV_HEADER_BYTES:
      raise FeatureFileError(f'{path}: found a first row of over 4 MB')
    try:
      fields = line.decode('utf-8-sig').strip().split(',')
    except UnicodeDecodeError:
      raise FeatureFileError(f'{path}: not a text file') from None
    if fields == ['']:
      raise FeatureFileError(f'{path}: empty, expected a header row')
    self.dim = len(fields)
    self._has_header = _is_header(fields)

  @property
  def num_rows(self) -> int:
    """Number of snippets, counted when first asked for."""
    if self._num_rows is None:
      count = 0
      with open(self._path, 'rb') as file:
        # Fixed pieces, since a hostile file may have no line ends at all.
        last = b'\n'
        while piece := file.read(_CHUNK_BYTES):
          count += piece.count(b'\n')
          last = piece[-1:]
      count += last != b'\n'
      count -= self._has_header
      # A blank last line is not a row.
      with open(self._path, 'rb') as file:
        file.seek(max(0, os.path.getsize(self._path) - 8))
        tail = file.read().replace(b'\r', b'')
      while tail.endswith(b'\n\n'):
        tail, count = tail[:-1], count - 1
      if count < 1:
        raise FeatureFileError(f'{self._path}: no row of features')
      self._num_rows = count
    return self._num_rows

  def read(self, start: int, stop: int) -> Shaped[np.ndarray, 't d']:
    """Rows [start, stop), float32."""
    try:
      # The context hides loadtxt's warning about files without data.
      with (
        warnings.catch_warnings(),
        np.errstate(over='ignore'),
        open(self._path, encoding='utf-8-sig') as file,
      ):
        warnings.simplefilter('ignore', UserWarning)
        rows = np.loadtxt(
          file,
          np.float64,
          comments=None,
          delimiter=',',
          skiprows=start + self._has_header,
          max_rows=stop - start,
          ndmin=2,
        )
    except (ValueError, UnicodeDecodeError) as problem:
      raise FeatureFileError(
        f'{self._path}: a row after row {start} is not {self.dim} numbers: '
        f'{str(problem)[:200]}'
      ) from None
    if rows.shape != (stop - start, self.dim):
      raise FeatureFileError(
        f'{self._path}: found {list(rows.shape)} in rows {start} to {stop}, '
        f'expected {self.dim} numbers a row (blank lines?)'
      )
    return rows


def _is_header(fields: list[str]) -> bool:
  try:
    numbers = [float(field) for field in fields]
  except ValueError:
    return True
  # pandas numbers unnamed columns.
  return numbers == list(range(len(numbers)))


READERS = {'.npy': NpyArray, '.npz': NpzArray, '.csv': CsvArray}
