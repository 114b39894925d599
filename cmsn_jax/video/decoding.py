"""Video files -> uint8 RGB frames at a constant rate, checked for damage.

    info = video.probe('my.mp4')
    for chunk in video.frames('my.mp4', fps=25.0, size=(128, 171)):
      ...                               # uint8 [n, 128, 171, 3]

Time 0 is where players begin: at the first picture, or at the first sound, if
that begins earlier (by .1 s or more; the first picture is then shown from the
beginning). What an edit list cuts away is not shown. Which source frame an output frame shows is
decided by `video_sampling` (the rule of ffmpeg's `fps` filter). Rotation and
mirroring stored in the file are applied; frames are resized without keeping
the aspect ratio, as C3D does. `video_reader` decodes in a worker process.
"""

import collections
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from cmsn_jax.video import (
  animations,
  decoder,
  image_sequences,
  lengths,
  painting,
  sampling,
  video_files,
)

VideoError = video_files.VideoError
VideoWarning = video_files.VideoWarning

_CHUNK_FRAMES = 64
_CHUNK_BYTES = 2**24
# Of frames that are only counted.
_SMALL = (8, 8)


@dataclasses.dataclass(frozen=True)
class VideoInfo:
  """What a video file says about itself (nothing is decoded but one frame).

  Attributes:
    path: the file.
    duration_sec: from time 0 to the end of the last picture, as the header
      states it.
    start_sec: when the first picture is shown; 0 but for files whose sound
      begins before it.
    num_frames: source frames; counted by the header where it does, else
      `round(duration_sec * fps)`.
    fps: average source rate, frames a second.
    width: pixels, as displayed (after rotation).
    height: pixels, as displayed.
    rotation: clockwise degrees the stored picture is turned by for display.
    codec: for example 'h264'.
    pixel_format: for example 'yuv420p10le'.
    container: for example 'matroska,webm'.
    has_audio: whether any audio stream is there.
  """

  path: str
  duration_sec: float
  start_sec: float
  num_frames: int
  fps: float
  width: int
  height: int
  rotation: int
  codec: str
  pixel_format: str
  container: str
  has_audio: bool

  def num_frames_at(self, fps: int | float) -> int:
    """About how many frames `frames(..., fps=fps)` gives; exact for most."""
    return sampling.num_output_frames(self.duration_sec, fps)


def probe(
  path: str | os.PathLike, allow_damage: bool | None = None
) -> VideoInfo:
  """Reads a file's header and its first frame.

  Args:
    path: a video file, or an `image_sequences.ImageSequence`.
    allow_damage: take a file that was cut off as long as it is, with a
      `VideoWarning`; None: see `video_files.allow_damage`.

  Raises:
    VideoError: not a readable video file, or one that was cut off.
  """
  allow_damage = video_files.damage_allowed(allow_damage)
  if isinstance(path, image_sequences.ImageSequence):
    return _probe_pictures(path, allow_damage)
  path = video_files.checked_path(path)
  if animations.is_animation(path):
    return _probe_animation(path, allow_damage)
  with video_files.opened(path) as (container, stream):
    reading = decoder.Decoder(path, container, stream, allow_damage)
    first = next(reading.timed_frames(), None)
    if first is None:
      raise VideoError(f'{path}: no frame could be decoded from it')
    _, _, frame = first
    end, count, fps = lengths.stated(path, container, stream, reading.damaged)
    duration_sec = max(reading.end_sec(round(end)), 1e-3)
    shown_sec = max(duration_sec - reading.late_sec, 1e-3)
    fps = fps or count / shown_sec
    turned, columns, rows = painting.orientation(frame)
    width, height = frame.width, frame.height
    return VideoInfo(
      path=path,
      duration_sec=duration_sec,
      start_sec=reading.late_sec,
      num_frames=count or max(1, round(shown_sec * fps)),
      fps=fps,
      width=height if turned else width,
      height=width if turned else height,
      rotation=painting.ROTATIONS.get((turned, columns, rows), 0),
      codec=stream.codec_context.name,
      pixel_format=frame.format.name,
      container=container.format.name,
      has_audio=bool(container.streams.audio),
    )


def readable(
  path: str | os.PathLike,
) -> str | image_sequences.ImageSequence:
  """What can be read from: a checked path, or a sequence as it is."""
  if isinstance(path, image_sequences.ImageSequence):
    return path
  return video_files.checked_path(path)


def _probe_pictures(sequence, allow_damage) -> VideoInfo:
  first = next(sequence.timed_frames(0.0, allow_damage), None)
  if first is None:
    raise VideoError(f'{sequence}: none of its pictures can be read')
  return VideoInfo(
    path=str(sequence),
    duration_sec=sequence.duration_sec,
    start_sec=0.0,
    num_frames=len(sequence.files),
    fps=sequence.fps,
    width=first[2].width,
    height=first[2].height,
    rotation=0,
    codec=pathlib.Path(sequence.files[0]).suffix[1:],
    pixel_format='rgb24',
    container='pictures',
    has_audio=False,
  )


def _probe_animation(path, allow_damage) -> VideoInfo:
  timed = animations.timed_frames(path, allow_damage)
  # All are decoded, and the last is kept.
  [(count, (_, end_sec, frame))] = collections.deque(enumerate(timed, 1), 1)
  return VideoInfo(
    path=path,
    duration_sec=end_sec,
    start_sec=0.0,
    num_frames=count,
    fps=count / end_sec,
    width=frame.width,
    height=frame.height,
    rotation=0,
    codec='webp',
    pixel_format='rgb24',
    container='webp',
    has_audio=False,
  )


def frames(
  path: str | os.PathLike,
  *,
  fps: int | float = 25.0,
  size: tuple[int, int] | None = (128, 171),
  start_frame: int = 0,
  stop_frame: int | None = None,
  chunk_frames: int | None = None,
  allow_damage: bool | None = None,
) -> Iterator[UInt8[np.ndarray, 'n h w 3']]:
  """Streams a video's frames at a constant rate, in bounded memory.

  Frame `k` of the output is the picture on display in the middle of
  `[k / fps, (k + 1) / fps)` seconds after time 0.

  Damage is noticed as far as the format allows: cut files by what `file_ends`
  finds (MPEG program streams state nothing), bad bytes by the decoder (h264,
  h265, MPEG-4, VP9; VP8 decodes nearly any) and what `quiet_damage` hears.

  Args:
    path: a video file, or an `image_sequences.ImageSequence`.
    fps: output rate, frames a second.
    size: (height, width) in pixels; None keeps the displayed size.
    start_frame: first output frame; reading begins at the key frame before it.
    stop_frame: one past the last output frame; None reads to the end, which
      also checks that the file is whole.
    chunk_frames: frames a chunk; None takes 64, fewer where frames are large.
    allow_damage: read through damage with one `VideoWarning` a file; what
      cannot be decoded is filled by the frame before it. None: see
      `video_files.allow_damage`.

  Yields:
    uint8 `[n, h, w, 3]` RGB, `n = chunk_frames` but for the last chunk.

  Raises:
    VideoError: not a video, damaged, truncated; names file and remedy.
  """
  _check_arguments(fps, size, start_frame, stop_frame, chunk_frames)
  allow_damage = video_files.damage_allowed(allow_damage)
  path = readable(path)
  if stop_frame is not None and stop_frame <= start_frame:
    return
  painter = painting.Painter(size)
  chunk, filled, shown, shown_source = None, 0, None, None
  timed = decoder.timed_frames(path, start_frame / fps, allow_damage)
  with contextlib.closing(timed):
    for _, source in sampling.resample(timed, fps, start_frame, stop_frame):
      if source is not shown_source:
        shown, shown_source = painter.paint(source), source
      if chunk is None:
        length = chunk_frames or max(
          1, min(_CHUNK_FRAMES, _CHUNK_BYTES // shown.nbytes)
        )
        chunk = np.empty((length, *shown.shape), np.uint8)
      chunk[filled] = shown
      filled += 1
      if filled == len(chunk):
        yield chunk
        chunk, filled = None, 0
  if filled:
    yield chunk[:filled]


def count(
  path: str | os.PathLike,
  fps: int | float,
  frames_of: Callable[..., Iterable[np.ndarray]] = frames,
) -> int:
  """How many frames `frames_of(path, fps=fps)` yields, at least 1.

  The header says it; where damage is allowed it may promise more than can be
  decoded, and all is decoded once.
  """
  if not video_files.damage_allowed(None):
    return max(1, probe(path).num_frames_at(fps))
  return max(1, sum(map(len, frames_of(path, fps=fps, size=_SMALL))))


def read(
  path: str | os.PathLike, **kwargs: Any
) -> UInt8[np.ndarray, 'n h w 3']:
  """All frames that `frames(path, **kwargs)` streams, in one array."""
  chunks = list(frames(path, **kwargs))
  if not chunks:
    raise VideoError(
      f'{os.fspath(path)}: no frame in the range asked for ({kwargs}); the '
      'video is shorter'
    )
  return np.concatenate(chunks)


def centre_crop(
  clip: UInt8[np.ndarray, '*b h w 3'], size: tuple[int, int] = (112, 112)
) -> UInt8[np.ndarray, '*b y x 3']:
  """The middle (height, width) of every frame; a view, nothing is copied."""
  _check_crop(clip, size)
  top = (clip.shape[-3] - size[0]) // 2
  left = (clip.shape[-2] - size[1]) // 2
  return clip[..., top : top + size[0], left : left + size[1], :]


def random_crop_flip(
  clip: UInt8[np.ndarray, '*b h w 3'],
  rng: np.random.Generator,
  size: tuple[int, int] = (112, 112),
  flip: bool = True,
) -> UInt8[np.ndarray, '*b y x 3']:
  """One random crop, mirrored half of the time, the same for all frames."""
  _check_crop(clip, size)
  top = rng.integers(clip.shape[-3] - size[0] + 1)
  left = rng.integers(clip.shape[-2] - size[1] + 1)
  mirrored = rng.random() < 0.5
  crop = clip[..., top : top + size[0], left : left + size[1], :]
  return crop[..., ::-1, :] if flip and mirrored else crop


def _check_arguments(fps, size, start_frame, stop_frame, chunk_frames):
  if not (np.isfinite(fps) and 0 < fps <= 1000):
    raise ValueError(f'fps must be in (0, 1000] frames a second, got {fps}')
  if size is not None and (len(size) != 2 or min(size) < 1):
    raise ValueError(f'size must be (height, width) >= 1, got {size}')
  if start_frame < 0 or (stop_frame is not None and stop_frame < 0):
    raise ValueError(
      'start_frame and stop_frame must not be negative, got '
      f'{start_frame}, {stop_frame}'
    )
  if chunk_frames is not None and chunk_frames < 1:
    raise ValueError(f'chunk_frames must be at least 1, got {chunk_frames}')


def _check_crop(clip, size):
  if clip.shape[-3] < size[0] or clip.shape[-2] < size[1]:
    raise ValueError(
      f'a crop of {tuple(size)} (height, width) does not fit into frames of '
      f'{clip.shape[-3:-1]}; decode at a larger size'
    )
