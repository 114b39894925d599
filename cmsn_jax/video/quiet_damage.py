"""Damage that FFmpeg passes over: no call fails, and no frame is marked.

Where part of a Matroska, WebM or Ogg file cannot be understood, FFmpeg writes a
line and goes on at the next part that can be; the pictures between are not
there. And its own decoder of VP9 takes any bits, without a line.
"""

import contextlib
import threading
from collections.abc import Iterator

import av
import av.logging

# Whose lines at the level of errors mean that something is missing. Not those
# of other decoders: H.265 has some for the leading pictures of a lossless cut,
# H.264 for a capture that begins between key frames; and they mark frames.
# Of Ogg's only the sums: others are on files that were put one behind the other.
_DEMUXERS = {'matroska,webm': '', 'ogg': 'CRC mismatch'}
_DECODERS = ('vp8', 'vp9')
# Zeros behind a live recording, which states no length, are no part of it.
_PADDING = '0x00 at pos'

_lock = threading.Lock()
_listeners = 0
_before = None, True


class Complaints:
  """Of one opened stream.

  Args:
    container_format: as the demuxer is called.
    codec: as the decoder is called.
  """

  def __init__(self, container_format: str, codec: str):
    self._demuxer = container_format if container_format in _DEMUXERS else None
    self._decoder = codec if codec in _DECODERS else None

  def heard(self) -> contextlib.AbstractContextManager[list]:
    """A list that gets the lines of what is done meanwhile, in this thread."""
    if self._demuxer or self._decoder:
      return _heard()
    return contextlib.nullcontext([])

  def of_file(self, lines: list, ended: bool) -> str:
    """The first line that a part of the file was passed over; '' for none.

    Args:
      lines: that were heard.
      ended: whether no packet came after them.
    """
    begin = _DEMUXERS.get(self._demuxer, '')
    found = _first(lines, self._demuxer, begin)
    return '' if ended and found.startswith(_PADDING) else found

  def of_picture(self, lines: list) -> str:
    """The first line on the content of a picture; '' for none."""
    return _first(lines, self._decoder, '')


def strict_decoder(stream: av.VideoStream) -> av.CodecContext | None:
  """One that refuses broken bits, where the stream's own does not.

  Of VP9 it is libvpx, as fast and equal to the bit: it notices a picture that
  reads on behind its end. What it refuses it leaves out until the next key
  frame, so it is not for showing what is left of damaged files.
  """
  own = stream.codec_context
  # More bits a colour are left out of most libraries of libvpx.
  if own.name != 'vp9' or not own.format or own.format.components[0].bits > 8:
    return None
  try:
    codec = av.CodecContext.create('libvpx-vp9', 'r')
  except ValueError:  # FFmpeg was built without it
    return None
  codec.thread_count = 1
  return codec


def _first(lines, name, begin) -> str:
  for _, who, text in lines:
    if who == name and text.startswith(begin):
      return text.strip()
  return ''


@contextlib.contextmanager
def _heard() -> Iterator[list]:
  _begin()
  try:
    with av.logging.Capture() as lines:
      yield lines
  finally:
    _end()


def _begin():
  global _listeners, _before
  with _lock:
    if not _listeners:
      _before = av.logging.get_level(), av.logging.get_skip_repeated()
      # Two files may well say the same.
      av.logging.set_skip_repeated(False)
      if _before[0] is None:
        av.logging.set_level(av.logging.ERROR)
    _listeners += 1


def _end():
  # Only as long as needed: where lines are heard, a library's own thread that
  # writes one while it is being closed would wait for ever.
  global _listeners
  with _lock:
    _listeners -= 1
    if not _listeners:
      level, skip_repeated = _before
      av.logging.set_skip_repeated(skip_repeated)
      if level is None:
        av.logging.set_level(None)
