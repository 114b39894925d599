"""Decoded frames -> upright RGB arrays of one size."""

import functools

import av
import numpy as np
from av.video import reformatter as av_reformatter
from jaxtyping import UInt8

# (turned, mirrored columns, mirrored rows) -> clockwise degrees.
ROTATIONS = {
  (False, True, True): 180,
  (True, True, False): 90,
  (True, False, True): 270,
}


def orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
  """(swap rows and columns, then mirror columns, then mirror rows)."""
  data = frame.side_data.get('DISPLAYMATRIX')
  if data is None:
    return False, False, False
  # x' = a x + c y, y' = b x + d y (16.16 fixed point, a b u c d v x y w).
  a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.int64)
  if abs(a) + abs(d) >= abs(b) + abs(c):
    return False, bool(a < 0), bool(d < 0)
  return True, bool(c < 0), bool(b < 0)


def reformatter():
  """A function (frame, width, height, format) -> frame, on one thread.

  One scaler serves all frames of a video: setting one up costs more than a
  frame. Threads would only fight with the other worker processes'.
  """
  convert = av_reformatter.VideoReformatter().reformat
  try:
    blank = av.VideoFrame(16, 16, 'rgb24')
    convert(blank, 16, 16, 'yuv420p', threads=1)
  except TypeError:  # before 17 there is one thread, and no such argument
    return convert
  return functools.partial(convert, threads=1)


class Painter:
  """Decoded frames -> upright RGB arrays of one size."""

  def __init__(self, size: tuple[int, int] | None):
    self._size = size
    self._convert = reformatter()
    self._rotation = None
    self._orientation = False, False, False

  def paint(self, frame: av.VideoFrame) -> UInt8[np.ndarray, 'h w 3']:
    """A frame as it is displayed, at the size of the first."""
    # Looking at a frame's side data ties the frame into a reference cycle, so
    # that all would wait in memory for the garbage collector.
    if frame.rotation != self._rotation:
      self._rotation, self._orientation = frame.rotation, orientation(frame)
    turned, columns, rows = self._orientation
    if self._size is None:
      stored = (frame.height, frame.width)
      self._size = stored[::-1] if turned else stored
    height, width = self._size[::-1] if turned else self._size
    # To packed pixels of an odd width, as 171, the scaler has no fast way; planes
    # of the same values take it half the time. Enlarged, they differ by one.
    smaller = width < frame.width and height < frame.height
    planar = width % 2 and smaller and frame.format.name.startswith('yuv')
    pixels = 'gbrp' if planar else 'rgb24'
    image = self._convert(frame, width, height, pixels).to_ndarray()
    if turned:
      image = image.swapaxes(0, 1)
    if columns:
      image = image[:, ::-1]
    return image[::-1] if rows else image
