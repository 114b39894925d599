"""Numbered pictures that are a video: a folder of frames, or a pattern."""

import dataclasses
import functools
import math
import os
import pathlib
import re
import warnings
from collections.abc import Iterator, Sequence

import av
import numpy as np
from jaxtyping import UInt8

from cmsn_jax.video import video_files

SUFFIXES = frozenset('.jpg .jpeg .png .bmp .tif .tiff .webp .ppm .pgm'.split())


@dataclasses.dataclass(frozen=True)
class ImageSequence(os.PathLike):
  """Pictures in order of their numbers, shown at a constant rate.

  Attributes:
    folder: where they lie.
    files: their names, in order.
    numbers: places on the clock, from 0; a missing number leaves the picture
      before it on display.
    fps: numbers a second.
  """

  folder: pathlib.Path
  files: tuple[str, ...]
  numbers: tuple[int, ...]
  fps: float

  def __fspath__(self) -> str:
    return str(self.folder)

  def __str__(self) -> str:
    return str(self.folder)

  @property
  def duration_sec(self) -> float:
    """From the first picture to the end of the last."""
    return (self.numbers[-1] + 1) / self.fps

  def paths(self) -> list[pathlib.Path]:
    """The files, in order."""
    return [self.folder / name for name in self.files]

  def timed_frames(
    self, start_sec: float, allow_damage: bool
  ) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, picture) from the one that is shown at `start_sec` on.

    Raises:
      VideoError: a picture cannot be read, unless `allow_damage`.
    """
    warned = False
    ends = [*self.numbers[1:], self.numbers[-1] + 1]
    for path, number, end in zip(self.paths(), self.numbers, ends, strict=True):
      if end / self.fps <= start_sec and end != ends[-1]:
        continue
      try:
        image = _read(path)
      except (OSError, ValueError, SyntaxError) as error:
        words = f'{path}: not a picture that can be read ({error})'
        if not allow_damage:
          raise video_files.VideoError(
            f'{words}; copy it again, or pass {video_files.ALLOW} to go on '
            'without it'
          ) from None
        if not warned:
          warnings.warn(
            f'{words}; left out', video_files.VideoWarning, stacklevel=2
          )
          warned = True
        continue
      frame = av.VideoFrame.from_ndarray(image, format='rgb24')
      yield number / self.fps, end / self.fps, frame


def holds_pictures(children: Sequence[pathlib.Path]) -> bool:
  """Whether these files are frames: numbered pictures, and no video."""
  pictures = [p for p in children if p.suffix.lower() in SUFFIXES]
  if any(p.suffix.lower() in video_files.SUFFIXES for p in children):
    return False
  numbered = [p for p in pictures if re.search(r'\d', p.stem)]
  return len(numbered) > 1 and len(numbered) == len(pictures)


def of_folder(folder: pathlib.Path, fps: float | None) -> ImageSequence:
  """The pictures of a folder, ordered by the last number in their names.

  Raises:
    VideoError: no rate, or names that are no one sequence.
  """
  files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES]
  found = [(re.findall(r'\d+', p.stem)[-1:], p.name) for p in files]
  numbered = [(int(number[0]), name) for number, name in found if number]
  return _sequence(folder, numbered, fps)


def of_pattern(pattern: pathlib.Path, fps: float | None) -> ImageSequence:
  """The pictures that `img_%05d.jpg` stands for.

  Raises:
    VideoError: no rate, or no such picture.
  """
  head, width, tail = re.split(r'%(0?\d*)d', pattern.name, maxsplit=1)
  digits = rf'\d{{{int(width)},}}' if width.startswith('0') else r'\d+'
  expression = re.compile(re.escape(head) + f'({digits})' + re.escape(tail))
  numbered = []
  if pattern.parent.is_dir():
    for name in os.listdir(pattern.parent):
      match = expression.fullmatch(name)
      if match:
        numbered.append((int(match[1]), name))
  if not numbered:
    raise video_files.VideoError(f'{pattern}: no picture is named like that')
  return _sequence(pattern.parent, numbered, fps)


def _sequence(folder, numbered, fps):
  if not fps or not math.isfinite(fps) or fps <= 0:
    raise video_files.VideoError(
      f'{folder}: {len(numbered)} pictures, whose rate nothing says; give '
      'frames a second by --fps'
    )
  numbered = sorted(numbered)
  numbers = [number for number, _ in numbered]
  twice = {a for a, b in zip(numbers, numbers[1:]) if a == b}
  if twice:
    names = [name for number, name in numbered if number in twice][:2]
    raise video_files.VideoError(
      f'{folder}: {" and ".join(names)} have the same number; give a pattern '
      'such as img_%05d.jpg'
    )
  # Every fifth frame was kept: then those are the frames.
  step = functools.reduce(math.gcd, np.diff(numbers).tolist(), 0) or 1
  places = tuple((number - numbers[0]) // step for number in numbers)
  missing = places[-1] + 1 - len(places)
  if missing:
    warnings.warn(
      f'{folder}: {missing} of {places[-1] + 1} numbers have no picture; the '
      'one before stays on display',
      video_files.VideoWarning,
      stacklevel=2,
    )
  files = tuple(name for _, name in numbered)
  return ImageSequence(folder, files, places, float(fps))


def _read(path) -> UInt8[np.ndarray, 'h w 3']:
  from PIL import Image, ImageOps

  with Image.open(path) as image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith('I'):  # 16 bits of grey, which would be clipped
      grey = np.asarray(upright).astype(np.int64) >> 8
      return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, -1)
    return np.ascontiguousarray(upright.convert('RGB'))
