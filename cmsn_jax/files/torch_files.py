"""PyTorch checkpoints (.pth, .pth.tar, .pt) -> numpy arrays, without torch.

A checkpoint is a zip archive of one pickle and one file of raw bytes a storage.
Unpickling runs whatever a file names, so this reader resolves just the names
that tensors need, each to a function of its own that only describes a tensor;
any other name ends the reading before anything is called.
"""

import collections
import dataclasses
import io
import math
import os
import pathlib
import pickle
import pickletools
import zipfile
from typing import Any

import numpy as np
from jaxtyping import Shaped

_RESAVE = (
  'where torch is installed, re-save it once as a plain state_dict: '
  "torch.save(model.state_dict(), 'weights.pth') or torch.save(torch.load("
  "'old.pth', map_location='cpu')['state_dict'], 'weights.pth')"
)
_MAX_PICKLE_BYTES = 256 << 20

_DTYPES = {
  'float32': np.dtype(np.float32),
  'float64': np.dtype(np.float64),
  'float16': np.dtype(np.float16),
  # numpy has no such type: its bits, see `_Archive._storage`.
  'bfloat16': np.dtype(np.uint16),
  'uint8': np.dtype(np.uint8),
  'int8': np.dtype(np.int8),
  'int16': np.dtype(np.int16),
  'int32': np.dtype(np.int32),
  'int64': np.dtype(np.int64),
  'bool': np.dtype(np.bool_),
}
_STORAGES = {
  'FloatStorage': 'float32',
  'DoubleStorage': 'float64',
  'HalfStorage': 'float16',
  'BFloat16Storage': 'bfloat16',
  'ByteStorage': 'uint8',
  'CharStorage': 'int8',
  'ShortStorage': 'int16',
  'IntStorage': 'int32',
  'LongStorage': 'int64',
  'BoolStorage': 'bool',
  # Carries bytes; the tensor names its own dtype.
  'UntypedStorage': 'uint8',
}
# Where training code puts the state dict beside optimizer, epoch and so on.
_WRAPPERS = ('state_dict', 'model_state_dict', 'model_state', 'model', 'net')


class CheckpointError(ValueError):
  """A file is no checkpoint that can be read; says why and what helps."""


def read(path: str | os.PathLike) -> dict[str, Shaped[np.ndarray, '...']]:
  """Returns a checkpoint's state dict as numpy arrays.

  Args:
    path: a zip checkpoint (torch 1.6 or later): a state dict, or a dict that
      holds one under 'state_dict', 'model_state_dict', 'model_state', 'model'
      or 'net'.
  Returns:
    Arrays by name, in the file's order. Read-only, and sharing memory where
    the tensors did. bfloat16 becomes float32.
  Raises:
    FileNotFoundError: there is no such file.
    CheckpointError: the file is no zip checkpoint, is damaged or truncated, holds
      other objects than tensors and plain values, or no state dict.
  """
  return _find_state(pathlib.Path(path), read_tree(path))


def read_tree(path: str | os.PathLike) -> Any:
  """Whatever `torch.save` wrote: dicts, lists, plain values, numpy arrays.

  Objects that are neither tensors nor plain values become inert.

  Raises:
    FileNotFoundError: there is no such file.
    CheckpointError: as `read`.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'{path}: no such checkpoint file')
  _check_start(path)
  try:
    with zipfile.ZipFile(path) as archive:
      return _Archive(path, archive).load()
  except CheckpointError:
    raise
  # A damaged archive can raise nearly anything out of zipfile.
  except Exception as error:
    raise CheckpointError(
      f'{path} is a damaged or truncated checkpoint ({error}); copy or '
      'download it again'
    ) from error


def _check_start(path):
  """Names the kinds of files that are no zip checkpoints."""
  with path.open('rb') as file:
    start = file.read(512)
  if start.startswith(b'PK'):
    return
  if start.startswith(b'version https://git-lfs'):
    problem = 'is a Git LFS pointer, not the file itself; run: git lfs pull'
  elif start.lstrip()[:1] == b'<':
    problem = (
      'is a web page, not a checkpoint; the download went wrong, repeat it'
    )
  elif start[:1] == b'\x80' or start[257:262] == b'ustar':
    problem = f'has the format that torch wrote before 1.6; {_RESAVE}'
  else:
    problem = (
      'is no PyTorch checkpoint (a zip archive was expected, found '
      f'{start[:8]!r}); if torch can load it, {_RESAVE}'
    )
  raise CheckpointError(f'{path} {problem}')


@dataclasses.dataclass(frozen=True)
class _Storage:
  key: str
  dtype: str
  size: int


@dataclasses.dataclass(frozen=True)
class _Name:
  """Stands in for a storage class or a dtype."""

  dtype: str


class _Inert:
  """Stands in for a plain value beside the tensors, such as a best score."""

  def __init__(self, *unused_args, **unused_kwargs):
    pass

  def __setstate__(self, unused_state):
    pass


class _Archive:
  """One open checkpoint."""

  def __init__(self, path, archive):
    self._path = path
    self._archive = archive
    self._entries = {entry.filename: entry for entry in archive.infolist()}
    self._storages: dict[str, np.ndarray] = {}
    self._check_sizes()
    self._root = self._find_root()
    self._order = '<'
    if f'{self._root}byteorder' in self._entries:
      big = archive.read(f'{self._root}byteorder') == b'big'
      self._order = '>' if big else '<'

  def _check_sizes(self):
    # torch never compresses, so more content than file is a zip bomb.
    limit = self._path.stat().st_size
    # zipfile sets aside as much memory as either size says, before it reads.
    total = sum(
      max(entry.file_size, entry.compress_size)
      for entry in self._entries.values()
    )
    if total > limit or any(
      entry.compress_type != zipfile.ZIP_STORED
      for entry in self._entries.values()
    ):
      raise CheckpointError(
        f'{self._path} unpacks to {total} bytes from {limit}, or is '
        'compressed, which no checkpoint of torch is; not read'
      )

  def _find_root(self):
    found = [
      name
      for name in self._entries
      if name == 'data.pkl' or name.count('/') == 1 and
      name.endswith('/data.pkl')
    ]  # fmt: skip
    if len(found) != 1:
      raise CheckpointError(
        f'{self._path} is a zip archive but no checkpoint of torch: expected '
        f'one <name>/data.pkl, found {len(found)}'
      )
    root = found[0].removesuffix('data.pkl')
    if f'{root}constants.pkl' in self._entries:
      raise CheckpointError(
        f'{self._path} is a TorchScript program, not a state dict; {_RESAVE}'
      )
    return root

  def load(self):
    entry = self._entries[f'{self._root}data.pkl']
    if entry.file_size > _MAX_PICKLE_BYTES:
      raise CheckpointError(
        f'{self._path}: its pickle has {entry.file_size} bytes, more than '
        f'{_MAX_PICKLE_BYTES}; tensors belong in files of their own'
      )
    data = self._archive.read(entry)
    try:
      _check_memo(data)
      return _Unpickler(data, self).load()
    except (CheckpointError, zipfile.BadZipFile):
      raise
    # A damaged pickle can raise nearly anything out of the unpickler.
    except Exception as error:
      raise CheckpointError(
        f'{self._path}: its pickle is damaged ({type(error).__name__}: '
        f'{error}); copy or download it again, or {_RESAVE}'
      ) from error

  def blocked(self, module, name):
    if module.startswith(('torch.nn', '__main__')):
      what = 'a whole pickled module instead of a state dict'
    else:
      what = 'objects that are no tensors'
    return CheckpointError(
      f'{self._path} holds {what}: it asks for {module}.{name}, which is '
      f'blocked because loading it could run code. If you trust it, {_RESAVE}'
    )

  def tensor(self, storage, offset, size, stride, dtype):
    """Returns the view of a storage that a tensor is."""
    values = self._storage(storage, dtype)
    size, stride = tuple(size), tuple(stride)
    numbers = (offset, *size, *stride)
    if (
      len(size) != len(stride)
      or not all(isinstance(n, int) and n >= 0 for n in numbers)
      or math.prod(size) > values.size
    ):
      raise self._bad_tensor(storage, offset, size, stride)
    if math.prod(size) == 0:
      return np.zeros(size, values.dtype)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride))
    if last >= values.size:
      raise self._bad_tensor(storage, offset, size, stride)
    steps = tuple(s * values.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(
      values[offset:], size, steps, writeable=False
    )

  def _bad_tensor(self, storage, offset, size, stride):
    return CheckpointError(
      f'{self._path}: a tensor of size {size}, stride {stride}, offset '
      f'{offset} does not fit storage {storage.key!r} of {storage.size} values'
    )

  def _storage(self, storage, dtype):
    dtype = dtype or storage.dtype
    if (storage.key, dtype) in self._storages:
      return self._storages[storage.key, dtype]
    name = f'{self._root}data/{storage.key}'
    expected = storage.size * _DTYPES[storage.dtype].itemsize
    entry = self._entries.get(name)
    if entry is None or entry.file_size != expected:
      found = 'no such entry' if entry is None else f'{entry.file_size} bytes'
      raise CheckpointError(
        f'{self._path}: storage {name} should hold {expected} bytes, found '
        f'{found}'
      )
    raw = self._archive.read(entry)
    values = np.frombuffer(raw, _DTYPES[dtype].newbyteorder(self._order))
    if dtype == 'bfloat16':
      # The upper half of a float32; numpy itself does not know the type.
      halves = np.frombuffer(raw, np.dtype(np.uint16).newbyteorder(self._order))
      values = (halves.astype(np.uint32) << 16).view(np.float32)
      values.flags.writeable = False
    self._storages[storage.key, dtype] = values
    return values


def _check_memo(data):
  # The unpickler's memo grows to the largest index that a file names, so that
  # a few bytes could claim all memory.
  for opcode, argument, _ in pickletools.genops(data):
    if 'PUT' in opcode.name and argument > len(data):
      raise pickle.UnpicklingError(f'memo index {argument} is out of range')


class _Unpickler(pickle.Unpickler):
  """Resolves an allow-list of names, none of them to foreign code."""

  def __init__(self, data, archive):
    super().__init__(io.BytesIO(data), encoding='utf-8')
    self._archive = archive
    self._known = {
      ('collections', 'OrderedDict'): collections.OrderedDict,
      ('torch', 'Size'): _tuple,
      ('torch', 'device'): _Inert,
      ('torch._utils', '_rebuild_tensor'): self._tensor,
      ('torch._utils', '_rebuild_tensor_v2'): self._tensor,
      ('torch._utils', '_rebuild_tensor_v3'): self._tensor_v3,
      ('torch._utils', '_rebuild_parameter'): _first,
      ('torch._utils', '_rebuild_parameter_with_state'): _first,
      ('_codecs', 'encode'): _Inert,
      ('argparse', 'Namespace'): _Inert,
    }
    for core in ('numpy.core.multiarray', 'numpy._core.multiarray'):
      self._known[core, 'scalar'] = _Inert
      self._known[core, '_reconstruct'] = _Inert
    self._known['numpy', 'dtype'] = self._known['numpy', 'ndarray'] = _Inert

  def find_class(self, module, name):
    if (module, name) in self._known:
      return self._known[module, name]
    if module in ('torch', 'torch.storage') and name in _STORAGES:
      return _Name(_STORAGES[name])
    if module == 'torch' and name in _DTYPES:
      return _Name(name)
    raise self._archive.blocked(module, name)

  def persistent_load(self, pid):
    kind, cls, key, _, size = pid[:5]
    if kind != 'storage' or not isinstance(cls, _Name):
      raise pickle.UnpicklingError(f'unknown kind of reference {kind!r}')
    if not isinstance(key, str) or not isinstance(size, int) or size < 0:
      raise pickle.UnpicklingError(f'bad storage {key!r} of size {size!r}')
    return _Storage(key, cls.dtype, size)

  def _tensor(self, storage, offset, size, stride, *unused):
    return self._archive.tensor(storage, offset, size, stride, None)

  def _tensor_v3(
    self, storage, offset, size, stride, grad, hooks, dtype, *unused
  ):
    del grad, hooks, unused
    return self._archive.tensor(storage, offset, size, stride, dtype.dtype)


def _tuple(values=()):
  return tuple(values)


def _first(value, *unused):
  return value


def _find_state(path, tree) -> dict[str, Any]:
  if isinstance(tree, dict):
    for key in _WRAPPERS:
      if isinstance(tree.get(key), dict):
        tree = tree[key]
        break
    state = {k: v for k, v in tree.items() if isinstance(v, np.ndarray)}
    if state and all(isinstance(key, str) for key in state):
      return state
    found = f'a dict with the keys {sorted(map(str, tree))[:12]}'
  else:
    found = f'a {type(tree).__name__}'
  raise CheckpointError(
    f'{path} holds no state dict (tensors by name, directly or under one of '
    f'{", ".join(_WRAPPERS)}); found {found}'
  )
