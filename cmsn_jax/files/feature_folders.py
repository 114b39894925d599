"""Which files of a folder are features, of which video, and how to open them."""

import collections
import os
import warnings
from collections.abc import Callable

from cmsn_jax.files import (
  feature_arrays,
  feature_csv,
  feature_h5,
  feature_objects,
  video_ids,
)

SIDECAR = 'features.json'
FeatureFileError = feature_arrays.FeatureFileError


class FeatureFileWarning(UserWarning):
  """What was chosen or left out in feature files."""


def _csv(path: str, key: str | None = None) -> feature_csv.CsvArray:
  del key  # A table has one array.
  return feature_csv.CsvArray(path)


def _npy(path: str, key: str | None = None) -> feature_arrays.NpyArray:
  del key
  return feature_arrays.NpyArray(path)


# Suffix: what opens a file, from its path and the name of an array in it.
READERS: dict[str, Callable] = {
  '.npy': _npy,
  '.npz': feature_arrays.NpzArray,
  '.csv': _csv,
  '.tsv': _csv,
  '.h5': feature_h5.OneArray,
  '.hdf5': feature_h5.OneArray,
  '.mat': feature_objects.open_mat,
  '.pt': feature_objects.open_torch,
  '.pth': feature_objects.open_torch,
  '.pkl': feature_objects.open_pickle,
  '.pickle': feature_objects.open_pickle,
}
_TABLES = ('.csv', '.tsv')


def scan(folder: str) -> dict[str, tuple[Callable, str]]:
  """Reader and path of each video's file in a folder.

  Tables of annotations beside the features are left out, with a warning.

  Raises:
    FeatureFileError: if there is no file of features, or two of one video.
  """
  files, others, folders = [], collections.Counter(), []
  with os.scandir(folder) as entries:
    for entry in sorted(entries, key=lambda entry: entry.name):
      suffix = os.path.splitext(entry.name)[1].lower()
      if entry.name.startswith('.') or entry.name == SIDECAR:
        continue
      if suffix in READERS:
        files.append(entry.path)
      elif entry.is_dir():
        folders.append(entry.name)
      else:
        others[suffix] += 1
  tables = _annotation_tables(files)
  if tables:
    warnings.warn(
      f'{folder}: {len(tables)} tables are annotations, not features, and left '
      f'out: {", ".join(os.path.basename(path) for path in tables[:5])}',
      FeatureFileWarning,
      stacklevel=4,
    )
  openers = {}
  for path in files:
    stem, suffix = os.path.splitext(os.path.basename(path))
    if path in tables:
      continue
    if stem in openers:
      raise FeatureFileError(
        f'{folder}: video {video_ids.shown(stem)} has two files, '
        f'{os.path.basename(openers[stem][1])!a} and '
        f'{os.path.basename(path)!a}; keep one'
      )
    openers[stem] = READERS[suffix.lower()], path
  if openers:
    return openers
  found = [f'{n} {suffix or "unnamed"} files' for suffix, n in others.items()]
  found += [f'folder {name!a}' for name in sorted(folders)[:5]]
  hint = '; give the folder that holds the arrays' if folders else ''
  raise FeatureFileError(
    f'{folder}: no <video id>.npy, .npz, .csv, .h5, .mat, .pt or .pkl file, '
    f'found {", ".join(found[:10]) or "nothing"}{hint}'
  )


def _annotation_tables(files: list[str]) -> list[str]:
  tables = [path for path in files if path.lower().endswith(_TABLES)]
  # Beside arrays a table with words in it is none, whatever its columns.
  alone = len(tables) == len(files)
  return [
    path
    for path in tables
    if feature_csv.is_annotation_table(path, strict=alone)
  ]
