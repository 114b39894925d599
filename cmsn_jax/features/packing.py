"""Many videos through one stream of calls of one shape.

An extractor that streams (`extractor.Stream`) takes videos one behind the
other, a few empty frames between them: every call is full, whatever the videos'
lengths, nothing is computed twice, and there is one program to compile.
"""

import collections
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from cmsn_jax.features import extractor as extractor_lib

# What a video that cannot be decoded raises; the others go on.
_FAILURES = (ValueError, OSError)


def extract_all(
  made: extractor_lib.Extractor,
  videos: Iterable[tuple[Hashable, Iterable[UInt8[np.ndarray, '_ _ _ c']]]],
) -> Iterator[tuple[Hashable, Float32[np.ndarray, 't d'] | Exception]]:
  """Yields the features of many videos, each as soon as it is complete.

  Args:
    made: the backbone; one that does not stream takes them one by one.
    videos: (key, its frames in order, in pieces of any length). Frames are
      taken from them in turn, never from two at a time.
  Yields:
    (key, features); the error in place of features where taking its frames
    raised ValueError or OSError, or there was none. In the order of `videos`.
  """
  if made.stream is None:
    for key, chunks in videos:
      try:
        result = extractor_lib.extract(made, chunks)
      except _FAILURES as error:
        result = error
      yield key, result
    return
  packer = _Packer(made)
  for key, chunks in videos:
    packer.begin(key)
    try:
      for chunk in chunks:
        packer.add(chunk)
        yield from packer.complete()
      packer.end()
    except _FAILURES as error:
      packer.end(error)
    yield from packer.complete()
  packer.finish()
  yield from packer.complete()


class _Video:
  """A video in the stream: its first snippet, its snippets once known."""

  def __init__(self, key, start):
    self.key, self.start = key, start
    self.count: int | None = None
    self.error: Exception | None = None
    self.rows: list[np.ndarray] = []


class _Packer:
  """Fills calls of one shape and deals their rows out to videos."""

  def __init__(self, made):
    self._made = made
    self._length = made.chunk_snippets * made.stride
    # The state is replaced by each call.
    self._step = extractor_lib.jitted(made.stream.step, donate=(1,))
    self._params = jax.device_put(made.params)
    self._videos: collections.deque[_Video] = collections.deque()
    self._state: Any = None
    self._window: np.ndarray | None = None
    self._valid = np.zeros(self._length, np.bool_)
    self._fill = 0  # frames in the window
    self.num_frames = 0  # of the video that was begun
    self._sent = 0  # snippets of the calls made
    self._pending: Any = None

  def begin(self, key):
    """A video's frames follow."""
    start = self._sent + self._fill // self._made.stride
    self._videos.append(_Video(key, start))
    self.num_frames = 0

  def add(self, frames):
    """Takes frames of the video that was begun."""
    shape = self._window.shape[1:] if self.num_frames else None
    frames = extractor_lib.checked(self._made, frames, shape)
    if self._window is None or self._window.shape[1:] != frames.shape[1:]:
      self._restart(frames.shape[1:])
    done = 0
    while done < len(frames):
      count = min(len(frames) - done, self._length - self._fill)
      part = slice(self._fill, self._fill + count)
      self._window[part] = frames[done : done + count]
      self._valid[part] = True
      done, self._fill = done + count, self._fill + count
      if self._fill == self._length:
        self._call()
    self.num_frames += len(frames)

  def end(self, error: Exception | None = None):
    """The video that was begun is over."""
    video = self._videos[-1]
    if error is None and not self.num_frames:
      raise extractor_lib.no_frame(self._made)
    video.error = error
    video.count = -(-self.num_frames // self._made.stride)
    if self.num_frames:
      begun = -self.num_frames % self._made.stride
      self._skip(begun + self._made.stream.gap_frames)

  def finish(self):
    """Gets the rows that are still to come."""
    if self._window is None:
      return
    last = max((v.start + (v.count or 0) for v in self._videos), default=0)
    while self._sent - self._made.stream.lag < last:
      self._skip(self._length - self._fill)
    self._collect()

  def complete(self):
    """Yields the videos at the front whose rows are all there."""
    while self._videos:
      video = self._videos[0]
      if video.count is None:
        return
      if video.error is None and sum(map(len, video.rows)) < video.count:
        return
      self._videos.popleft()
      yield video.key, video.error or np.concatenate(video.rows)

  def take(self):
    """Returns the rows of the first video that have come, and forgets them."""
    rows, self._videos[0].rows = self._videos[0].rows, []
    return rows

  def _restart(self, shape):
    """Begins a stream of frames of another size."""
    begun = self._videos.pop()
    self.finish()
    self._window = np.zeros((self._length, *shape), np.uint8)
    self._valid[:] = False
    self._fill = 0
    self._state = self._made.stream.init(shape)
    # All rows of the old state are collected; what the new one gives first, as
    # late again, lies behind the last of them.
    begun.start = self._sent
    self._videos.append(begun)

  def _skip(self, frames):
    while frames:
      count = min(frames, self._length - self._fill)
      part = slice(self._fill, self._fill + count)
      self._window[part], self._valid[part] = 0, False
      frames, self._fill = frames - count, self._fill + count
      if self._fill == self._length:
        self._call()

  def _call(self):
    # Copies: the call may still read them while the next window fills.
    self._state, rows = self._step(
      self._params, self._state, self._window[None].copy(),
      self._valid[None].copy(),
    )  # fmt: skip
    first = self._sent - self._made.stream.lag
    self._sent, self._fill = self._sent + self._made.chunk_snippets, 0
    # One call is always in flight, while the next one's frames are decoded.
    self._collect()
    self._pending = first, rows

  def _collect(self):
    if self._pending is None:
      return
    first, rows = self._pending
    self._pending = None
    rows = extractor_lib.finished(self._made, rows)
    for video in self._videos:
      # A video that still goes on may take all that there is.
      begin = max(video.start - first, 0)
      end = len(rows)
      if video.count is not None:
        end = min(end, video.start + video.count - first)
      if begin < end:
        video.rows.append(rows[begin:end])


def iterate(
  made: extractor_lib.Extractor,
  chunks: Iterable[UInt8[np.ndarray, '_ h w c']],
) -> Iterator[Float32[np.ndarray, '_ d']]:
  """Yields one video's features piece by piece, while frames still arrive.

  Args:
    made: the backbone.
    chunks: the video's frames in order, in pieces of any length.
  Raises:
    ValueError: when there is no frame, or frames have the wrong form.
  """
  if made.stream is None:
    yield from extractor_lib.iterate(made, chunks)
    return
  packer = _Packer(made)
  packer.begin(None)
  for chunk in chunks:
    packer.add(chunk)
    yield from packer.take()
  packer.end()
  packer.finish()
  yield from packer.take()


def extract(
  made: extractor_lib.Extractor,
  chunks: Iterable[UInt8[np.ndarray, '_ h w c']],
) -> Float32[np.ndarray, 't d']:
  """Returns one video's features, one row a snippet; see `iterate`."""
  return np.concatenate(list(iterate(made, chunks)))
