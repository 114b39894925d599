"""Frames of many videos, decoded once, read by window in any order.

A store is a folder: `store.json` (rate, size, encoding) and one file a video,
`<id>.frames`. Such a file is all frames, one behind the other (JPEG or raw),
then a checksum and the offset of each, then a JSON description, then a trailer
that says where those begin. It gets its name only when complete, so what is
there can be trusted, and an interrupted build goes on where it stopped.
"""

import dataclasses
import functools
import io
import json
import os
import pathlib
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cmsn_jax.files import replacing, video_ids

SUFFIX = '.frames'
ENCODINGS = ('jpeg', 'raw')
_MAGIC = b'CMSNFRM1'
# Length of the description, number of frames, checksum of both tables and the
# description, magic.
_TRAILER = struct.Struct('<QQI8s')


class FrameStoreError(ValueError):
  """A store or one of its files is damaged, foreign or missing."""


@dataclasses.dataclass(frozen=True)
class Format:
  """How all frames of a store were made.

  Attributes:
    fps: rate at which frames were sampled.
    size: (height, width), pixels.
    encoding: 'jpeg' (about a ninth of the space) or 'raw' (exact, faster).
    quality: of JPEG, 1 to 95.
  """

  fps: int | float = 25.0
  size: tuple[int, int] = (128, 171)
  encoding: str = 'jpeg'
  quality: int = 90

  def __post_init__(self):
    if self.encoding not in ENCODINGS:
      raise ValueError(
        f'encoding must be one of {", ".join(ENCODINGS)}, got {self.encoding!r}'
      )
    if not 1 <= self.quality <= 95:
      raise ValueError(f'quality must be in [1, 95], got {self.quality}')

  def bytes_per_frame(self) -> int:
    """Disk use of a frame: exact for raw, a usual value for JPEG."""
    raw = 3 * self.size[0] * self.size[1]
    if self.encoding == 'raw':
      return raw
    # Measured on sports clips at 128 x 171: .085 of raw at quality 75, .11 at
    # 90, .155 at 95.
    return round(raw * (0.11 if self.quality <= 90 else 0.16))

  def encode(self, frame: UInt8[np.ndarray, 'h w 3']) -> bytes:
    """One frame as stored."""
    if self.encoding == 'raw':
      return frame.tobytes()
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, 'JPEG', quality=self.quality)
    return buffer.getvalue()

  def decode(self, data: bytes | memoryview) -> UInt8[np.ndarray, 'h w 3']:
    """The inverse of `encode`."""
    if self.encoding == 'raw':
      return np.frombuffer(data, np.uint8).reshape(*self.size, 3)
    return np.asarray(Image.open(io.BytesIO(data)))


class FrameStore:
  """Read access to a store; safe to share between threads.

  Args:
    folder: made by `frame_store_build.build`.

  Raises:
    FrameStoreError: no store there.
  """

  def __init__(self, folder: str | os.PathLike):
    self.folder = pathlib.Path(folder)
    self.format = read_format(self.folder)
    if self.format is None:
      raise FrameStoreError(
        f'{self.folder}: not a frame store (no store.json); build it first'
      )
    self.ids = tuple(
      sorted(path.name[: -len(SUFFIX)] for path in _files(self.folder))
    )
    self._index = functools.lru_cache(maxsize=4096)(self._read_index)

  @property
  def fps(self) -> float:
    """Frames a second of every video in the store."""
    return float(self.format.fps)

  @property
  def size(self) -> tuple[int, int]:
    """(height, width) of every frame."""
    return self.format.size

  def num_frames(self, video_id: str) -> int:
    """Frames of a video at the store's rate."""
    return len(self._index(video_id)[1])

  def info(self, video_id: str) -> dict:
    """The file's description: source file, its bytes, its duration."""
    return dict(self._index(video_id)[2])

  def read(
    self, video_id: str, start_frame: int = 0, stop_frame: int | None = None
  ) -> UInt8[np.ndarray, 'n h w 3']:
    """Frames [start_frame, stop_frame) of a video.

    Raises:
      ValueError: unknown video, or a range outside of it.
      FrameStoreError: the file is damaged.
    """
    offsets, checksums, _ = self._index(video_id)
    count = len(checksums)
    stop_frame = count if stop_frame is None else stop_frame
    if not 0 <= start_frame <= stop_frame <= count:
      raise ValueError(
        f'{video_id}: frames [{start_frame}, {stop_frame}) asked for, the '
        f'store has [0, {count})'
      )
    path = self._path(video_id)
    begin = int(offsets[start_frame])
    with open(path, 'rb') as file:
      file.seek(begin)
      data = memoryview(file.read(int(offsets[stop_frame]) - begin))
    out = np.empty((stop_frame - start_frame, *self.size, 3), np.uint8)
    for i in range(start_frame, stop_frame):
      part = data[offsets[i] - begin : offsets[i + 1] - begin]
      if zlib.crc32(part) != checksums[i]:
        raise FrameStoreError(
          f'{path}: frame {i} is damaged on disk; delete the file and build '
          'the store again, which makes only what is missing'
        )
      out[i - start_frame] = self.format.decode(part)
    return out

  def _path(self, video_id):
    return self.folder / f'{video_id}{SUFFIX}'

  def _read_index(self, video_id):
    if video_id not in self.ids:
      raise ValueError(
        f'{self.folder}: no video {video_ids.shown(video_id)} in the store, '
        f'which has {len(self.ids)} videos'
      )
    return read_index(self._path(video_id))


def read_format(folder: str | os.PathLike) -> Format | None:
  """The format that a folder's `store.json` states; None where none is."""
  path = pathlib.Path(folder) / 'store.json'
  try:
    document = json.loads(path.read_text())
    return Format(**{**document, 'size': tuple(document['size'])})
  except FileNotFoundError:
    return None
  except (ValueError, TypeError, KeyError) as error:
    raise FrameStoreError(
      f'{path}: not a store description ({error}); delete the folder and build '
      'the store again'
    ) from None


def write_format(folder: pathlib.Path, frames_format: Format):
  """Makes a folder a store, or checks that it is one of the same format.

  Raises:
    FrameStoreError: the folder holds a store of another format.
  """
  existing = read_format(folder)
  if existing is None:
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(dataclasses.asdict(frames_format))
    with replacing.file(folder / 'store.json', durable=True) as file:
      file.write(document)
  elif existing != frames_format:
    raise FrameStoreError(
      f'{folder}: holds frames made with {existing}, asked for '
      f'{frames_format}; use another folder'
    )


def write_video(
  path: pathlib.Path,
  chunks: Iterable[np.ndarray],
  frames_format: Format,
  description: dict,
) -> int:
  """Writes one video's file, complete or not at all; returns its frames.

  Args:
    path: `<store>/<id>.frames`.
    chunks: uint8 `[n, h, w, 3]` arrays, in order.
    frames_format: how to encode them.
    description: JSON-able; kept in the file.
  """
  lengths, checksums = [0], []
  with replacing.file(path, 'wb', durable=True) as file:
    for chunk in chunks:
      for frame in chunk:
        data = frames_format.encode(frame)
        lengths.append(len(data))
        checksums.append(zlib.crc32(data))
        file.write(data)
    table = np.cumsum(lengths, dtype='<i8').tobytes()
    table += np.array(checksums, '<u4').tobytes()
    table += json.dumps(description).encode()
    file.write(table)
    text_bytes = len(table) - 8 * len(lengths) - 4 * len(checksums)
    file.write(
      _TRAILER.pack(text_bytes, len(checksums), zlib.crc32(table), _MAGIC)
    )
  return len(checksums)


def read_index(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, dict]:
  """(offsets int64 [n + 1], checksums uint32 [n], description) of a file.

  Raises:
    FrameStoreError: the file is damaged or foreign.
  """
  with open(path, 'rb') as file:
    total = file.seek(0, os.SEEK_END)
    file.seek(max(0, total - _TRAILER.size))
    trailer = file.read()
    damaged = FrameStoreError(
      f'{path}: damaged, or not a frame file; delete it and build the store '
      'again, which makes only what is missing'
    )
    if len(trailer) < _TRAILER.size or not trailer.endswith(_MAGIC):
      raise damaged
    text_bytes, count, checksum, _ = _TRAILER.unpack(trailer)
    begin = total - _TRAILER.size - text_bytes - 12 * count - 8
    if begin < 0:
      raise damaged
    file.seek(begin)
    table = file.read(total - _TRAILER.size - begin)
  if zlib.crc32(table) != checksum:
    raise damaged
  offsets = np.frombuffer(table, '<i8', count + 1)
  checksums = np.frombuffer(table, '<u4', count, 8 * (count + 1))
  if offsets[-1] != begin:
    raise damaged
  return offsets, checksums, json.loads(table[12 * count + 8 :])


def _files(folder: pathlib.Path):
  return (path for path in folder.iterdir() if path.name.endswith(SUFFIX))
