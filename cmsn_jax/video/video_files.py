"""Opening video files safely, and saying what is wrong with one.

Only existing regular files are opened, by an allow-list of container formats
and the `file` protocol: playlists, concatenation scripts and addresses could
make the decoder read something else than the file that was named.
"""

import contextlib
import dataclasses
import os
import pathlib
import stat

import av

# Containers that hold the media themselves. Playlists (hls, dash, concat) and
# image sequences (image2) are left out on purpose.
FORMATS = 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,nut,mxf,gif,dv,apng,yuv4mpegpipe,rm,ivf,wtv'
SUFFIXES = frozenset(
  '.mp4 .m4v .mov .qt .3gp .3g2 .f4v .mkv .webm .avi .divx .ts .m2ts .mts .m2t '
  '.mpg .mpeg .mpe .m1v .m2v .m2p .vob .mod .tod .flv .wmv .asf .ogv .ogg .nut '
  '.mxf .gif .dv .dif .mk3d .apng .y4m .rm .rmvb .ivf .wtv'.split()
)


# How raw h264 (with or without a delimiter) and h265 begin.
_RAW = tuple(
  bytes.fromhex(f'000001{kind}') for kind in '09 67 27 40 46'.split()
) + (b'\0\0\0\1',)

# What messages name; the call reaches whatever reads videos in a process.
ALLOW = '--allow_damage (in Python video_files.allow_damage())'

_damage = {'allowed': False}


class VideoError(ValueError):
  """A video file cannot be used; the message names file, finding, remedy."""


class VideoWarning(UserWarning):
  """Damage in a video file that the caller chose to read through."""


def allow_damage(allowed: bool = True) -> None:
  """What reads videos in this process takes as default from now on.

  A command's flag --allow_damage, which has to reach every reader.
  """
  _damage['allowed'] = allowed


def damage_allowed(argument: bool | None) -> bool:
  """The argument, or the process's default where it is None."""
  return _damage['allowed'] if argument is None else argument


def damage_message(where: str, found: str, allowed: bool = False) -> str:
  """What an error says of damage, and a warning where it is allowed.

  Args:
    where: the file, and the place in it.
    found: there.
    allowed: whether it is read all the same.
  """
  if allowed:
    return f'{where}: {found}; what is there is read'
  return (
    f'{where}: {found}; copy or download the file again, or pass '
    f'{ALLOW} to read what is there'
  )


def absolute(path: os.PathLike) -> os.PathLike:
  """The same video for a process with another working directory."""
  if dataclasses.is_dataclass(path):  # Numbered pictures in a folder.
    return dataclasses.replace(
      path, folder=pathlib.Path(path.folder).absolute()
    )
  return pathlib.Path(path).absolute()


def find_videos(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
  """Video files directly in a folder, by name without suffix, sorted.

  Raises:
    VideoError: no such folder, no video in it, or two files of one name.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise VideoError(f'{folder}: not a folder; give a folder of video files')
  found = {}
  for file in sorted(folder.iterdir()):
    # macOS keeps ._a.mp4 beside a.mp4 on the disks of other systems.
    if file.name.startswith('._') or not file.is_file():
      continue
    if file.suffix.lower() not in SUFFIXES:
      continue
    if file.stem in found:
      raise VideoError(
        f'{folder}: {found[file.stem].name} and {file.name} have the same '
        'video id; rename or remove one'
      )
    found[file.stem] = file
  if not found:
    raise VideoError(
      f'{folder}: no video file in it; looked for {" ".join(sorted(SUFFIXES))}'
    )
  return found


def checked_path(path: str | os.PathLike) -> str:
  """Absolute path of an existing, non-empty regular file, or VideoError."""
  path = os.fspath(path)
  try:
    status = os.stat(path)
  except (OSError, ValueError) as error:
    remedy = 'check the path'
    if os.path.islink(path):
      remedy = f'it is a link to {os.readlink(path)}, which is not there'
    elif '://' in path:
      remedy = 'addresses are not opened: download the file first'
    raise VideoError(
      f'{path!r}: cannot be opened ({error}); {remedy}'
    ) from None
  if not stat.S_ISREG(status.st_mode):
    kind = 'folder' if stat.S_ISDIR(status.st_mode) else 'device or pipe'
    raise VideoError(f'{path}: is a {kind}; give a regular video file')
  if status.st_size == 0:
    raise VideoError(f'{path}: the file is empty (0 bytes); copy it again')
  if not os.access(path, os.R_OK):
    raise VideoError(f'{path}: may not be read; change its permissions')
  return os.path.abspath(path)


@contextlib.contextmanager
def opened(path: str):
  """(container, video stream) of a checked path; every failure a VideoError."""
  try:
    # The prefix keeps a name such as 'concat:a' from being read as a protocol.
    container = av.open(
      'file:' + path,
      # Not `options`: PyAV before 17.1 can crash on those with flv and mpeg.
      container_options={
        'protocol_whitelist': 'file',
        'format_whitelist': FORMATS,
      },
      metadata_errors='replace',
    )
  except (av.FFmpegError, OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise VideoError(f'{path}: {_describe(path, reason)}') from error
  with container:
    streams = picture_streams(container)
    if not streams:
      kinds = sorted({stream.type for stream in container.streams}) or ['none']
      raise VideoError(
        f'{path}: no video stream (streams found: {", ".join(kinds)}); give a '
        'file that holds video'
      )
    # What players show: the track that is marked as the default.
    default = av.stream.Disposition.default
    stream = next((s for s in streams if s.disposition & default), streams[0])
    if stream.codec_context is None:
      raise VideoError(f'{path}: its video codec has no decoder; re-encode it')
    # Frame threads hide read errors: a truncated file would end early without
    # an exception. Parallelism is one process a video instead.
    stream.thread_type = 'NONE'
    yield container, stream


def picture_streams(
  container: av.container.InputContainer,
) -> list[av.VideoStream]:
  """The video streams that are films, not cover art or thumbnails."""
  still = av.stream.Disposition.attached_pic
  still |= av.stream.Disposition.timed_thumbnails
  return [s for s in container.streams.video if not s.disposition & still]


def _describe(path: str, error: object) -> str:
  """What was found instead of a video, and what to do."""
  with open(path, 'rb') as file:
    head = file.read(512)
  if head.startswith((b'#EXTM3U', b'ffconcat')):
    return 'is a playlist, which points to other files; give the video itself'
  text = bytes(range(32, 127)) + b'\t\n\r\f\x1b'
  if not head.translate(None, text):
    return f'is a text file (begins {head[:32]!r}); download the video again'
  if b'ftyp' in head[:16]:
    return (
      f'is an mp4/mov file without a usable index ({error}); it was cut off '
      'before it was finished, copy or record it again'
    )
  if head.startswith(_RAW):
    return (
      'is a raw stream (.h264, .h265), which has no times; give it the rate '
      'that it was recorded at: ffmpeg -framerate 30 -i FILE -c copy NEW.mp4'
    )
  if head.startswith(b'\xff\xd8\xff'):
    return (
      'is a picture, or pictures without times one behind the other; give these '
      'the rate that they were recorded at: ffmpeg -f mjpeg -framerate 30 -i '
      'FILE -c copy NEW.mkv; a folder of pictures with --fps'
    )
  return (
    f'is not a video file that can be read ({error}; begins {head[:16]!r}); '
    'known containers: mp4, mov, mkv, webm, avi, ts, mpg, flv, wmv, ogv, gif, apng; '
    'anything else that a player shows becomes one with: ffmpeg -i FILE NEW.mp4'
  )
