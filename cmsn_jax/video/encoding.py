"""Frames to an .mp4 that browsers and players show, whole or not at all."""

import contextlib
import fractions
import os
from collections.abc import Callable, Iterator

import av
import numpy as np
from av.video import reformatter as av_reformatter
from jaxtyping import UInt8

from cmsn_jax.files import replacing

# H.264 where PyAV was built with it, as its wheels are; else MPEG-4, which
# players show, but not every browser.
_CODECS = {
  'libx264': {'preset': 'veryfast', 'crf': '20'},
  'mpeg4': {'q:v': '3'},
}
# ITU-T H.273: BT.709 for primaries, transfer and matrix.
_BT709 = 1
_LIMITED_RANGE = 1


def codec() -> str:
  """The encoder that is used.

  Raises:
    RuntimeError: if PyAV has none of those known here.
  """
  for name in _CODECS:
    if name in av.codecs_available:
      return name
  raise RuntimeError(
    f'PyAV was built without any encoder of {", ".join(_CODECS)}; install its '
    'wheel: pip install --force-reinstall av'
  )


@contextlib.contextmanager
def writer(
  path: str | os.PathLike, fps: float | int, size: tuple[int, int]
) -> Iterator[Callable[[UInt8[np.ndarray, 'h w 3']], None]]:
  """A function that appends one RGB frame to the film at `path`.

  The film takes the place of what is at `path` when the block ends; where it
  fails, that stays as it was. An odd height or width is made even by one more
  row or column, as the codec needs it.

  Args:
    path: an .mp4 file; missing folders are made.
    fps: frames a second.
    size: (height, width) of every frame.

  Yields:
    the function, which takes uint8 `[h, w, 3]`.

  Raises:
    ValueError: on a size or rate that cannot be, or a frame of another size.
  """
  height, width = size
  if min(size) < 2:
    raise ValueError(f'size must be (height, width) of 2 or more, got {size}')
  if not 0 < fps <= 1000:
    raise ValueError(f'fps must be in (0, 1000] frames a second, got {fps}')
  name = codec()
  with replacing.path(path) as temporary:
    with av.open(
      temporary, 'w', format='mp4', options={'movflags': '+faststart'}
    ) as container:
      # 29.97 is 30000/1001.
      rate = fractions.Fraction(fps).limit_denominator(1001)
      stream = container.add_stream(name, rate=rate, options=_CODECS[name])
      stream.height, stream.width = height + height % 2, width + width % 2
      stream.pix_fmt = 'yuv420p'
      _say_colours(stream.codec_context)
      convert = av_reformatter.VideoReformatter()

      def add(frame):
        if frame.shape != (height, width, 3):
          raise ValueError(
            f'{path}: a frame must have shape {(height, width, 3)}, got '
            f'{frame.shape}'
          )
        container.mux(stream.encode(_yuv(convert, _even(frame))))

      yield add
      container.mux(stream.encode())


def _say_colours(context):
  # Without it players guess by the height, and show other colours.
  context.color_primaries = context.color_trc = context.colorspace = _BT709
  context.color_range = _LIMITED_RANGE


def _even(frame):
  height, width = frame.shape[:2]
  if height % 2 or width % 2:
    frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), 'edge')
  return np.ascontiguousarray(frame)


def _yuv(convert, frame):
  return convert.reformat(
    av.VideoFrame.from_ndarray(frame, format='rgb24'),
    format='yuv420p',
    dst_colorspace=av_reformatter.Colorspace.ITU709,
    dst_color_range=av_reformatter.ColorRange.MPEG,
  )
