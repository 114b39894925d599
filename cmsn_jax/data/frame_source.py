"""Snippets of frames: from a frame store, or from a video as it is decoded."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from cmsn_jax.video import decoding


class FrameSource:
  """Snippets of `stride` cropped frames, read in any order.

  A last snippet that the video fills only in part repeats its last frame.

  Args:
    store: a `frame_store.FrameStore` of all videos.
    stride: frames a snippet.
    crop: (height, width) cut from each frame's middle.
    random_crop: whether `read_training` crops at random instead.
    random_flip: whether it mirrors half of the time.
  """

  statistics = None

  def __init__(
    self,
    store: Any,
    *,
    stride: int,
    crop: tuple[int, int],
    random_crop: bool = True,
    random_flip: bool = True,
  ):
    self._store = store
    self._stride, self._crop = stride, tuple(crop)
    self._random_crop, self._random_flip = random_crop, random_flip
    self.ids = store.ids
    self.feature_fps = store.fps / stride
    self.snippet_shape = (stride, *self._crop, 3)

  def num_snippets(self, video_id: str) -> int:
    """Snippets of a video, a begun one counted."""
    return -(-self._store.num_frames(video_id) // self._stride)

  def read(
    self, video_id: str, start: int, stop: int
  ) -> UInt8[np.ndarray, 'f h w 3']:
    """Centre-cropped frames of snippets [start, stop)."""
    return decoding.centre_crop(self._frames(video_id, start, stop), self._crop)

  def read_training(
    self, video_id: str, start: int, stop: int, rng: np.random.Generator
  ) -> UInt8[np.ndarray, 'f h w 3']:
    """The same with one random crop and flip for all frames (Sec. 5.1)."""
    frames = self._frames(video_id, start, stop)
    if not self._random_crop:
      frames = decoding.centre_crop(frames, self._crop)
    return decoding.random_crop_flip(
      frames, rng, self._crop, flip=self._random_flip
    )

  def _frames(self, video_id, start, stop):
    total = self._store.num_frames(video_id)
    frames = self._store.read(
      video_id, start * self._stride, min(stop * self._stride, total)
    )
    return fill(frames, (stop - start) * self._stride)


class DecodingSource:
  """Snippets of videos that are decoded while they are asked for.

  Windows of a video must be asked for in order of their starts; memory is
  bounded by the window and by what the decoding process runs ahead.

  Args:
    paths: file by video id.
    reader: a `video_reader.VideoReader`, which decodes in another process;
      None decodes here.
    fps: frames a second.
    size: (height, width) frames are resized to.
    stride: frames a snippet.
    crop: (height, width) cut from the middle.
  """

  statistics = None

  def __init__(
    self,
    paths: Mapping[str, str | os.PathLike],
    reader: Any,
    *,
    fps: float,
    size: tuple[int, int],
    stride: int,
    crop: tuple[int, int],
  ):
    self._paths = dict(paths)
    self._frames = decoding.frames if reader is None else reader.frames
    self._fps, self._size = fps, tuple(size)
    self._stride, self._crop = stride, tuple(crop)
    self.ids = tuple(sorted(paths))
    self.feature_fps = fps / stride
    self.snippet_shape = (stride, *self._crop, 3)
    self._totals = {}
    self._open = None  # (video id, chunks, frames held, index of the first)

  def num_snippets(self, video_id: str) -> int:
    """Snippets of a video, a begun one counted."""
    if video_id not in self._totals:
      self._open = None  # The reader reads one at a time.
      self._totals[video_id] = decoding.count(
        self._paths[video_id], self._fps, frames_of=self._frames
      )
    return -(-self._totals[video_id] // self._stride)

  def read(
    self, video_id: str, start: int, stop: int
  ) -> UInt8[np.ndarray, 'f h w 3']:
    """Centre-cropped frames of snippets [start, stop).

    Raises:
      VideoError: if the video is damaged.
    """
    begin, end = start * self._stride, stop * self._stride
    if self._open is None or self._open[0] != video_id or begin < self._open[3]:
      chunks = self._frames(
        self._paths[video_id], fps=self._fps, size=self._size
      )
      empty = np.zeros((0, *self._crop, 3), np.uint8)
      self._open = (video_id, iter(chunks), empty, 0)
    _, chunks, held, first = self._open
    parts, last = [held[begin - first :]], max(begin, first + len(held))
    skip = max(0, begin - first - len(held))
    while last < end:
      chunk = next(chunks, None)
      if chunk is None:
        break
      chunk = decoding.centre_crop(chunk, self._crop)
      parts.append(chunk[skip:])
      last += len(chunk) - min(skip, len(chunk))
      skip = max(0, skip - len(chunk))
    frames = np.concatenate(parts)
    self._open = (video_id, chunks, frames, begin)
    return fill(frames[: end - begin], end - begin)


def fill(
  frames: UInt8[np.ndarray, 'n h w 3'], length: int
) -> UInt8[np.ndarray, 'f h w 3']:
  """Repeats the last frame up to `length` frames.

  Raises:
    ValueError: if there is no frame.
  """
  if not len(frames):
    raise ValueError('no frame to fill a window with: the video ended early')
  if len(frames) == length:
    return frames
  last = np.repeat(frames[-1:], length - len(frames), axis=0)
  return np.concatenate([frames, last])
