"""Whether a video file ends where its container says that it does.

Decoders stop at the end of what is there and say nothing, so a copy that was
cut off shows half a video without a word. Most containers state where they
end, or in what unit; here that is compared with the bytes that are there.
MPEG program streams and raw streams state nothing.
"""

import os
import re

# How far from the end marks are looked for: more than any page or packet run.
_TAIL_BYTES = 2**18
# Identities of Matroska's elements at the top, in a segment and in a cluster.
_MATROSKA = frozenset(
  bytes.fromhex(text)
  for text in '1a45dfa3 18538067 ec bf 114d9b74 1549a966 1654ae6b 1f43b675 '
  '1c53bb6b 1941a469 1043a770 1254c367 e7 a3 a0 a7 ab 5854'.split()
)
# What every key begins with, and how those of partitions go on.
_MXF_KEY = bytes.fromhex('060e2b34')
_MXF_PARTITION = bytes.fromhex('020501010d01020101')
_MXF_RUN_IN_BYTES = 2**16
_ASF_HEADER = bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c')


def cut_off(path: str, container_format: str) -> str | None:
  """What is missing at the end of a file; None where nothing shows.

  Args:
    path: a regular file.
    container_format: as the demuxer is called, e.g. 'mov,mp4,m4a,3gp,3g2,mj2'.
  """
  total = os.path.getsize(path)
  with open(path, 'rb') as file:
    if 'mp4' in container_format:
      return _beyond(_mp4_end(file, total), total)
    if 'matroska' in container_format:
      return _beyond(_matroska_end(file, total), total)
    if container_format == 'avi':
      return _beyond(_avi_end(file, total), total)
    if container_format == 'asf':
      return _beyond(_asf_end(file, total), total)
    if container_format == 'flv':
      return _flv(file, total)
    if container_format == 'ogg':
      return _ogg(file, total)
    if container_format == 'mpegts':
      return _transport_stream(file, total)
    if container_format == 'gif':
      return _gif(file)
    if container_format == 'mxf':
      return _beyond(_mxf_end(file, total), total)
    if container_format == 'dv':
      return _dv(file, total)
    if container_format == 'apng':
      file.seek(max(0, total - _TAIL_BYTES))
      return None if b'IEND' in file.read() else 'its last chunk is missing'
    if container_format == 'yuv4mpegpipe':
      return _y4m(file, total)
    if container_format == 'ivf':
      return _beyond(_ivf_end(file, total), total)
    if container_format == 'webp':
      head = file.read(8)
      return _beyond(8 + int.from_bytes(head[4:], 'little'), total)
  return None


def _beyond(end: int, total: int) -> str | None:
  if end <= total:
    return None
  return f'the last {end - total} bytes are missing'


def _mp4_end(file, total: int) -> int:
  """End of the last top-level box that begins within the file."""
  at = 0
  while at + 8 <= total:
    file.seek(at)
    header = file.read(16)
    length = int.from_bytes(header[:4], 'big')
    if length == 1:  # a 64-bit length follows the name
      length = int.from_bytes(header[8:16], 'big')
    # 0 means to the end; anything else below 8 are bytes that players append.
    if length < 8 or not header[4:8].isalnum():
      return at
    at += length
  return at


def _matroska_end(file, total: int) -> int:
  """End of the last element; those of unknown length are walked through."""
  at = 0
  while at < total:
    file.seek(at)
    header = file.read(12)
    name_bytes = 9 - header[0].bit_length()
    if header[:name_bytes] not in _MATROSKA or len(header) <= name_bytes:
      return at  # bytes behind the last element
    first = header[name_bytes]
    # The leading zero bits of the first byte count the bytes that follow it.
    width = 9 - first.bit_length()
    if width > 8 or len(header) < name_bytes + width:
      return at
    unknown = (1 << 7 * width) - 1
    size = header[name_bytes : name_bytes + width]
    length = int.from_bytes(size, 'big') & unknown
    at += name_bytes + width
    if length != unknown:  # else a live recording: its parts follow
      at += length
  return at


def _avi_end(file, total: int) -> int:
  """End of the last RIFF list: files above a gigabyte have several."""
  at = 0
  while at + 12 <= total:
    file.seek(at)
    header = file.read(8)
    length = int.from_bytes(header[4:], 'little')
    # 0 or all ones: written to a pipe, or a recording that was not finished.
    if header[:4] != b'RIFF' or length in (0, 2**32 - 1):
      break
    at += 8 + length
  return at - 1  # some count a padding byte that they leave out


def states_length(path: str) -> bool:
  """Whether an AVI's header was filled in when its recording ended."""
  with open(path, 'rb') as file:
    return int.from_bytes(file.read(8)[4:], 'little') not in (0, 2**32 - 1)


def _asf_end(file, total: int) -> int:
  """End of the last top-level object that begins within the file."""
  at = 0
  while at + 24 <= total:
    file.seek(at)
    header = file.read(24)
    length = int.from_bytes(header[16:], 'little')
    # A broadcast's data object states no length, only that of its own header.
    if (at == 0 and header[:16] != _ASF_HEADER) or length <= 50:
      break
    at += length
  return at


def _mxf_end(file, total: int) -> int:
  """End of the last key, length, value that begins within the file.

  Also where the footer begins, which a recording that was ended points to.
  """
  file.seek(0)
  at = first = max(0, file.read(_MXF_RUN_IN_BYTES).find(_MXF_KEY))
  footer = 0  # 0 as long as it is not known
  while at + 17 <= total:
    file.seek(at)
    header = file.read(64)
    if not header.startswith(_MXF_KEY):
      return at  # bytes behind the last one
    # Up to 127 the byte is the length, else says how many bytes state it.
    wide = header[16] & 127 if header[16] & 128 else 0
    begin = 17 + wide
    length = int.from_bytes(header[17:begin], 'big') if wide else header[16]
    if header[4:13] == _MXF_PARTITION and header[13] in (2, 3, 4):
      offset = int.from_bytes(header[begin + 24 : begin + 32], 'big')
      footer = max(footer, first + offset if offset else 0)
    at += begin + length
  return max(at, footer + 1 if footer else 0)


def _dv(file, total: int) -> str | None:
  """All frames have one length, by the lines of the television system."""
  file.seek(0)
  frame_bytes = 144000 if file.read(4)[3] & 128 else 120000
  return 'its last frame is cut off' if total % frame_bytes else None


def _ivf_end(file, total: int) -> int:
  """End of the last frame that begins within the file."""
  file.seek(6)
  at = int.from_bytes(file.read(2), 'little')
  while at + 12 <= total:
    file.seek(at)
    at += 12 + int.from_bytes(file.read(4), 'little')
  return at if at >= total else at + 12  # of which the head is cut off


def _y4m(file, total: int) -> str | None:
  """All frames have one length, stated by size and kind of pixels."""
  file.seek(0)
  head = file.read(1024).split(b'\n')[0]
  said = {word[:1]: word[1:] for word in head.split(b' ')[1:]}
  kind = said.get(b'C', b'420')
  if kind[:3] not in (b'420', b'422', b'444', b'mon') or b'alpha' in kind:
    return None
  width, height = int(said[b'W']), int(said[b'H'])
  columns = width if kind[:3] == b'444' else -(-width // 2)
  rows = -(-height // 2) if kind[:3] == b'420' else height
  chroma = 0 if kind[:3] == b'mon' else 2 * columns * rows
  wide = 2 if re.search(rb'(p|mono)\d\d', kind) else 1
  frame_bytes = len(b'FRAME\n') + wide * (width * height + chroma)
  left = (total - len(head) - 1) % frame_bytes
  return 'its last frame is cut off' if left else None


def _flv(file, total: int) -> str | None:
  """Every tag is followed by its length; the last one as well."""
  file.seek(max(0, total - 4))
  tag_bytes = int.from_bytes(file.read(4), 'big')
  if 11 <= tag_bytes <= total - 13:
    file.seek(total - 4 - tag_bytes + 1)
    if int.from_bytes(file.read(3), 'big') == tag_bytes - 11:
      return None
  # Some writers leave those lengths out: only whole tags count then.
  file.seek(5)
  at = int.from_bytes(file.read(4), 'big') + 4
  while at + 11 <= total:
    file.seek(at)
    kind, *size = file.read(4)
    if kind & 31 not in (8, 9, 18):
      return None
    at += 15 + int.from_bytes(bytes(size), 'big')
  return _beyond(at - 4, total)


def _ogg(file, total: int) -> str | None:
  """The last page must be whole."""
  begin = max(0, total - _TAIL_BYTES)
  file.seek(begin)
  tail = file.read()
  at = tail.rfind(b'OggS\0')
  if at < 0:
    return None
  segments = tail[at + 26 : at + 27]
  lengths = tail[at + 27 : at + 27 + (segments[0] if segments else 0)]
  if not segments or len(lengths) < segments[0]:
    return 'its last page is cut off'
  end = begin + at + 27 + len(lengths) + sum(lengths)
  return _beyond(end, total)


def is_finished(path: str, container_format: str) -> bool:
  """Whether an Ogg file's last page is marked as such; others: True.

  A file that was cut between two pages lacks the mark, but so do recordings of
  broadcasts, of which nothing is missing.
  """
  if container_format != 'ogg':
    return True
  with open(path, 'rb') as file:
    file.seek(max(0, os.path.getsize(path) - _TAIL_BYTES))
    tail = file.read()
  at = tail.rfind(b'OggS\0')
  return at < 0 or bool(tail[at + 5] & 4)


def _transport_stream(file, total: int) -> str | None:
  """Packets have one length; a last one that is shorter was cut."""
  begin = max(0, total - 8192)
  file.seek(begin)
  tail = file.read()
  for length in (188, 192, 204):
    for first in range(min(length, len(tail))):
      marks = tail[first::length]
      if len(marks) >= 4 and marks == b'G' * len(marks):
        return _last_packet(tail, first, length)
  return None


def _last_packet(tail, first, length):
  left = (len(tail) - first) % length
  # With 192 bytes a packet, four stand before the mark.
  left = (left + (4 if length == 192 else 0)) % length
  return 'its last packet is cut off' if left else None


def _gif(file) -> str | None:
  """Follows the blocks to the trailer."""
  data = file.read()
  if data.rstrip(b'\0').endswith(b';'):
    return None
  flags = data[10] if len(data) > 12 else 0
  at = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
  while at < len(data) and data[at] in b'!,':
    if data[at] == 0x21:
      at += 2
    else:
      flags = data[at + 9] if at + 9 < len(data) else 0
      at += 11 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    while at < len(data) and data[at]:
      at += 1 + data[at]
    at += 1
  return 'its last picture is cut off' if at > len(data) else None
