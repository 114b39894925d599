"""Animated WebP, which FFmpeg cannot read, by Pillow."""

import warnings
from collections.abc import Iterator

import av
import numpy as np

from cmsn_jax.video import file_ends, video_files

# Browsers show pictures that state less for so long.
_SHORTEST_SEC = 0.01


def is_animation(path: str) -> bool:
  """Whether a file is a WebP of several pictures."""
  with open(path, 'rb') as file:
    head = file.read(21)
  kind = head[:4] + head[8:16]
  return kind == b'RIFFWEBPVP8X' and bool(head[20:] and head[20] & 2)


def timed_frames(
  path: str, allow_damage: bool
) -> Iterator[tuple[float, float, av.VideoFrame]]:
  """(start, end, picture) of each, transparent parts black.

  Raises:
    VideoError: cut off, or a picture cannot be read, unless `allow_damage`.
  """
  from PIL import Image

  missing = file_ends.cut_off(path, 'webp')
  if missing:  # Then nothing is read of it at all.
    raise video_files.VideoError(
      f'{path}: truncated: {missing}; copy or download it again'
    )
  start = 0.0
  try:
    with Image.open(path) as image:
      for index in range(getattr(image, 'n_frames', 1)):
        image.seek(index)
        pixels = np.asarray(image.convert('RGBA'))
        shown = pixels[..., :3] * (pixels[..., 3:] > 0).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(
          np.ascontiguousarray(shown), format='rgb24'
        )
        step = max(_SHORTEST_SEC, image.info.get('duration', 0) / 1000)
        yield start, start + step, frame
        start += step
  except (OSError, ValueError, EOFError, SyntaxError) as error:
    words = video_files.damage_message(
      path, f'a picture cannot be read ({error})', allow_damage
    )
    if not allow_damage:
      raise video_files.VideoError(words) from error
    warnings.warn(words, video_files.VideoWarning, stacklevel=2)
  if not start:
    raise video_files.VideoError(f'{path}: none of its pictures can be read')
