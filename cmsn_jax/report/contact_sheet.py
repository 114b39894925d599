"""One picture a recording: each proposal's first, middle and last frame."""

import os

import numpy as np
from jaxtyping import UInt8

from cmsn_jax.files import replacing
from cmsn_jax.report import captions, clips, palette
from cmsn_jax.video import decoding

_THUMB_ROWS = 108
_PER_PROPOSAL = 3
_WIDTH = 1400
_GAP, _MARGIN, _TEXT, _HEAD = 18, 22, 24, 78


def write(
  path: str | os.PathLike,
  info: decoding.VideoInfo,
  chosen: list[clips.Clip],
  title: str,
) -> None:
  """Writes the picture of one recording; the file is replaced at once.

  Args:
    path: a .png file.
    info: of the video.
    chosen: the proposals, in the order they are shown.
    title: what stands above.
  Raises:
    ValueError: if there is none, or the video cannot be decoded.
  """
  if not chosen:
    raise ValueError(f'{info.path}: no proposal to show')
  image = drawn(info, chosen, title)
  with replacing.path(path) as temporary:
    image.save(temporary, 'PNG')


def drawn(
  info: decoding.VideoInfo, chosen: list[clips.Clip], title: str
) -> object:
  """That picture, a `PIL.Image`."""
  from PIL import Image, ImageDraw

  width = max(24, round(_THUMB_ROWS * info.width / info.height))
  cell = _PER_PROPOSAL * width + (_PER_PROPOSAL - 1) * 2
  columns = max(1, (_WIDTH - 2 * _MARGIN + _GAP) // (cell + _GAP))
  columns = min(columns, len(chosen))
  rows = -(-len(chosen) // columns)
  # A single small cell still leaves room for the title and the time line.
  total = max(columns * (cell + _GAP) - _GAP, 480) + 2 * _MARGIN
  step = _THUMB_ROWS + _TEXT + _GAP
  image = Image.new(
    'RGB', (total, _HEAD + rows * step + _MARGIN), captions.PAPER
  )
  pen = ImageDraw.Draw(image)
  _draw_head(pen, total, info, chosen, title)
  for index, clip in enumerate(chosen):
    left = _MARGIN + (index % columns) * (cell + _GAP)
    top = _HEAD + (index // columns) * step
    for place, frame in enumerate(_thumbs(info, clip, width)):
      image.paste(Image.fromarray(frame), (left + place * (width + 2), top))
    pen.rectangle(
      (left, top + _THUMB_ROWS, left + cell - 1, top + _THUMB_ROWS + 2),
      palette.rgb(clip.colour),
    )
    text = captions.shortened(clip.caption, cell, 13)
    pen.text(
      (left, top + _THUMB_ROWS + 14), text, captions.INK,
      captions.font(13), anchor='lm',
    )  # fmt: skip
  return image


def _draw_head(pen, width, info, chosen, title):
  pen.text(
    (_MARGIN, 24), captions.shortened(title, width - 2 * _MARGIN, 19),
    captions.INK, captions.font(19), anchor='lm',
  )  # fmt: skip
  length = width - 2 * _MARGIN
  pen.rectangle((_MARGIN, 46, _MARGIN + length, 58), (42, 51, 61))
  # The best last, so that it is never painted over.
  for clip in sorted(chosen, key=lambda c: c.score):
    first, last = (
      _MARGIN + length * min(max(x / info.duration_sec, 0.0), 1.0)
      for x in (clip.start_sec, clip.end_sec)
    )
    pen.rectangle(
      (first, 46, max(last, first + 2), 58), palette.rgb(clip.colour)
    )
  pen.text(
    (_MARGIN, 67), '0:00', captions.MUTED, captions.font(11), anchor='lm'
  )
  pen.text(
    (width - _MARGIN, 67), captions.clock(info.duration_sec), captions.MUTED,
    captions.font(11), anchor='rm',
  )  # fmt: skip


def _thumbs(
  info: decoding.VideoInfo, clip: clips.Clip, width: int
) -> list[UInt8[np.ndarray, 'h w 3']]:
  first, stop = clips.frame_span(clip.start_sec, clip.end_sec, info)
  found = []
  for number in (first, (first + stop - 1) // 2, stop - 1):
    for chunk in decoding.frames(
      info.path, fps=info.fps, size=(_THUMB_ROWS, width),
      start_frame=number, stop_frame=number + 1,
    ):  # fmt: skip
      found.append(chunk[0])
  return found
