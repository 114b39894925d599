"""Sound video files of kinds that look damaged, and ways to cut files."""

import contextlib
import fractions
import pathlib

import av
import numpy as np

from cmsn_jax.video import video_files
from tests.video import made_videos


@contextlib.contextmanager
def damage_allowed():
  """As with --allow_damage, meanwhile."""
  video_files.allow_damage()
  try:
    yield
  finally:
    video_files.allow_damage(False)


def gaps(path, num_frames=62, rate=25, every=7):
  """An AVI in which each `every`-th chunk is empty; returns frames' times."""
  times = np.delete(np.arange(num_frames), np.s_[3::every]) / rate
  rate = fractions.Fraction(rate)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('mjpeg', rate=rate)
    stream.width, stream.height = made_videos.WIDTH, made_videos.HEIGHT
    stream.pix_fmt = 'yuvj420p'
    for index, time in enumerate(times):
      image = made_videos.picture(index)
      frame = av.VideoFrame.from_ndarray(image, format='rgb24')
      frame.pts, frame.time_base = round(time * rate), 1 / rate
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return times


def hidden_frames(path, tmp_path):
  """VP8 with frames that are decoded but never shown.

  Two-pass encoders write such; here each key frame has a hidden twin.
  """
  whole = made_videos.make(
    tmp_path / 'whole.webm',
    codec='libvpx',
    num_frames=100,
    options={'deadline': 'realtime', 'g': '25'},
  )
  with av.open(str(whole)) as old, av.open(str(path), 'w') as new:
    stream = old.streams.video[0]
    target = new.add_stream_from_template(stream)
    for packet in old.demux(stream):
      if packet.dts is None:
        continue
      if packet.is_keyframe and packet.pts:
        data = bytearray(packet)
        data[0] &= ~16  # the bit that shows it
        twin = av.Packet(bytes(data))
        twin.pts = twin.dts = packet.pts - 1
        twin.time_base, twin.stream = packet.time_base, target
        new.mux(twin)
      packet.stream = target
      new.mux(packet)
  return path


def leading_pictures(path, tmp_path):
  """HEVC cut at a key frame that others before it in time refer to."""
  whole = made_videos.make(
    tmp_path / 'whole.mkv',
    num_frames=120,
    codec='libx265',
    options={'x265-params': 'open-gop=1:keyint=30:log-level=none'},
  )
  return copy(whole, path, from_sec=1.5)


def captured(path, tmp_path):
  """A broadcast stream whose first packets belong to no key frame."""
  whole = made_videos.make(
    tmp_path / 'whole.ts',
    num_frames=100,
    options={'g': '25', 'bf': '0', 'sc_threshold': '0'},
    noise=20,
  )
  data = whole.read_bytes()
  packets = len(data) // 188
  path.write_bytes(data[188 * (packets // 10) :])
  return path


def empty_from_the_middle(path):
  """As a download that was given its size before its contents."""
  data = path.read_bytes()
  half = len(data) // 2
  path.write_bytes(data[:half] + bytes(len(data) - half))


def copy(
  source,
  path,
  from_sec=0.0,
  late_sec=0.0,
  sound_sec=0.0,
  sound_late_sec=0.0,
  options=None,
):
  """Copies packets from a key frame on, as lossless cutters do.

  `late_sec` moves the picture, `sound_sec` adds a track of that length, which
  `sound_late_sec` moves; `options` are the container's.
  """
  with (
    av.open(str(source)) as old,
    av.open(str(path), 'w', options=options or {}) as new,
  ):
    stream = old.streams.video[0]
    target = new.add_stream_from_template(stream)
    sound = new.add_stream('aac', rate=16000) if sound_sec else None
    if from_sec:
      old.seek(int(from_sec * av.time_base), backward=True)
    begin = None
    packets = []
    for packet in old.demux(stream):
      if packet.dts is None:
        continue
      begin = packet.dts if begin is None else begin
      late = round(late_sec / packet.time_base)
      # A cut moves time stamps, a late track has its own.
      moved = late - (begin if from_sec else 0)
      packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
      packet.stream = target
      packets.append(packet)
    if sound is not None:
      made_videos.add_silence(new, sound, sound_sec, sound_late_sec)
    new.mux(packets)
  return pathlib.Path(path)


def two_tracks(path):
  """The first track counts down and is not the default, the second counts."""
  with av.open(str(path), 'w') as container:
    streams = []
    for name in ('other', 'default'):
      stream = container.add_stream('libx264', rate=25)
      stream.width, stream.height = made_videos.WIDTH, made_videos.HEIGHT
      stream.pix_fmt = 'yuv420p'
      stream.disposition = 0
      if name == 'default':
        stream.disposition = av.stream.Disposition.default
      streams.append(stream)
    for index in range(50):
      for stream, shown in zip(streams, (49 - index, index), strict=True):
        image = made_videos.picture(shown)
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        frame.pts, frame.time_base = index, fractions.Fraction(1, 25)
        container.mux(stream.encode(frame))
    for stream in streams:
      container.mux(stream.encode(None))
  return path


def fields(path, tmp_path, num_frames=50):
  """H.264 whose every picture is two fields, a packet each (AVCHD).

  No encoder at hand writes these, so they are written here, uncompressed:
  32 x 32, frame i all of brightness 16 + 2 i.
  """
  raw = tmp_path / 'fields.h264'
  head = _unit(0x67, _sequence()) + _unit(0x68, _picture_set())
  mark = b'\0\0\0\1\x09\x10'
  raw.write_bytes(
    b''.join(
      mark + head + _field(i, 0) + mark + _field(i, 1)
      for i in range(num_frames)
    )
  )
  base = fractions.Fraction(1, 50)
  with av.open(str(raw), format='h264') as old, av.open(str(path), 'w') as new:
    stream = new.add_stream_from_template(old.streams.video[0])
    number = 0
    for packet in old.demux(video=0):
      if packet.size:
        packet.pts = packet.dts = number
        packet.duration, packet.time_base = 1, base
        packet.stream = stream
        new.mux(packet)
        number += 1
  assert number == 2 * num_frames
  return path


class _Bits:
  """Writes numbers bit by bit: fixed widths and Exp-Golomb."""

  def __init__(self):
    self.bits = []

  def put(self, value, width=1):
    self.bits += [value >> (width - 1 - i) & 1 for i in range(width)]
    return self

  def golomb(self, *values):
    for value in values:
      width = (value + 1).bit_length()
      self.put(0, width - 1).put(value + 1, width)
    return self

  def align(self):
    return self.put(0, -len(self.bits) % 8)

  def packed(self):
    bits = [*self.bits, 1]
    return np.packbits(bits).tobytes()


def _unit(kind, bits):
  out = bytearray([kind])
  for byte in bits.packed():
    if byte <= 3 and out[-2:] == b'\0\0' and len(out) > 2:
      out.append(3)
    out.append(byte)
  return b'\0\0\0\1' + bytes(out)


def _sequence():
  bits = _Bits().put(77, 8).put(0, 8).put(30, 8).golomb(0, 0, 2, 1).put(0)
  # Two blocks wide, one pair of blocks high; pictures may be fields.
  bits.golomb(1, 0).put(0).put(0).put(1).put(0)
  # Only the timing: two fields 25 times a second.
  bits.put(1).put(0, 4).put(1).put(1, 32).put(50, 32).put(1)
  return bits.put(0, 4)


def _picture_set():
  bits = _Bits().golomb(0, 0).put(0, 2).golomb(0, 0, 0).put(0, 3)
  return bits.golomb(0, 0, 0).put(1).put(0, 2)


def _field(index, bottom):
  bits = _Bits().golomb(0, 7, 0).put(0, 4).put(1).put(bottom)
  if bottom:
    bits.put(0)
  else:
    bits.golomb(index % 2).put(0, 2)
  bits.golomb(0, 1)
  for _ in range(2):  # blocks, uncompressed
    bits.golomb(25).align()
    for byte in [16 + 2 * index] * 256 + [128] * 128:
      bits.put(byte, 8)
  return _unit(0x61 if bottom else 0x65, bits)
