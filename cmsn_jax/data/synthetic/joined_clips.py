"""Trimmed clips joined into untrimmed videos whose boundaries are known.

    clips/<class>/<clip>.mp4  ->  videos/<subset>_000.mp4, annotations.json

A video is a row of pieces of clips: instances of the action classes, and
between them background, which is pieces of other classes or, without any, a
picture standing still. Background is cut as often as action is, so a cut alone
tells nothing. No clip is in two subsets.
"""

import dataclasses
import fractions
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from cmsn_jax import progress as progress_lib
from cmsn_jax.annotations import activitynet
from cmsn_jax.data.synthetic import video as synthetic_video
from cmsn_jax.video import decoding, video_files

SHARES = (0.6, 0.2, 0.2)
# Pieces of background, or still pictures, between two instances.
_MAX_BACKGROUND = 3


class Clip(NamedTuple):
  """A trimmed clip; `label` is '' for background."""

  path: str
  label: str


@dataclasses.dataclass(frozen=True)
class Piece:
  """Frames [start, stop) of a clip at the output rate.

  Attributes:
    clip: what it is cut from.
    start: first frame.
    stop: one past the last.
    still: shows the frame `start` all the time (background without clips).
  """

  clip: Clip
  start: int
  stop: int
  still: bool = False

  @property
  def label(self) -> str:
    """The action's class, '' for background."""
    return '' if self.still else self.clip.label


def join(
  folder: str | os.PathLike,
  output: str | os.PathLike,
  *,
  background: Sequence[str] = (),
  videos: Sequence[int] = (24, 8, 8),
  shares: Sequence[int | float] = SHARES,
  duration_sec: int | float = 60.0,
  piece_sec: tuple[int | float, int | float] = (2.0, 10.0),
  fps: int | float = 25.0,
  size: tuple[int, int] = (128, 172),
  seed: int = 0,
  progress: bool = False,
) -> pathlib.Path:
  """Writes `videos/<subset>_<n>.mp4` and `annotations.json` into a folder.

  The same arguments give the same files. Clips are used in turn, in random
  order, until all of their subset were used, then again with other cuts.

  Args:
    folder: one folder of clips a class; what is not background is an action.
    output: where to; made if absent.
    background: names of classes that are no action; none: still pictures.
    videos: how many to make for each of `annotations.SUBSETS`.
    shares: share of every class's clips for each of them; a subset without
      videos gets none. UCF-101's groups (`_g07_` in the name) stay together.
    duration_sec: a video ends with the first background after this time.
    piece_sec: shortest and longest piece; clips shorter than that stay whole.
    fps: rate of the videos; clips are sampled at it.
    size: (height, width), even; frames are resized without keeping the aspect.
    seed: of everything.
    progress: show a bar.

  Returns:
    The path of the annotations.

  Raises:
    ValueError: too few clips, an unknown background class, a wrong setting.
    video.VideoError: a clip cannot be read.
  """
  _check(videos, shares, duration_sec, piece_sec, size)
  found = _clips(pathlib.Path(folder), background)
  wanted = [share if number else 0 for share, number in zip(shares, videos)]
  parts = split(found, wanted, np.random.default_rng([seed, 0]))
  rate = fractions.Fraction(fps).limit_denominator(1001)
  output = pathlib.Path(output)
  (output / 'videos').mkdir(parents=True, exist_ok=True)
  made = {}
  with progress_lib.bar(
    total=sum(videos), desc='joining', unit='video', quiet=not progress
  ) as bar:
    for k, subset in enumerate(activitynet.SUBSETS):
      rng = np.random.default_rng([seed, 1, k])
      script = _Script(parts[k], duration_sec, piece_sec, float(rate), rng)
      for number in range(videos[k]):
        target = output / 'videos' / f'{subset}_{number:03d}.mp4'
        made[target.stem] = _write(target, subset, script.write(), rate, size)
        bar.update()
  path = output / 'annotations.json'
  activitynet.write(path, activitynet.Annotations('joined clips', made))
  return path


def split(
  clips: Sequence[Clip], shares: Sequence[int | float], rng: np.random.Generator
) -> list[list[Clip]]:
  """Shares out each class's clips; groups of a name stay together.

  Raises:
    ValueError: a class has fewer clips or groups than there are shares.
  """
  parts: list[list[Clip]] = [[] for _ in shares]
  used = [k for k, share in enumerate(shares) if share > 0]
  classes: dict[str, dict[str, list[Clip]]] = {}
  for clip in clips:
    name = pathlib.Path(clip.path)
    match = re.search(r'_g\d+_', name.name)
    groups = classes.setdefault(name.parent.name, {})
    groups.setdefault(match[0] if match else name.name, []).append(clip)
  for name, groups in sorted(classes.items()):
    if len(groups) < len(used):
      raise ValueError(
        f'class {name!r} has {len(groups)} clips (or groups), and {len(used)} '
        'subsets need one each; add clips or make videos of fewer subsets'
      )
    order = [sorted(groups)[k] for k in rng.permutation(len(groups))]
    stops = np.cumsum(_counts(len(order), [shares[k] for k in used]))
    for k, start, stop in zip(used, [0, *stops], stops):
      for group in order[start:stop]:
        parts[k] += groups[group]
  return parts


def _counts(number, shares):
  """`number` things by share, at least one each."""
  ideal = np.array(shares) * number / sum(shares)
  counts = np.maximum(1, np.floor(ideal + 1e-9)).astype(int)
  while counts.sum() < number:
    counts[np.argmax(ideal - counts)] += 1
  while counts.sum() > number:
    counts[np.argmax(np.where(counts > 1, counts - ideal, -np.inf))] -= 1
  return counts.tolist()


class _Script:
  """Writes videos' rows of pieces from one subset's clips."""

  def __init__(self, clips, duration_sec, piece_sec, fps, rng):
    self._frames = round(duration_sec * fps)
    self._range = [max(1, round(sec * fps)) for sec in piece_sec]
    self._fps, self._rng = fps, rng
    self._actions = _deck([clip for clip in clips if clip.label], rng)
    others = [clip for clip in clips if not clip.label]
    self._background = _deck(others, rng) if others else None
    self._lengths: dict[str, int] = {}

  def write(self) -> list[Piece]:
    """The pieces of one video: background at both ends and between."""
    pieces, total = [], 0
    while True:
      for piece in self._gap():
        pieces.append(piece)
        total += piece.stop - piece.start
      if total >= self._frames:
        return pieces
      pieces.append(self._cut(next(self._actions)))
      total += pieces[-1].stop - pieces[-1].start

  def _gap(self):
    if self._background is None:
      clip = next(self._actions)
      start = int(self._rng.integers(self._length(clip)))
      length = int(self._rng.integers(self._range[0], self._range[1] + 1))
      return [Piece(clip, start, start + length, still=True)]
    count = self._rng.integers(1, _MAX_BACKGROUND + 1)
    return [self._cut(next(self._background)) for _ in range(count)]

  def _cut(self, clip):
    known = self._length(clip)
    length = int(self._rng.integers(self._range[0], self._range[1] + 1))
    length = min(length, known)
    start = int(self._rng.integers(known - length + 1))
    return Piece(clip, start, start + length)

  def _length(self, clip):
    if clip.path not in self._lengths:
      self._lengths[clip.path] = decoding.count(clip.path, self._fps)
    return self._lengths[clip.path]


def _deck(clips, rng) -> Iterator[Clip]:
  """Deals clips for ever, each once before any comes again."""
  while True:
    for k in rng.permutation(len(clips)):
      yield clips[k]


def _write(path, subset, pieces, rate, size) -> activitynet.Video:
  """Encodes one video; boundaries are counted on the frames written."""
  ends: list[int] = []

  def frames():
    count = 0
    for piece in pieces:
      for frame in _frames(piece, float(rate), size):
        yield frame
        count += 1
      ends.append(count)

  synthetic_video.encode(path, frames(), rate)
  spans = [
    (start, end, piece.label)
    for start, end, piece in zip([0, *ends], ends, pieces)
    if piece.label and end > start
  ]
  segments = np.array([span[:2] for span in spans], np.float64).reshape(-1, 2)
  return activitynet.Video(
    video_id=path.stem,
    subset=subset,
    duration_sec=float(ends[-1] / rate),
    segments=segments / float(rate),
    labels=tuple(label for _, _, label in spans),
    fps=float(rate),
  )


def _frames(piece, fps, size) -> Iterator[UInt8[np.ndarray, 'h w 3']]:
  stop = piece.start + 1 if piece.still else piece.stop
  for chunk in decoding.frames(
    piece.clip.path, fps=fps, size=size, start_frame=piece.start,
    stop_frame=stop,
  ):  # fmt: skip
    for frame in chunk:
      for _ in range(piece.stop - piece.start if piece.still else 1):
        yield frame


def _clips(folder, background):
  if not folder.is_dir():
    raise ValueError(f'{folder}: no such folder of clips')
  names = sorted(child.name for child in folder.iterdir() if child.is_dir())
  unknown = sorted(set(background) - set(names))
  if unknown or len(names) <= len(set(background)):
    raise ValueError(
      f'{folder} has the classes {names}; background classes {unknown} are not '
      'among them'
      if unknown
      else f'{folder} needs a folder of clips for at least one action class, '
      f'has {names} with background {sorted(background)}'
    )
  clips = []
  for name in names:
    label = '' if name in background else name
    found = video_files.find_videos(folder / name)
    clips += [Clip(str(path), label) for path in found.values()]
  if not any(clip.label for clip in clips):
    raise ValueError(f'{folder}: no video in the folders of action classes')
  return clips


def _check(videos, shares, duration_sec, piece_sec, size):
  if len(videos) != 3 or min(videos) < 0 or not sum(videos):
    raise ValueError(
      'videos must be three counts (training, validation, testing), not all 0, '
      f'got {tuple(videos)}'
    )
  if len(shares) != 3 or any(s <= 0 and n for s, n in zip(shares, videos)):
    raise ValueError(
      'shares must be three numbers, positive for each subset with videos, got '
      f'{tuple(shares)}'
    )
  if not 0 < piece_sec[0] <= piece_sec[1] or not duration_sec > 0:
    raise ValueError(
      'expected duration_sec > 0 and 0 < shortest <= longest piece_sec, got '
      f'{duration_sec} and {tuple(piece_sec)}'
    )
  if min(size) < 32 or size[0] % 2 or size[1] % 2:
    raise ValueError(
      f'size must be even numbers of at least 32, got {tuple(size)}'
    )
