"""Which file a result was made of: by what it holds, not by its name.

Cameras call every first recording GX010001, so a name says little. Size and
a hash of sixteen places, head and tail among them, tell videos apart; a copy
elsewhere, or with another date, is the same video.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from typing import Any

from cmsn_jax.video import image_sequences

_PLACES = 16
_BLOCK_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Identity:
  """What a result was made of.

  Attributes:
    path: where it lay.
    content: hash of its size and of samples of what it holds.
  """

  path: str
  content: str

  def record(self) -> dict[str, str]:
    """As JSON types."""
    return dataclasses.asdict(self)


def of(path: str | os.PathLike) -> Identity:
  """The identity of a video file, or of a sequence of pictures.

  Raises:
    OSError: if it cannot be read.
  """
  found = hashlib.sha256()
  if isinstance(path, image_sequences.ImageSequence):
    found.update(f'{path.fps} {path.numbers}'.encode())
    files = path.paths()
    for file in files:
      found.update(f'{file.name} {os.path.getsize(file)} '.encode())
    for file in files[:: max(1, len(files) // _PLACES)]:
      _sample(found, file, 1)
  else:
    _sample(found, path, _PLACES)
  return Identity(os.path.abspath(path), found.hexdigest()[:20])


def of_parts(path: str, parts: Iterable[bytes]) -> Identity:
  """The identity of what is no file of its own, from samples of it."""
  found = hashlib.sha256()
  for part in parts:
    found.update(part)
  return Identity(os.path.abspath(path), found.hexdigest()[:20])


def _sample(found, path, places):
  with open(path, 'rb') as file:
    total = file.seek(0, os.SEEK_END)
    found.update(f'{total} '.encode())
    last = max(0, total - _BLOCK_BYTES)
    starts = {last * k // max(1, places - 1) for k in range(places)}
    for start in sorted(starts):
      file.seek(start)
      found.update(file.read(_BLOCK_BYTES))


def is_done(before: dict[str, Any] | None, now: Identity, result: str) -> bool:
  """Whether a result that is there is of this very video.

  Args:
    before: the record kept with the result; None of results that have none,
      which are taken to be right.
    now: of the video.
    result: what the error calls the result.

  Returns:
    False where the file at the same path has changed since.

  Raises:
    ValueError: where the result is of another video of the same id.
  """
  if not before or before.get('content') == now.content:
    return True
  if before.get('path') == now.path:
    return False
  raise ValueError(
    f'{now.path}: {result} is of another video of that name, '
    f'{before.get("path")}; keep folders in the ids by --ids=path, or give '
    'another --output'
  )
