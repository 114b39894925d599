"""One opened video stream -> timed frames, checked for damage and truncation."""

import functools
import warnings

import av
import numpy as np
from av.video import reformatter as av_reformatter

from cmsn_jax.video import video_files

# A longer stretch without any frame is a broken clock, not a still picture:
# repeating the last frame through it could fill any memory downstream.
MAX_GAP_SEC = 600.0
# Reading from the last key frame pays only when much would be decoded in vain.
_SEEK_FROM_SEC = 5.0


def timed_frames(path, start_sec, allow_damage):
  """(start, end, frame) from at or before `start_sec` to the end."""
  if start_sec >= _SEEK_FROM_SEC:
    with video_files.opened(path) as (container, stream):
      decoder = Decoder(path, container, stream, allow_damage)
      timed = decoder.timed_frames_from(start_sec)
      if timed is not None:
        yield from timed
        return
  with video_files.opened(path) as (container, stream):
    yield from Decoder(path, container, stream, allow_damage).timed_frames()


# (turned, mirrored columns, mirrored rows) -> clockwise degrees.
ROTATIONS = {
  (False, True, True): 180,
  (True, True, False): 90,
  (True, False, True): 270,
}


def orientation(frame) -> tuple[bool, bool, bool]:
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

  def __init__(self, size):
    self._size = size
    self._convert = reformatter()

  def paint(self, frame) -> np.ndarray:
    turned, columns, rows = orientation(frame)
    if self._size is None:
      stored = (frame.height, frame.width)
      self._size = stored[::-1] if turned else stored
    height, width = self._size[::-1] if turned else self._size
    image = self._convert(frame, width, height, 'rgb24').to_ndarray()
    if turned:
      image = image.swapaxes(0, 1)
    if columns:
      image = image[:, ::-1]
    return image[::-1] if rows else image


class Decoder:
  """Decodes one opened stream, checking everything that can be checked."""

  def __init__(self, path, container, stream, allow_damage=False):
    self._path = path
    self._container = container
    self._stream = stream
    self._allow_damage = allow_damage
    self._warned = False
    self._is_avi = container.format.name == 'avi'
    self._expected = stream.frames
    if 'mp4' in container.format.name:
      # An edit list may cut frames away; the index knows, the header does not.
      self._expected = len(getattr(stream, 'index_entries', ())) or 0
    self._packets = self._shown = self._decoded = self._tiny = 0
    self._durations = {}
    self._first = self._last = None
    rate = stream.average_rate or stream.guessed_rate or 25
    self._step = max(1, round(1 / (rate * stream.time_base)))
    missing = video_files.missing_bytes(path, container.format.name)
    if missing:
      self._damage(f'truncated: the last {missing} bytes are missing')

  def timed_frames(self):
    """(start_sec, end_sec, frame), to the end, where counts are compared."""
    for frame in self._frames():
      yield self._timed(frame)
    self._check_counts()

  def timed_frames_from(self, start_sec):
    """The same from the key frame before `start_sec`; None if that fails."""
    first = next(self.timed_frames(), None)
    if first is None:
      return None
    target = self._first + int(start_sec / self._stream.time_base)
    try:
      self._container.seek(target, stream=self._stream, backward=True)
      timed = (self._timed(frame) for frame in self._frames())
      self._last = None
      landed = next(timed, None)
    except (av.FFmpegError, video_files.VideoError):
      return None
    if landed is None or landed[0] > start_sec:
      return None

    def chained():
      yield landed
      yield from timed

    return chained()

  def _frames(self):
    for packet in self._demuxed():
      try:
        decoded = packet.decode()
      except av.FFmpegError as error:
        self._damage(f'a frame cannot be decoded ({error.strerror})')
        continue
      for frame in decoded:
        self._decoded += 1
        if frame.is_corrupt:
          self._damage('a frame has damaged content')
        yield frame

  def _demuxed(self):
    packets = self._container.demux(self._stream)
    while True:
      try:
        packet = next(packets)
      except StopIteration:
        return
      except av.FFmpegError as error:
        self._damage(f'the file cannot be read on ({error.strerror})')
        return
      if packet.size:
        self._packets += 1
        self._shown += not packet.is_discard
        # "Nothing changed" markers of old AVI encoders decode to no frame.
        self._tiny += packet.size < 16
        if packet.is_corrupt:
          self._damage('a packet is cut off')
        if packet.pts is not None and packet.duration:
          self._durations[packet.pts] = packet.duration
      elif packet.dts is not None:
        continue  # an empty chunk of an AVI: the last frame stays on display
      yield packet

  def _timed(self, frame):
    # An AVI stores no presentation times, and what is made up for frames that
    # were stored out of order is wrong; its decoding times are right.
    ticks = frame.dts
    if not self._is_avi and frame.pts is not None:
      ticks = frame.pts
    if ticks is None:
      ticks = 0 if self._last is None else self._last + self._step
    base = self._stream.time_base
    if self._first is None:
      self._first = ticks
    if self._last is not None:
      jump_sec = float((ticks - self._last) * base)
      if jump_sec < -1 or jump_sec > MAX_GAP_SEC:
        raise video_files.VideoError(
          f'{self._path}: its clock jumps by {jump_sec:.1f} s after '
          f'{self._at():.2f} s; repair it with: ffmpeg -i FILE -r 25 NEW.mp4'
        )
      ticks = max(ticks, self._last)
    self._last = ticks
    duration = self._durations.pop(ticks, self._step)
    if len(self._durations) > 1000:  # packets whose frames never came
      self._durations.clear()
    start_sec = float((ticks - self._first) * base)
    return start_sec, start_sec + float(duration * base), frame

  def _at(self) -> float:
    if self._last is None:
      return 0.0
    return float((self._last - self._first) * self._stream.time_base)

  def _damage(self, found: str):
    where = ''
    if self._decoded:
      where = f'at {self._at():.2f} s, after {self._decoded} frames: '
    message = (
      f'{self._path}: {where}{found}; copy or download the file again, or pass '
      'allow_damage to read through it'
    )
    if not self._allow_damage:
      raise video_files.VideoError(message)
    if not self._warned:
      warnings.warn(message, video_files.VideoWarning, stacklevel=2)
      self._warned = True

  def _check_counts(self):
    if not self._decoded:
      raise video_files.VideoError(
        f'{self._path}: its video stream has no frame that can be decoded; '
        'copy or download it again'
      )
    if self._packets < self._expected:
      self._damage(
        f'truncated: {self._packets} of the {self._expected} frames that its '
        'header announces'
      )
    lost = self._shown - self._tiny - self._decoded
    if lost > 0:
      self._damage(f'{lost} of {self._shown} frames did not decode')
    stated = self._container.duration
    if not self._expected and stated and not self._stream.duration:
      self._check_duration(stated / av.time_base)

  def _check_duration(self, stated_sec: float):
    """Formats without a frame count: the header's duration is the witness."""
    begin_sec = float(self._first * self._stream.time_base)
    short_sec = stated_sec - (begin_sec + self._at())
    # Sound and subtitles may well outlast the picture.
    alone = len(self._container.streams) == 1
    if short_sec > max(0.5 if alone else 2.0, 0.02 * stated_sec):
      self._damage(
        f'truncated: its header announces {stated_sec:.1f} s, the video ends '
        f'{short_sec:.1f} s earlier'
      )


def stated_length(path, container, stream) -> tuple[float, int, float]:
  """(duration in seconds, source frames, average fps) without decoding."""
  duration_sec = 0.0
  if container.format.name == 'mpeg':
    pass  # its duration is a guess from the bit rate
  elif stream.duration:
    duration_sec = float(stream.duration * stream.time_base)
  elif 'DURATION' in stream.metadata:  # Matroska; the container's has sound
    duration_sec = _clock_sec(stream.metadata['DURATION'])
  elif container.duration:
    duration_sec = container.duration / av.time_base
  count = stream.frames
  rate = stream.average_rate or stream.guessed_rate
  if duration_sec <= 0 or not (count or rate):
    # Live recordings (browsers' webm) state neither: read the packets.
    duration_sec, count = _counted_length(path)
  fps = float(rate) if rate else count / duration_sec
  return duration_sec, count or max(1, round(duration_sec * fps)), fps


def _clock_sec(text: str) -> float:
  """'00:01:02.500000000' -> 62.5; 0 where it is anything else."""
  try:
    hours, minutes, seconds = text.split(':')
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
  except ValueError:
    return 0.0


def _counted_length(path: str) -> tuple[float, int]:
  """(duration in seconds, frames) by reading all packets, decoding none."""
  with video_files.opened(path) as (container, stream):
    begin, end, count = None, 0, 0
    for packet in container.demux(stream):
      if packet.pts is None or packet.is_discard:
        continue
      begin = packet.pts if begin is None else min(begin, packet.pts)
      end = max(end, packet.pts + (packet.duration or 0))
      count += 1
    if not count:
      raise video_files.VideoError(f'{path}: its video stream has no frames')
    return max(float((end - begin) * stream.time_base), 1e-3), count
