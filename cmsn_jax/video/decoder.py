"""One opened video stream -> timed frames, checked for damage and truncation.

Damage is what the decoder shows: a packet that it refuses, a frame that it
marks, a file that ends before its container says. Numbers of packets and frames
are no sign of it: fields, hidden frames, empty chunks and the leading pictures
of a cut all make them differ in files that are whole.
"""

import contextlib
import fractions
import functools
import warnings
from collections.abc import Iterator

import av
import numpy as np
from av.video import reformatter as av_reformatter
from jaxtyping import UInt8

from cmsn_jax.video import file_ends, image_sequences, video_files

# A longer stretch without any frame is a broken clock, not a still picture:
# repeating the last frame through it could fill any memory downstream.
MAX_GAP_SEC = 600.0
# Sound begins a little before the picture in most files (its encoder needs a
# run-up, and so do frames that are stored out of order): the same instant.
_LATE_SEC = 0.1
# Reading from the last key frame pays only when much would be decoded in vain.
_SEEK_FROM_SEC = 5.0


def timed_frames(
  path: str | image_sequences.ImageSequence,
  start_sec: float,
  allow_damage: bool,
) -> Iterator[tuple[float, float, av.VideoFrame]]:
  """(start, end, frame) from at or before `start_sec` to the end."""
  if isinstance(path, image_sequences.ImageSequence):
    yield from path.timed_frames(start_sec, allow_damage)
    return
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


class Decoder:
  """Decodes one opened stream, checking everything that can be checked.

  Attributes:
    late_sec: how long after the file's beginning its first picture is shown;
      known once there was a frame.
    damaged: whether damage was found so far (and allowed).
  """

  def __init__(
    self,
    path: str,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    allow_damage: bool = False,
  ):
    self._path = path
    self._container = container
    self._stream = stream
    self._allow_damage = allow_damage
    self.damaged = False
    self.late_sec = 0.0
    self._indexed = 0
    if 'mp4' in container.format.name:
      # An edit list may cut frames away; the index knows, the header does not.
      self._indexed = len(getattr(stream, 'index_entries', ()))
    self._packets = self._decoded = 0
    self._begun = self._intact = False
    self._zero = self._last = None
    self._end_sec = 0.0
    rate = _rate_of(stream) or 25
    self._step = max(1, round(1 / (rate * stream.time_base)))
    missing = file_ends.cut_off(path, container.format.name)
    if missing:
      self._damage(f'truncated: {missing}')
    elif not file_ends.is_finished(path, container.format.name):
      warnings.warn(
        f'{path}: its last page is not marked as the last: a recording that '
        'was stopped, or a file cut off there',
        video_files.VideoWarning,
        stacklevel=2,
      )

  def timed_frames(self) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start_sec, end_sec, frame), to the end, where more is checked."""
    for frame in self._frames():
      yield self._timed(frame)
    self._check_end()

  def timed_frames_from(
    self, start_sec: float
  ) -> Iterator[tuple[float, float, av.VideoFrame]] | None:
    """The same from the key frame before `start_sec`; None if that fails."""
    first = next(self.timed_frames(), None)
    if first is None:
      return None
    target = self._zero + int(start_sec / self._stream.time_base)
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
      # A recording may begin between two key frames: what comes before the
      # first can be shown by nobody.
      self._begun = self._begun or packet.is_keyframe
      try:
        decoded = packet.decode()
      except av.FFmpegError as error:
        if self._begun:
          self._damage(f'a frame cannot be decoded ({error.strerror})')
        continue
      for frame in decoded:
        self._decoded += 1
        if not frame.is_corrupt:
          self._intact = True
        elif self._intact or frame.key_frame:
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
        if packet.is_corrupt and self._intact:
          self._damage('a packet is cut off')
      elif packet.dts is not None:
        self._packets += 1
        continue  # an empty chunk of an AVI: the last frame stays on display
      yield packet

  def _timed(self, frame):
    # An AVI stores no presentation times, and what is made up for frames that
    # were stored out of order is wrong; its decoding times are right.
    ticks = frame.dts
    if self._container.format.name != 'avi' and frame.pts is not None:
      ticks = frame.pts
    if ticks is None:
      ticks = 0 if self._last is None else self._last + self._step
    base = self._stream.time_base
    if self._zero is None:
      self._set_zero(ticks)
    if self._last is not None:
      jump_sec = float((ticks - self._last) * base)
      if jump_sec < -1 or jump_sec > MAX_GAP_SEC:
        raise video_files.VideoError(
          f'{self._path}: its clock jumps by {jump_sec:.1f} s after '
          f'{self._at():.2f} s; repair it with: ffmpeg -i FILE -r 25 NEW.mp4'
        )
      ticks = max(ticks, self._last)
    self._last = ticks
    duration = frame.duration or self._step
    if frame.interlaced_frame:  # or it may be that of one field
      duration = max(duration, self._step)
    start_sec = float((ticks - self._zero) * base)
    self._end_sec = start_sec + float(duration * base)
    return start_sec, self._end_sec, frame

  def _set_zero(self, ticks):
    """Time 0 is where players begin: with the first stream of the file."""
    base = self._stream.time_base
    begin = ticks * base
    if self._container.format.name == 'avi':
      begin = (self._stream.start_time or 0) * base
    late = begin - min([begin, *_beginnings(self._container)])
    self.late_sec = float(late) if late >= _LATE_SEC else 0.0
    if late > MAX_GAP_SEC:
      raise video_files.VideoError(
        f'{self._path}: its picture begins {float(late):.1f} s after its '
        'sound; repair it with: ffmpeg -i FILE -r 25 NEW.mp4'
      )
    self._zero = ticks - round(self.late_sec / base)

  def end_sec(self, end_ticks: int) -> float:
    """Seconds on the clock of the frames, from ticks of the stream's."""
    zero = self._zero
    if self._container.format.name == 'avi':
      zero = (self._stream.start_time or 0) - round(
        self.late_sec / self._stream.time_base
      )
    return float((end_ticks - zero) * self._stream.time_base)

  def has_duration(self) -> bool:
    """Whether the header states a duration, and not the demuxer a guess."""
    name = self._container.format.name
    if name == 'avi':
      return file_ends.states_length(self._path)
    return name in _STATED

  def _at(self) -> float:
    if self._last is None:
      return 0.0
    return float((self._last - self._zero) * self._stream.time_base)

  def _damage(self, found: str):
    where = ''
    if self._decoded:
      where = f'at {self._at():.2f} s, after {self._decoded} frames: '
    message = (
      f'{self._path}: {where}{found}; copy or download the file again, or pass '
      '--allow_damage (in Python allow_damage=True) to read what is there'
    )
    if not self._allow_damage:
      raise video_files.VideoError(message)
    if not self.damaged:
      warnings.warn(message, video_files.VideoWarning, stacklevel=2)
      self.damaged = True

  def _check_end(self):
    if not self._decoded:
      raise video_files.VideoError(
        f'{self._path}: its video stream has no frame that can be decoded; '
        'copy or download it again'
      )
    if not self._intact:
      self._damage('every frame has damaged content')
    if self._packets < self._indexed:
      self._damage(
        f'truncated: only {self._packets} of the {self._indexed} frames of its '
        'index are there'
      )
    self._check_duration()

  def _check_duration(self):
    """The header's duration is the witness where it is not itself measured."""
    stated = self._container.duration
    if not stated or not self.has_duration():
      return
    stated_sec = stated / av.time_base
    step_sec = float(self._step * self._stream.time_base)
    short_sec = stated_sec - max(0.5, 1.5 * step_sec, 0.02 * stated_sec)
    # Sound and subtitles may well outlast the picture: then they are there.
    if self._end_sec < short_sec and _reach_sec(self._path) < short_sec:
      self._damage(
        f'truncated: its header announces {stated_sec:.1f} s, the video ends '
        f'after {self._end_sec:.1f} s'
      )


# Other formats have no duration but what the demuxer finds in the file itself,
# or an index, which is compared.
_STATED = ('matroska,webm', 'flv', 'asf')


def _beginnings(container) -> list[fractions.Fraction]:
  """When each stream that is seen or heard begins, seconds."""
  streams = [*container.streams.audio, *video_files.picture_streams(container)]
  return [
    stream.start_time * stream.time_base
    for stream in streams
    if stream.start_time is not None
  ]


def _reach_sec(path: str) -> float:
  """End of the last packet of any stream, seconds from the file's beginning.

  A header's duration may count from time stamp 0 or from the first one.
  """
  begin, end = 0, 0
  with video_files.opened(path) as (container, _):
    with contextlib.suppress(av.FFmpegError):
      for packet in container.demux():
        ticks = packet.dts if packet.pts is None else packet.pts
        if ticks is not None:
          begin = min(begin, ticks * packet.time_base)
          end = max(end, (ticks + (packet.duration or 0)) * packet.time_base)
  return float(end - begin)


def stated_length(
  path: str,
  container: av.container.InputContainer,
  stream: av.VideoStream,
  decoder: Decoder,
) -> tuple[float, int, float]:
  """(duration in seconds, source frames, average fps) without decoding.

  The duration ends with the last picture and begins at time 0, be the first
  picture then or later.

  Args:
    path: of the file.
    container: opened from it.
    stream: of its pictures.
    decoder: of this stream, which has given a frame.
  """
  base = stream.time_base
  rate = _rate_of(stream)
  end, count = None, stream.frames
  name, alone = container.format.name, len(container.streams) == 1
  if decoder.damaged or (name == 'avi' and not decoder.has_duration()):
    # What the header announces is not what is there.
    end, count = _counted_length(path)
  elif name in ('mpeg', 'flv', 'nut') or (name == 'asf' and not alone):
    pass  # a guess, counted from elsewhere, up to the last key, or the sound's
  elif 'DURATION' in stream.metadata:  # Matroska; the container's has sound
    end = _clock_sec(stream.metadata['DURATION']) / base
  elif stream.duration:
    end = (stream.start_time or 0) + stream.duration
  elif container.duration and alone:
    begin = container.start_time or 0
    end = (begin + container.duration) / av.time_base / base
  if end is None or not (count or rate):
    # Browsers' recordings state neither; else the duration is the sound's.
    end, count = _counted_length(path)
  duration_sec = max(decoder.end_sec(round(end)), 1e-3)
  shown_sec = max(duration_sec - decoder.late_sec, 1e-3)
  fps = float(rate) if rate else count / shown_sec
  return duration_sec, count or max(1, round(shown_sec * fps)), fps


def _rate_of(stream) -> fractions.Fraction | None:
  """Frames a second; of raw DV the average is that of the clock's ticks."""
  if stream.container.format.name == 'dv':
    return stream.guessed_rate
  return stream.average_rate or stream.guessed_rate


def _clock_sec(text: str) -> float:
  """'00:01:02.500000000' -> 62.5; 0 where it is anything else."""
  try:
    hours, minutes, seconds = text.split(':')
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
  except ValueError:
    return 0.0


def _counted_length(path: str) -> tuple[int, int]:
  """(end in ticks, frames) by reading all packets, decoding none."""
  end, count = 0, 0
  with video_files.opened(path) as (container, stream):
    rate = _rate_of(stream)
    step = round(1 / (rate * stream.time_base)) if rate else 0
    with contextlib.suppress(av.FFmpegError):
      for packet in container.demux(stream):
        ticks = packet.dts if packet.pts is None else packet.pts
        if ticks is None or packet.is_discard:
          continue
        end = max(end, ticks + (packet.duration or step))
        count += 1
  if not count:
    raise video_files.VideoError(f'{path}: its video stream has no frames')
  return end, count
