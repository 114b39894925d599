"""Pickles of plain values and numpy arrays, read without running anything.

Unpickling runs whatever a file names. Here just the names that numpy's arrays
need are resolved, each to a class of our own that only describes an array; any
other name ends the reading before anything is called.
"""

import io
import math
import os
import pickle
import pickletools
import re
from typing import Any

import numpy as np

from cmsn_jax.files import json_files

_MAX_BYTES = 2 << 30
_CORES = ('numpy.core', 'numpy._core')
_DTYPE = re.compile(r'[<>|=]?(b1|[iuf][1248])')


class PickleError(ValueError):
  """A pickle is damaged, or holds what is not read."""


def read(path: json_files.PathLike) -> Any:
  """The object in a pickle file.

  Args:
    path: the file; dicts, lists, tuples, sets, texts, numbers and numpy arrays
      of numbers, in any nesting.
  Returns:
    the object, arrays as numpy arrays.
  Raises:
    FileNotFoundError: if there is no such file.
    PickleError: if it is damaged, or names anything else.
  """
  size = json_files.require_file(path, PickleError)
  if size > _MAX_BYTES:
    raise PickleError(
      f'{path}: found a pickle of {size} bytes, expected at most {_MAX_BYTES}'
    )
  with open(path, 'rb') as file:
    return loads(file.read(), path)


def loads(data: bytes, path: json_files.PathLike) -> Any:
  """The same of the bytes of a pickle; `path` names them in messages.

  Raises:
    PickleError: as `read`.
  """
  try:
    _check(data)
    return _plain(_Unpickler(data, path).load())
  except PickleError:
    raise
  # A damaged pickle can raise nearly anything out of the unpickler.
  except (Exception, RecursionError, MemoryError) as problem:
    raise PickleError(
      f'{path}: not a pickle, or damaged ({type(problem).__name__}: '
      f'{str(problem)[:200]})'
    ) from None


def _check(data: bytes) -> None:
  # The unpickler's memo grows to the largest index that a file names, so that
  # a few bytes could claim all memory. Lengths are held against the data too.
  for opcode, argument, _ in pickletools.genops(data):
    if 'PUT' in opcode.name and argument > len(data):
      raise pickle.UnpicklingError(f'memo index {argument} is out of range')


class _Dtype:
  def __init__(self, name: object = '', *unused: object):
    self.name = name if isinstance(name, str) else ''

  def __setstate__(self, state):
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else ''
    if order in ('<', '>', '|', '='):
      self.name = order + self.name.lstrip('<>|=')

  def numpy(self) -> np.dtype:
    if not _DTYPE.fullmatch(self.name):
      raise pickle.UnpicklingError(
        f'found an array of {self.name!r}, expected numbers'
      )
    return np.dtype(self.name)


def _array(raw: object, shape: object, dtype: object, fortran: bool):
  if not isinstance(dtype, _Dtype):
    raise pickle.UnpicklingError('an array without a type')
  kind, shape = dtype.numpy(), tuple(shape)
  raw = raw.encode('latin1') if isinstance(raw, str) else raw
  if not isinstance(raw, (bytes, bytearray)):
    raise pickle.UnpicklingError('an array without its numbers')
  if not all(type(n) is int and n >= 0 for n in shape):
    raise pickle.UnpicklingError(f'found the shape {shape!r}')
  if math.prod(shape) * kind.itemsize != len(raw):
    raise pickle.UnpicklingError(
      f'{len(raw)} bytes for an array of {list(shape)} {kind}'
    )
  return np.frombuffer(raw, kind).reshape(shape, order='F' if fortran else 'C')


class _Array:
  """Stands in for numpy.ndarray, and for what makes one."""

  def __init__(self, *unused: object):
    self.value = None

  def __setstate__(self, state):
    _, shape, dtype, fortran, raw = state
    self.value = _array(raw, shape, dtype, fortran)


def _from_buffer(raw, dtype, shape, order='C'):
  made = _Array()
  made.value = _array(raw, shape, dtype, order == 'F')
  return made


def _scalar(dtype, raw=b''):
  made = _Array()
  made.value = _array(raw, (), dtype, False)[()]
  return made


def _encoded(text: str, encoding: str = 'latin1') -> bytes:
  # Protocol 2 writes the bytes of an array so.
  if encoding not in ('latin1', 'latin-1'):
    raise pickle.UnpicklingError(f'found the encoding {encoding!r}')
  return text.encode('latin1')


def _no_bytes() -> bytes:
  # With a number, `bytes` itself would take as much memory.
  return b''


class _Unpickler(pickle.Unpickler):
  """Resolves an allow-list of names, none of them to foreign code."""

  def __init__(self, data: bytes, path: json_files.PathLike):
    # Bytes of Python 2 become text; `_array` turns them back.
    super().__init__(io.BytesIO(data), encoding='latin1')
    self._path = os.fspath(path)
    self._known = {
      ('numpy', 'ndarray'): _Array,
      ('numpy', 'dtype'): _Dtype,
      ('_codecs', 'encode'): _encoded,
      ('collections', 'OrderedDict'): dict,
    }
    for builtins in ('builtins', '__builtin__'):
      self._known[builtins, 'set'] = set
      self._known[builtins, 'frozenset'] = frozenset
      self._known[builtins, 'bytes'] = _no_bytes
    for core in _CORES:
      self._known[f'{core}.multiarray', '_reconstruct'] = _Array
      self._known[f'{core}.multiarray', 'scalar'] = _scalar
      self._known[f'{core}.numeric', '_frombuffer'] = _from_buffer

  def find_class(self, module, name):
    try:
      return self._known[module, name]
    except KeyError:
      what = 'a pandas table' if module.startswith('pandas') else 'objects'
      raise PickleError(
        f'{self._path}: found {what} in a pickle ({module}.{name}): not read, '
        'because that could run code; save it as .csv, .npz or .json'
      ) from None

  def persistent_load(self, pid):
    raise pickle.UnpicklingError('found a reference to another file')


def _plain(value: Any) -> Any:
  """The value with arrays in place of what stood in for them."""
  seen = {}

  def walk(one):
    if isinstance(one, _Array):
      if one.value is None:
        raise pickle.UnpicklingError('an array without its numbers')
      return one.value
    if isinstance(one, (dict, list)):
      # One object in several places stays one; a list may hold itself.
      if id(one) in seen:
        return one
      seen[id(one)] = one
      for key, inner in list(
        one.items() if isinstance(one, dict) else enumerate(one)
      ):
        one[key] = walk(inner)
      return one
    if isinstance(one, tuple):
      if id(one) not in seen:
        seen[id(one)] = tuple(walk(inner) for inner in one)
        kept.append(one)
      return seen[id(one)]
    return one

  kept = []  # keeps ids of tuples from being used again
  return walk(value)
