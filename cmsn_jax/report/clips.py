"""Proposals as films: a clip each, or one after the other in a montage."""

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt8

from cmsn_jax.report import captions, palette
from cmsn_jax.video import decoding, encoding

# Share of the height that the caption takes.
_BAND = 0.075
_LEAST_BAND = 18
_LEAST_ROWS = 240


@dataclasses.dataclass(frozen=True)
class Clip:
  """A proposal that is to be shown.

  Attributes:
    video_id: of its recording.
    rank: from 1, among the recording's proposals.
    start_sec: of the segment.
    end_sec: of the segment.
    score: of the proposal.
    label: what happens; '' if that is not said.
    colour: of the label, '#rrggbb'.
  """

  video_id: str
  rank: int
  start_sec: float | int
  end_sec: float | int
  score: float | int
  label: str = ''
  colour: str = palette.PROPOSAL

  @property
  def caption(self) -> str:
    """What is written below it."""
    parts = [
      f'#{self.rank}',
      self.label,
      f'{captions.clock(self.start_sec)} – {captions.clock(self.end_sec)}',
      f'score {self.score:.3g}',
    ]
    return '  ·  '.join(filter(None, parts))


def frame_span(
  start_sec: float | int, end_sec: float | int, info: decoding.VideoInfo
) -> tuple[int, int]:
  """First frame of a segment, and the one after its last, at the video's rate.

  The frames whose middle lies in the segment, at least one: frame k is shown
  during [k, k + 1) / fps after time 0, which is the player's.

  Args:
    start_sec: of the segment.
    end_sec: of the segment.
    info: of the video.
  Raises:
    ValueError: if the video ends before the segment begins.
  """
  total = info.num_frames_at(info.fps)
  first, stop = (_frame_at(x, info) for x in (start_sec, end_sec))
  if first >= total:
    raise ValueError(
      f'{info.path}: ends at {info.duration_sec:.2f} s, before the segment '
      f'[{start_sec:.2f}, {end_sec:.2f}] s begins; are these the proposals of '
      'this recording?'
    )
  return first, min(max(stop, first + 1), total)


def begins_within(start_sec: float | int, info: decoding.VideoInfo) -> bool:
  """Whether a segment begins before its video ends; see `frame_span`."""
  return _frame_at(start_sec, info) < info.num_frames_at(info.fps)


def _frame_at(seconds, info) -> int:
  # A little less, for times that were computed from frames.
  return max(0, math.ceil(seconds * info.fps - 0.5 - 1e-4))


def picture_size(
  info: decoding.VideoInfo, most_rows: int | None
) -> tuple[int, int]:
  """(height, width) of a video's frames in a film, both even.

  Args:
    info: of the video.
    most_rows: the height at most; None: the video's own. A smaller video is
      enlarged to 240 rows, so that the words below it have room.
  """
  most_rows = most_rows or max(info.height, _LEAST_ROWS)
  height = min(max(info.height, _LEAST_ROWS), most_rows)
  width = info.width * height / info.height
  return max(2, height - height % 2), max(2, 2 * round(width / 2))


def frames(
  clip: Clip,
  info: decoding.VideoInfo,
  size: tuple[int, int],
  *,
  fps: float | int | None = None,
  context_sec: float | int = 0.0,
  captioned: bool = True,
  recording: bool = False,
) -> Iterator[UInt8[np.ndarray, 'y w 3']]:
  """The frames of a clip, with a band of text below.

  Args:
    clip: which.
    info: of its video.
    size: (height, width) of the picture in it; the video's aspect is kept, what
      is left is black.
    fps: frames a second; None: the video's.
    context_sec: what is shown before and after the segment.
    captioned: with the band.
    recording: the band names the recording too.
  Raises:
    ValueError: as `frame_span`, or if the video cannot be decoded.
  """
  if fps is not None:
    info = dataclasses.replace(info, fps=float(fps))
  first, stop = frame_span(clip.start_sec, clip.end_sec, info)
  before, after = frame_span(
    max(0.0, clip.start_sec - context_sec), clip.end_sec + context_sec, info
  )
  total = after - before
  band = None
  if captioned:
    inside = (first - before) / total, (stop - before) / total
    lines = [clip.video_id, clip.caption] if recording else [clip.caption]
    band = captions.Band(lines, size[1], _line_rows(size), inside, clip.colour)
  scaled, edges = _fitted(info, size)
  done = 0
  for chunk in decoding.frames(
    info.path, fps=info.fps, size=scaled, start_frame=before, stop_frame=after
  ):
    for frame in chunk:
      if edges is not None:
        frame = np.pad(frame, edges)
      yield band.below(frame, (done + 0.5) / total) if band else frame
      done += 1
  if not done:
    raise ValueError(f'{info.path}: no frame could be decoded from {before}')


def _line_rows(size):
  rows = max(_LEAST_BAND, round(size[0] * _BAND))
  return rows + rows % 2


def _fitted(info, size):
  """Size of the picture within `size`, and the black edges around it."""
  height, width = size
  scale = min(height / info.height, width / info.width)
  rows = min(height, max(2, round(info.height * scale)))
  columns = min(width, max(2, round(info.width * scale)))
  if (rows, columns) == (height, width):
    return size, None
  top, left = (height - rows) // 2, (width - columns) // 2
  edges = (top, height - rows - top), (left, width - columns - left), (0, 0)
  return (rows, columns), edges


def write(
  path: str | os.PathLike,
  clip: Clip,
  info: decoding.VideoInfo,
  *,
  most_rows: int | None = None,
  context_sec: float | int = 0.0,
  captioned: bool = True,
) -> int:
  """Writes one clip; the file is replaced at once.

  Args:
    path: an .mp4 file.
    clip: which.
    info: of its video, from `decoding.probe`.
    most_rows: the picture's height at most; None: the video's.
    context_sec: see `frames`.
    captioned: see `frames`.
  Returns:
    number of frames.
  Raises:
    ValueError: as `frames`.
  """
  size = picture_size(info, most_rows)
  with _film(path, info.fps, size, int(captioned)) as add:
    count = 0
    for frame in frames(
      clip, info, size, context_sec=context_sec, captioned=captioned
    ):
      add(frame)
      count += 1
  return count


def write_montage(
  path: str | os.PathLike,
  clips: list[Clip],
  open_video: Callable[[str], decoding.VideoInfo],
  *,
  size: tuple[int, int],
  fps: float | int,
  context_sec: float | int = 0.0,
  captioned: bool = True,
  on_error: Callable[[str, str], None],
  on_clip: Callable[[], None] = lambda: None,
) -> int:
  """Writes all clips into one film, in the order given.

  A clip that cannot be read is left out; one whose video is damaged half-way
  ends there.

  Args:
    path: an .mp4 file; not written where no frame can be.
    clips: which.
    open_video: video id -> its `VideoInfo`; a ValueError or OSError leaves the
      clip out.
    size: (height, width) of the picture.
    fps: frames a second of all.
    context_sec: see `frames`.
    captioned: see `frames`.
    on_error: called with (video id, message).
    on_clip: called after each.
  Returns:
    how many clips are in it.
  """
  done = 0
  with contextlib.ExitStack() as stack:
    # Only with the first frame: a film without any is none.
    add = None
    for clip in clips:
      try:
        for frame in frames(
          clip, open_video(clip.video_id), size, fps=fps,
          context_sec=context_sec, captioned=captioned, recording=True,
        ):  # fmt: skip
          if add is None:
            add = stack.enter_context(_film(path, fps, size, 2 * captioned))
          add(frame)
        done += 1
      except (ValueError, OSError) as error:
        on_error(clip.video_id, str(error))
      on_clip()
  return done


def _film(path, fps, size, lines):
  rows = size[0] + lines * _line_rows(size)
  return encoding.writer(pathlib.Path(path), fps, (rows, size[1]))
