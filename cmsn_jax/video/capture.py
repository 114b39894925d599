"""Frames of a camera, a network stream or a file, while they arrive.

    with capture.Capture('rtsp://...', fps=25.0, size=(256, 340)) as frames:
      for first, chunk in frames:        # frame index on the clock, [n, h, w, 3]

A thread reads; what waits is bounded. A reader of a file waits for room. One of
a live source never does: what arrives while there is no room is dropped and
counted, and the frames after it keep their place on the clock.
"""

import math
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8

from cmsn_jax.video import decoding, video_files

# What PyAV calls the cameras of each system.
_CAMERAS = {'linux': 'v4l2', 'darwin': 'avfoundation', 'win32': 'dshow'}
_WAITING_SEC = 4.0
# A picture stands on display for so long where no other one comes.
_LONGEST_SHOWN_SEC = 1.0
_CHUNK = 8
_SILENCE_SEC = 30.0


class Capture:
  """Frames at a constant rate, with their place on the clock.

  Args:
    address: a file; 'camera' or 'camera:NAME'; any address that ffmpeg opens,
      such as rtsp://.
    fps: frames a second that are given out.
    size: (height, width) in pixels; (shorter side,) keeps the aspect.
    as_live: treat a file as live: at the speed of its clock.
    options: of ffmpeg for a camera or an address, e.g. {'framerate': '30'}.
    waiting_sec: of frames that wait at most.

  Attributes:
    dropped: frames that were not given out because nobody took them in time.
  """

  def __init__(
    self,
    address: str,
    *,
    fps: float | int,
    size: tuple[int, ...],
    as_live: bool = False,
    options: dict[str, str] | None = None,
    waiting_sec: float | int = _WAITING_SEC,
  ):
    self._address, self._fps, self._size = address, float(fps), size
    self._is_file = not is_live(address)
    self._as_live, self._options = as_live, options or {}
    self.dropped = 0
    most = max(2, round(waiting_sec * fps / _CHUNK))
    self._waiting: queue.Queue[Any] = queue.Queue(most)
    self._room = most
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._read, daemon=True)

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Ends the reading."""
    self._stop.set()
    self._thread.join(5.0)

  def __iter__(self) -> Iterator[tuple[int, UInt8[np.ndarray, 'n h w 3']]]:
    """Yields (index of the first frame on the clock, frames), to the end.

    Raises:
      VideoError: when the source cannot be read, or says nothing for 30 s.
    """
    while True:
      try:
        found = self._waiting.get(timeout=_SILENCE_SEC)
      except queue.Empty:
        raise video_files.VideoError(
          f'{self._address}: no picture for {_SILENCE_SEC:g} s; is the camera on, '
          'and the address right?'
        ) from None
      if isinstance(found, Exception):
        raise found
      if found is None:
        return
      yield found

  def _read(self):
    try:
      chunks = self._of_file() if self._is_file else self._of_stream()
      for first, chunk in chunks:
        if self._stop.is_set():
          return
        self._put(first, chunk)
      self._tell(None)
    except Exception as error:  # whatever it is, the other thread must see it
      self._tell(error)

  def _put(self, first, chunk):
    if self._is_file and not self._as_live:
      self._tell((first, chunk))
      return
    # Once there is no room there is none until half of it is free: a few long
    # gaps cost less than many short ones.
    if self._waiting.full():
      self._room = self._waiting.maxsize // 2
    if self._waiting.qsize() >= self._room:
      self.dropped += len(chunk)
      return
    self._room = self._waiting.maxsize
    self._waiting.put((first, chunk))

  def _tell(self, item):
    while not self._stop.is_set():
      try:
        self._waiting.put(item, timeout=0.2)
        return
      except queue.Full:
        continue

  def _of_file(self):
    size = self._size
    if len(size) == 1:
      info = decoding.probe(self._address)
      size = scaled(info.height, info.width, size[0])
    first, start = 0, time.monotonic()
    for chunk in decoding.frames(
      self._address, fps=self._fps, size=size, chunk_frames=_CHUNK
    ):
      first += len(chunk)
      if self._as_live:
        self._stop.wait(start + first / self._fps - time.monotonic())
      yield first - len(chunk), chunk

  def _of_stream(self):
    address, form = self._address, None
    if address == 'camera' or address.startswith('camera:'):
      form = _CAMERAS.get(sys.platform, 'v4l2')
      default = '/dev/video0' if form == 'v4l2' else '0'
      address = address.partition(':')[2] or default
    try:
      container = av.open(
        address, format=form, options=self._options, timeout=_SILENCE_SEC
      )
    except (av.FFmpegError, OSError) as error:
      raise video_files.VideoError(
        f'{self._address}: cannot be opened: {error}'
      ) from error
    with container:
      yield from _chunks(self._timed(container), self._fps)

  def _timed(self, container):
    """(seconds since the first picture, picture resized)."""
    start = size = None
    for frame in container.decode(video=0):
      if self._stop.is_set():
        return
      # Cameras and networks stamp what they send; else it is now.
      at = frame.time if frame.time is not None else time.monotonic()
      start = at if start is None else start
      if size is None:
        size = self._size
        if len(size) == 1:
          size = scaled(frame.height, frame.width, size[0])
      yield (
        at - start,
        frame.to_ndarray(format='rgb24', height=size[0], width=size[1]),
      )


def is_live(address: str) -> bool:
  """Whether it is a camera or an address of a stream, not a file."""
  return '://' in address or address.partition(':')[0] == 'camera'


def scaled(height: int, width: int, shorter: int) -> tuple[int, int]:
  """(height, width) with the shorter side as given, same aspect."""
  scale = shorter / min(height, width)
  return max(shorter, round(height * scale)), max(shorter, round(width * scale))


def _chunks(timed, fps):
  """Pictures at times → frames at a rate, as `decoding.frames` has them.

  Frame k is what is on display at (k + 1/2) / fps. Where nothing came for long,
  frames are left out.
  """
  shown, held, first, k = None, [], 0, 0
  for at, picture in timed:
    # Frames up to this picture show the one before.
    until = max(k, math.ceil(at * fps - 0.5))
    if shown is not None:
      last = min(until, k + max(1, round(_LONGEST_SHOWN_SEC * fps)))
      held += [shown] * (last - k)
      while len(held) >= _CHUNK:
        yield first, np.stack(held[:_CHUNK])
        held, first = held[_CHUNK:], first + _CHUNK
      if last < until:
        if held:
          yield first, np.stack(held)
        held, first = [], until
    k, shown = until, picture
  if shown is not None:
    held.append(shown)
  if held:
    yield first, np.stack(held)
