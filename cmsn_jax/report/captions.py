"""Words on pictures: a band of text that goes below a frame."""

import functools
import pathlib

import numpy as np
from jaxtyping import UInt8

from cmsn_jax.report import palette

INK, MUTED, PAPER = (232, 237, 242), (159, 171, 184), (18, 23, 29)
_LEAST_FONT = 9
_TRACK, _NEEDLE = (58, 68, 79), (255, 255, 255)


@functools.cache
def font(size: int) -> object:
  """A font with letters of most alphabets: matplotlib brings it along."""
  import matplotlib
  from PIL import ImageFont

  folder = pathlib.Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
  return ImageFont.truetype(str(folder / 'DejaVuSans.ttf'), size)


def shortened(text: str, width: int, size: int) -> str:
  """The text, cut with an ellipsis to so many pixels."""
  letters = font(size)
  if letters.getlength(text) <= width:
    return text
  while text and letters.getlength(text + '…') > width:
    text = text[:-1]
  return text.rstrip() + '…'


def clock(seconds: float | int) -> str:
  """Seconds as m:ss.s, or h:mm:ss.s."""
  tenths = round(max(seconds, 0.0) * 10)
  minutes, rest = divmod(tenths, 600)
  hours, minutes = divmod(minutes, 60)
  head = f'{hours}:{minutes:02}' if hours else str(minutes)
  return f'{head}:{rest // 10:02}.{rest % 10}'


class Band:
  """Lines of text and, below them, how far a clip is.

  Args:
    lines: what they say.
    width: of the frames, pixels.
    height: of each line, pixels.
    inside: where the segment begins and ends in the clip, of 0..1.
    colour: of the segment, '#rrggbb'.
  """

  def __init__(
    self,
    lines: list[str],
    width: int,
    height: int,
    inside: tuple[float, float] = (0.0, 1.0),
    colour: str = palette.PROPOSAL,
  ):
    from PIL import Image, ImageDraw

    image = Image.new('RGB', (width, height * len(lines)), PAPER)
    pen = ImageDraw.Draw(image)
    margin = max(3, height // 5)
    room = width - 2 * margin
    for number, text in enumerate(lines):
      size = round(height * 0.55)
      while size > _LEAST_FONT and font(size).getlength(text) > room:
        size -= 1
      pen.text(
        (margin, height * (number + 0.44)), shortened(text, room, size), INK,
        font(size), anchor='lm',
      )  # fmt: skip
    self._band = np.array(image)
    self._line = max(2, height // 8)
    self._band[-self._line :] = _TRACK
    first, last = (round(x * width) for x in inside)
    self._band[-self._line :, first : max(last, first + 1)] = palette.rgb(
      colour
    )

  def below(
    self, frame: UInt8[np.ndarray, 'h w 3'], progress: float
  ) -> UInt8[np.ndarray, 'y w 3']:
    """The frame with the band, the needle at `progress` of 0..1."""
    whole = np.concatenate([frame, self._band])
    width = frame.shape[1]
    at = min(round(progress * width), width - 1)
    whole[-self._line :, max(0, at - 1) : at + 2] = _NEEDLE
    return whole
