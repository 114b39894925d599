"""A folder of extracted features: what is done, and what is half done.

`<id>.npy` is a video's features, `sources.jsonl` says of which file each is,
`<id>.rows.part` holds the rows of a video whose extraction was stopped: the
next one goes on behind them.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Float32

from cmsn_jax.features import video_features
from cmsn_jax.files import feature_files, json_files, replacing
from cmsn_jax.video import identities, video_files

_SOURCES = 'sources.jsonl'


class KeptRows:
  """Features in a folder, made where they are missing.

  Args:
    folder: made where it is missing; may be shared by several processes.
    features: how features are made.

  Raises:
    ValueError: when the folder holds features of another extractor.
  """

  def __init__(
    self, folder: pathlib.Path, features: video_features.VideoFeatures
  ):
    self.folder, self.features = pathlib.Path(folder), features
    claim(self.folder, features.record)
    self._sources = _read_sources(self.folder / _SOURCES)

  def is_done(self, video_id: str, path: str | os.PathLike) -> bool:
    """Whether the features of this very video are there.

    Raises:
      ValueError: when those of another video are there, under its id.
      OSError: when the video cannot be read.
    """
    target = self._target(video_id)
    if not target.exists():
      return False
    before = self._sources.get(video_id)
    if identities.is_done(before, identities.of(path), str(target)):
      return True
    logging.info('%s: the video has changed since, made again', target)
    return False

  def read(self, video_id: str) -> Float32[np.ndarray, 't d']:
    """The features of a video that is done."""
    return np.load(self._target(video_id))

  def extract(
    self,
    video_id: str,
    path: str | os.PathLike,
    *,
    allow_damage: bool | None = None,
    **options: Any,
  ) -> Float32[np.ndarray, 't d']:
    """Extracts a video's features, from where it was stopped before.

    Args:
      video_id: names the file that is written.
      path: of the video.
      allow_damage: as `VideoFeatures.extract` takes it.
      **options: as `VideoFeatures.extract` takes them.
    Raises:
      VideoError: when the file cannot be decoded.
      OSError: when the disk is full.
    """
    found = identities.of(path)
    allow_damage = video_files.damage_allowed(allow_damage)
    header = {
      'content': found.content,
      'features': _digest(self.features.record),
      'allow_damage': allow_damage,
    }
    part = self._part(video_id)
    try:
      return self._extract(
        video_id, path, found, part, header, allow_damage, options
      )
    except ValueError:  # of the video: the next attempt would end there too
      part.unlink(missing_ok=True)
      raise

  def _extract(
    self, video_id, path, found, part, header, allow_damage, options
  ):
    rows = _read_part(part, header, self.features.extractor.dim)
    rows = rows[: self.features.resumable(len(rows))]
    if len(rows):
      second = len(rows) / self.features.extractor.feature_fps
      logging.info('%s: goes on at %.0f s', path, second)
    self.folder.mkdir(parents=True, exist_ok=True)
    head = json.dumps(header).encode() + b'\n'
    # What is kept is not written again: a second stop must not lose it.
    mode = 'r+b' if len(rows) else 'wb'
    with replacing.named(part), open(part, mode) as file:
      if not len(rows):
        file.write(head)
      file.truncate(len(head) + rows.nbytes)
      file.seek(0, 2)
      pieces = [rows]
      for piece in self.features.pieces(
        path, start_row=len(rows), allow_damage=allow_damage, **options
      ):
        file.write(piece.tobytes())
        file.flush()
        pieces.append(piece)
    rows = np.concatenate(pieces)
    self._write(video_id, found, rows)
    part.unlink(missing_ok=True)
    return rows

  def is_begun(self, video_id: str) -> bool:
    """Whether an extraction of a video was stopped on its way."""
    return self._part(video_id).exists()

  def write(
    self,
    video_id: str,
    path: str | os.PathLike,
    rows: Float32[np.ndarray, 't d'],
  ) -> None:
    """Keeps features that were extracted elsewhere."""
    self._write(video_id, identities.of(path), rows)

  def _write(self, video_id, found, rows):
    with replacing.file(self._target(video_id), 'wb') as file:
      np.save(file, rows)
    self._note(video_id, found)

  def _note(self, video_id, found):
    line = json.dumps({'video': video_id, **found.record()})
    path = self.folder / _SOURCES
    # One small write at the end: several processes may do so at once.
    with replacing.named(path), open(path, 'a', encoding='utf-8') as file:
      file.write(line + '\n')
    self._sources[video_id] = found.record()

  def _part(self, video_id):
    return self.folder / f'{video_id}.rows.part'

  def _target(self, video_id):
    return self.folder / f'{video_id}.npy'


def claim(folder: pathlib.Path, record: dict) -> None:
  """Writes the record into a new folder, or checks that it is the same.

  Raises:
    ValueError: when the folder holds other features.
  """
  path = folder / feature_files.SIDECAR
  if path.exists():
    problems = video_features.differences(json_files.read(path), record)
    if problems:
      raise ValueError(
        f'{folder} holds other features; choose another --output, or delete '
        'it:\n  ' + '\n  '.join(problems)
      )
    return
  if any(folder.glob('*.npy')):
    raise ValueError(
      f'{folder} holds .npy files but no {feature_files.SIDECAR} that says what '
      'they are; choose another --output'
    )
  with replacing.file(path) as file:
    json.dump(record, file, indent=2, ensure_ascii=False)
    file.write('\n')


def _digest(record) -> str:
  # The config names paths and threads, which change nothing.
  record = {key: record[key] for key in sorted(record) if key != 'config'}
  return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]


def _read_sources(path) -> dict[str, dict]:
  if not path.exists():
    return {}
  found = {}
  for record in _lines(path):
    found[record['video']] = record
  return found


def _lines(path) -> Iterator[dict]:
  for text in path.read_text(encoding='utf-8', errors='replace').splitlines():
    try:
      record = json.loads(text)
    except ValueError:  # cut short by a kill
      continue
    if isinstance(record, dict) and 'video' in record:
      yield record


def _read_part(path, header, dim) -> Float32[np.ndarray, 't d']:
  """Whole rows that an extraction just like this one has left."""
  empty = np.zeros((0, dim), np.float32)
  if not path.exists():
    return empty
  data = path.read_bytes()
  head, _, rest = data.partition(b'\n')
  try:
    same = json.loads(head) == header
  except ValueError:
    same = False
  if not same:
    return empty
  rest = rest[: len(rest) // (4 * dim) * (4 * dim)]
  rows = np.frombuffer(rest, np.float32).reshape(-1, dim)
  # A power failure may leave what was never written.
  good = np.isfinite(rows).all(axis=1)
  return rows if good.all() else rows[: int(np.argmin(good))]
