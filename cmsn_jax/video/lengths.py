"""How long a video is: what its container states, or what its packets show."""

import contextlib
import fractions
import functools
import os
from typing import NamedTuple

import av

from cmsn_jax.video import file_ends, video_files

# Where parts were put one behind the other (`cat`, the files of a DVD), the
# clock begins anew; only in these does one demuxer read through that.
_JOINED = ('mpegts', 'mpeg')
# Further back than frames that are stored out of order ever are.
BACK_SEC = 1.0
# A longer stretch without any frame is a broken clock, not a still picture:
# repeating the last frame through it could fill any memory downstream.
MAX_GAP_SEC = 600.0


class Counted(NamedTuple):
  """What the packets of a video stream show.

  Attributes:
    end: when the last one ends, in the stream's ticks, all parts on one clock.
    count: packets that are shown.
    joined: whether the clock begins anew on the way.
  """

  end: int
  count: int
  joined: bool


def reach_sec(path: str) -> float:
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


def stated(
  path: str,
  container: av.container.InputContainer,
  stream: av.VideoStream,
  damaged: bool,
) -> tuple[float, int, float | None]:
  """(end in ticks, source frames, fps) of the pictures, without decoding.

  Args:
    path: of the file.
    container: opened from it.
    stream: of its pictures.
    damaged: then what the header announces is not what is there.

  Returns:
    0 frames and no fps where nothing says how many.
  """
  base = stream.time_base
  rate = rate_of(stream)
  end, count = None, stream.frames
  name, alone = container.format.name, len(container.streams) == 1
  if (
    damaged
    or (name == 'avi' and not has_duration(path, name))
    or (may_be_joined(name) and counted(path).joined)
  ):
    end, count, _ = counted(path)
  elif name in _GUESSED or (name == 'asf' and not alone):
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
    end, count, _ = counted(path)
  return float(end), count, float(rate) if rate else None


# What an IVF states is a number of frames or ticks, by program.
_GUESSED = ('mpeg', 'mpegvideo', 'flv', 'nut', 'rm', 'ivf')
# Other formats have no duration but what the demuxer finds in the file itself,
# or an index, which is compared.
_STATED = ('matroska,webm', 'flv', 'asf')


def has_duration(path: str, container_format: str) -> bool:
  """Whether the header states a duration, and not the demuxer a guess."""
  if container_format == 'avi':
    return file_ends.states_length(path)
  return container_format in _STATED


def may_be_joined(container_format: str) -> bool:
  """Whether files of this format are read on where a clock begins anew."""
  return container_format in _JOINED


def rate_of(stream: av.VideoStream) -> fractions.Fraction | None:
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


def is_new_clock(container_format: str, jump_sec: float) -> bool:
  """Whether what follows after such a jump of the clock is another part."""
  far = jump_sec < -BACK_SEC or jump_sec > MAX_GAP_SEC
  return far and may_be_joined(container_format)


def counted(path: str) -> Counted:
  """Reads all packets, decoding none; once a file.

  Raises:
    VideoError: no packet.
  """
  status = os.stat(path)
  return _counted(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(64)
def _counted(path, *_) -> Counted:
  end = count = shift = 0
  last = None
  with video_files.opened(path) as (container, stream):
    rate = rate_of(stream)
    step = round(1 / (rate * stream.time_base)) if rate else 0
    joined = False
    with contextlib.suppress(av.FFmpegError):
      for packet in container.demux(stream):
        ticks = packet.dts if packet.pts is None else packet.pts
        if ticks is None or packet.is_discard:
          continue
        # Not those of the display, which go back where frames are stored out
        # of order: by seconds in time lapse.
        stored = ticks if packet.dts is None else packet.dts
        if last is not None and is_new_clock(
          container.format.name,
          float((stored + shift - last) * packet.time_base),
        ):
          shift, joined = end - ticks, True
        last = stored + shift
        end = max(end, ticks + shift + (packet.duration or step))
        count += 1
  if not count:
    raise video_files.VideoError(f'{path}: its video stream has no frames')
  return Counted(end, count, joined)
