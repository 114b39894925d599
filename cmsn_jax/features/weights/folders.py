"""Weight folders: parameter trees on disk, and what is known of them.

A weight folder holds `weights.npz` (arrays by path, `conv1a/kernel`) and
`weights.json`, its description: backbone, widths, channel order, mean, scale,
where it came from, and the checksum of the arrays.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np
from flax import traverse_util

from cmsn_jax.files import replacing

_ARRAYS = 'weights.npz'
_DESCRIPTION = 'weights.json'
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Weights:
  """What a weight folder holds.

  Attributes:
    params: parameter tree of the extractor, float32.
    description: the content of weights.json.
  """

  params: dict[str, Any]
  description: dict[str, Any]


def sha256(path: str | os.PathLike) -> str:
  """Returns a file's SHA-256 as hexadecimal text."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def save(folder: str | os.PathLike, weights: Weights) -> None:
  """Writes a weight folder; a reader never sees half of it as valid."""
  folder = pathlib.Path(folder)
  flat = traverse_util.flatten_dict(weights.params, sep='/')
  flat = {key: np.asarray(array, np.float32) for key, array in flat.items()}
  # The order is important: the arrays take their place first, and until the
  # description has taken its own, the checksum tells that they do not belong.
  with (
    replacing.path(folder / _DESCRIPTION) as text,
    replacing.path(folder / _ARRAYS) as arrays,
  ):
    with open(arrays, 'wb') as file:
      np.savez(file, **flat)
    description = {
      'version': _VERSION,
      **weights.description,
      'arrays': {key: list(array.shape) for key, array in flat.items()},
      'arrays_sha256': sha256(arrays),
    }
    pathlib.Path(text).write_text(json.dumps(description, indent=2) + '\n')


def load(folder: str | os.PathLike) -> Weights:
  """Reads a weight folder written by `save`.

  Raises:
    FileNotFoundError: there is no such folder or file.
    ValueError: it is damaged, or its two files do not belong together.
  """
  folder = pathlib.Path(folder)
  for name in (_DESCRIPTION, _ARRAYS):
    if not (folder / name).is_file():
      raise FileNotFoundError(
        f'{folder} is no weight folder: {name} is missing; make one with '
        'python -m launch.convert_weights or launch.pretrain'
      )
  try:
    description = json.loads((folder / _DESCRIPTION).read_text())
    version, checksum = description['version'], description['arrays_sha256']
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{folder / _DESCRIPTION} is no description of weights ({error!r})'
    ) from error
  if version != _VERSION:
    raise ValueError(
      f'{folder / _DESCRIPTION} has version {version!r}, expected {_VERSION}; '
      'convert the weights again'
    )
  if sha256(folder / _ARRAYS) != checksum:
    raise ValueError(
      f'{folder / _ARRAYS} does not have the checksum in {_DESCRIPTION}: it is '
      'damaged or belongs to other weights; convert or copy it again'
    )
  try:
    with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
      flat = {key: arrays[key] for key in arrays.files}
  except (ValueError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(f'{folder / _ARRAYS} is damaged ({error})') from error
  return Weights(traverse_util.unflatten_dict(flat, sep='/'), description)
