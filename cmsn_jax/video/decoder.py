"""One opened video stream -> timed frames, checked for damage and truncation.

Damage is what the decoder shows: a packet that it refuses, a frame that it
marks, a file that ends before its container says. Numbers of packets and frames
are no sign of it: fields, hidden frames, empty chunks and the leading pictures
of a cut all make them differ in files that are whole.
"""

import fractions
import warnings
from collections.abc import Iterator

import av

from cmsn_jax.video import (
  animations,
  file_ends,
  image_sequences,
  lengths,
  quiet_damage,
  video_files,
)

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
  if animations.is_animation(path):
    yield from animations.timed_frames(path, allow_damage)
    return
  if start_sec >= _SEEK_FROM_SEC and not _joined(path):
    with video_files.opened(path) as (container, stream):
      decoder = Decoder(path, container, stream, allow_damage)
      timed = decoder.timed_frames_from(start_sec)
      if timed is not None:
        yield from timed
        return
  with video_files.opened(path) as (container, stream):
    yield from Decoder(path, container, stream, allow_damage).timed_frames()


def _joined(path: str) -> bool:
  """Whether a time may stand for several places of the file."""
  with video_files.opened(path) as (container, _):
    name = container.format.name
  return lengths.may_be_joined(name) and lengths.counted(path).joined


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
    self._indexed = self._stated_end = 0
    if 'mp4' in container.format.name:
      # An edit list may cut frames away; the index knows, the header does not.
      self._indexed = len(getattr(stream, 'index_entries', ()))
      self._stated_end = (stream.start_time or 0) + (stream.duration or 0)
    self._complaints = quiet_damage.Complaints(
      container.format.name, stream.codec_context.name
    )
    self._strict = quiet_damage.strict_decoder(stream)
    self._packets = self._decoded = 0
    self._dts = None
    self._suspect = 0  # packets since one that is marked as cut off
    self._begun = self._intact = False
    self._zero = self._last = None
    self._shift = 0  # ticks, for parts behind the first
    self._end_sec = 0.0
    rate = lengths.rate_of(stream) or 25
    self._step = max(1, round(1 / (rate * stream.time_base)))
    # Fractions for each frame would take a tenth of the decoding's time.
    self._base = stream.time_base.numerator, stream.time_base.denominator
    for other in container.streams:
      # Sound that is not there must not end the pictures that are.
      if other is not stream and hasattr(other, 'discard'):
        other.discard = av.stream.Discard.all
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
      if self._strict is not None:
        self._strict.flush_buffers()
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
        with self._complaints.heard() as lines:
          decoded = self._decode(packet)
      except av.FFmpegError as error:
        if self._begun:
          self._damage(f'a frame cannot be decoded ({error.strerror})')
        continue
      self._listen(lines)
      for frame in decoded:
        self._decoded += 1
        if not frame.is_corrupt:
          self._intact = True
        elif self._intact or frame.key_frame:
          self._damage('a frame has damaged content')
        yield frame

  def _decode(self, packet):
    if self._strict is None:
      return packet.decode()
    if not self._allow_damage:
      return self._strict.decode(packet)
    try:
      self._strict.decode(packet)
    except av.FFmpegError as error:
      if self._begun:
        self._damage(f'a frame cannot be decoded ({error.strerror})')
        self._strict = None  # once is enough
    return packet.decode()

  def _demuxed(self):
    packets = self._container.demux(self._stream)
    while True:
      try:
        with self._complaints.heard() as lines:
          packet = next(packets)
      except StopIteration:
        if self._suspect:
          self._damage('a packet is cut off')
        return
      except av.FFmpegError as error:
        self._damage(f'the file cannot be read on ({error.strerror})')
        return
      self._listen(lines, ended=not packet.size)
      if packet.size:
        self._packets += 1
        self._judge(packet)
      elif packet.dts is not None:
        self._packets += 1
        continue  # an empty chunk of an AVI: the last frame stays on display
      yield packet

  def _listen(self, lines, ended=False):
    passed_over = self._complaints.of_file(lines, ended)
    if passed_over:
      self._damage(f'a part of it cannot be read ({passed_over})')
    damaged = self._complaints.of_picture(lines)
    if damaged and self._intact:
      self._damage(f'a frame has damaged content ({damaged})')

  def _judge(self, packet):
    """A mark that something is missing counts, but right before a new clock.

    Where files were put one behind the other the numbers of their packets do
    not go on, which is marked a little before; nothing is missing there.
    """
    previous, self._dts = self._dts, packet.dts
    if self._suspect and None not in (previous, packet.dts):
      jump_sec = float((packet.dts - previous) * packet.time_base)
      if lengths.is_new_clock(self._container.format.name, jump_sec):
        self._suspect = 0
    if self._suspect or (packet.is_corrupt and self._intact):
      self._suspect += 1
    patience = 4 if lengths.may_be_joined(self._container.format.name) else 0
    if self._suspect > patience:
      self._suspect = 0
      self._damage('a packet is cut off')

  def _timed(self, frame):
    # An AVI stores no presentation times, and what is made up for frames that
    # were stored out of order is wrong; its decoding times are right.
    ticks = frame.dts
    if self._container.format.name != 'avi' and frame.pts is not None:
      ticks = frame.pts
    if ticks is None and self._last is None:
      # A negative time that Matroska cannot tell: with the sound, if any.
      begin = min([0, *_beginnings(self._container)])
      ticks = round(begin / self._stream.time_base)
    elif ticks is None:
      ticks = self._last + self._step
    else:
      ticks += self._shift
    if self._zero is None:
      self._set_zero(ticks)
    if self._last is not None:
      ticks = max(self._last, self._on_one_clock(ticks))
    self._last = ticks
    duration = frame.duration or self._step
    if frame.interlaced_frame:  # or it may be that of one field
      duration = max(duration, self._step)
    end = ticks + duration
    if ticks < self._stated_end:
      # Durations of frames that are stored out of order belong to others.
      end = min(end, self._stated_end)
    start_sec = self._sec(ticks - self._zero)
    self._end_sec = self._sec(end - self._zero)
    return start_sec, self._end_sec, frame

  def _on_one_clock(self, ticks):
    jump_sec = self._sec(ticks - self._last)
    if -lengths.BACK_SEC <= jump_sec <= lengths.MAX_GAP_SEC:
      return ticks
    if not lengths.is_new_clock(self._container.format.name, jump_sec):
      raise video_files.VideoError(
        f'{self._path}: its clock jumps by {jump_sec:.1f} s after '
        f'{self._at():.2f} s; repair it with: ffmpeg -i FILE -r 25 NEW.mp4'
      )
    if not self._shift:
      warnings.warn(
        f'{self._path}: its clock jumps by {jump_sec:.1f} s after '
        f'{self._at():.2f} s, as where files were put one behind the other; '
        'what follows is taken to follow at once',
        video_files.VideoWarning,
        stacklevel=2,
      )
    end = round(self._end_sec / self._stream.time_base) + self._zero
    self._shift += end - ticks
    return end

  def _set_zero(self, ticks):
    """Time 0 is where players begin: with the first stream of the file."""
    base = self._stream.time_base
    begin = ticks * base
    if self._container.format.name == 'avi':
      begin = (self._stream.start_time or 0) * base
    late = begin - min([begin, *_beginnings(self._container)])
    self.late_sec = float(late) if late >= _LATE_SEC else 0.0
    if late > lengths.MAX_GAP_SEC:
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
    return self._sec(end_ticks - zero)

  def _sec(self, ticks) -> float:
    return ticks * self._base[0] / self._base[1]

  def _at(self) -> float:
    if self._last is None:
      return 0.0
    return self._sec(self._last - self._zero)

  def _damage(self, found: str):
    where = self._path
    if self._decoded:
      where = f'{where}: at {self._at():.2f} s, after {self._decoded} frames'
    message = video_files.damage_message(where, found, self._allow_damage)
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
    name = self._container.format.name
    if not lengths.has_duration(self._path, name):
      return
    stated_sec = (self._container.duration or 0) / av.time_base
    if name in ('avi', 'asf') and self._stream.duration:
      # Here sound that begins late is announced as longer than it is.
      stated_sec = float(self._stream.duration * self._stream.time_base)
    step_sec = float(self._step * self._stream.time_base)
    short_sec = stated_sec - max(0.5, 1.5 * step_sec, 0.02 * stated_sec)
    # Sound and subtitles may well outlast the picture: then they are there.
    if self._end_sec < short_sec and lengths.reach_sec(self._path) < short_sec:
      self._damage(
        f'truncated: its header announces {stated_sec:.1f} s, the video ends '
        f'after {self._end_sec:.1f} s'
      )


def _beginnings(container) -> list[fractions.Fraction]:
  """When each stream that is seen or heard begins, seconds."""
  streams = [*container.streams.audio, *video_files.picture_streams(container)]
  return [
    stream.start_time * stream.time_base
    for stream in streams
    if stream.start_time is not None
  ]
