"""Stage probabilities of a video, kept beside its proposals for the report.

`<id>.npz` holds `probabilities` `[t, 6]` (float16) and `feature_fps`, the
snippets per second.
"""

import os
import pathlib
import zipfile
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from cmsn_jax import stage_names
from cmsn_jax.files import replacing

_EXPECTED = 'expected "probabilities" [t, 6] and "feature_fps"'


def read_some(
  folder: str | os.PathLike, ids: Iterable[str]
) -> dict[str, tuple[np.ndarray, float]]:
  """What `read` finds for those of the videos that have a file.

  Args:
    folder: folder of `<id>.npz`.
    ids: video ids.
  Returns:
    (probabilities, feature_fps) by id.
  Raises:
    ValueError: if no video has a file, or one is malformed.
  """
  folder, ids = pathlib.Path(folder), list(ids)
  if not folder.is_dir():
    raise ValueError(f'{folder}: not a folder; give a folder of <id>.npz files')
  found = {}
  for video_id in ids:
    file = folder / f'{video_id}.npz'
    if file.is_file():
      found[video_id] = read(file)
  if ids and not found:
    raise ValueError(
      f'{folder}: no stage file for any of the {len(ids)} videos, expected '
      f'files like {ids[0]}.npz (write them with propose --save_stages)'
    )
  return found


def read(file: str | os.PathLike) -> tuple[Float[np.ndarray, 't s'], float]:
  """Stage probabilities `[t, 6]`, float32, and snippets per second of a file.

  Raises:
    ValueError: if the file is no such archive.
  """
  try:
    with np.load(file, allow_pickle=False) as archive:
      arrays = {name: archive[name] for name in archive.files}
      probabilities = arrays['probabilities'].astype(np.float32)
      rate = float(arrays['feature_fps'])
  except KeyError:
    raise ValueError(f'{file}: found {sorted(arrays)}, {_EXPECTED}') from None
  except (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    AttributeError,
    TypeError,
    ValueError,
  ) as error:
    raise ValueError(f'{file}: not readable ({error}); {_EXPECTED}') from None
  shape = probabilities.shape
  if len(shape) != 2 or shape[1] != stage_names.COUNT or not shape[0]:
    raise ValueError(f'{file}: found probabilities {list(shape)}, {_EXPECTED}')
  if not (np.isfinite(probabilities).all() and probabilities.min() >= 0):
    raise ValueError(f'{file}: found negative or not finite probabilities')
  if not (np.isfinite(rate) and rate > 0):
    raise ValueError(f'{file}: found feature_fps {rate}, expected > 0')
  return probabilities, rate


def write(
  file: str | os.PathLike,
  probabilities: Float[np.ndarray, 't s'],
  feature_fps: float | int,
) -> None:
  """Writes what `read` reads, whole or not at all; missing folders are made.

  Args:
    file: `<id>.npz`.
    probabilities: of the six stages, `[t, 6]`; kept as float16.
    feature_fps: snippets per second.
  Raises:
    OSError: where nothing can be written there.
  """
  with replacing.file(file, 'wb') as opened:
    np.savez_compressed(
      opened,
      probabilities=probabilities.astype(np.float16),
      feature_fps=np.float64(feature_fps),
    )
