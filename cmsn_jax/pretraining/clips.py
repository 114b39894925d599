"""Short labelled videos to pre-train on: folder per class, or UCF-101's lists.

UCF-101/<class>/<clip>.avi                 one part is held out
clips/train/<class>/..., clips/validation/<class>/...
UCF-101/... with trainlist01.txt, testlist01.txt
"""

import dataclasses
import os
import pathlib
import re
import threading
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from cmsn_jax.video import decoding, video_files

_VALIDATION_NAMES = ('validation', 'val', 'valid', 'test')


@runtime_checkable
class ClipSource(Protocol):
  """Labelled clips, readable in any order by several threads."""

  classes: tuple[str, ...]

  def __len__(self) -> int:
    """How many clips there are."""

  def label(self, index: int) -> int:
    """The place of a clip's class in `classes`."""

  def name(self, index: int) -> str:
    """What messages call a clip."""

  def num_frames(self, index: int) -> int:
    """About how many frames it has, at least 1."""

  def read(
    self, index: int, start: int, stop: int
  ) -> UInt8[np.ndarray, 'f h w 3']:
    """Frames [start, stop) as RGB; fewer where the clip ends before."""


@dataclasses.dataclass(frozen=True)
class ClipFile:
  """One file and its class."""

  path: pathlib.Path
  label: str


class FileClips:
  """Clips in video files, decoded as they are read.

  Args:
    files: the clips.
    classes: names of the classes; a label is the place in it.
    fps: frames are sampled at this rate.
    size: (height, width) that frames are resized to.
  """

  def __init__(
    self,
    files: Sequence[ClipFile],
    classes: Sequence[str],
    *,
    fps: float,
    size: tuple[int, int],
  ):
    self.classes = tuple(classes)
    self._files = list(files)
    places = {name: i for i, name in enumerate(self.classes)}
    self._labels = [places[file.label] for file in self._files]
    self._fps, self._size = fps, size
    self._lengths: dict[int, int] = {}
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return len(self._files)

  def label(self, index: int) -> int:
    """Number of a clip's class in `classes`."""
    return self._labels[index]

  def name(self, index: int) -> str:
    """What messages call a clip."""
    return str(self._files[index].path)

  def num_frames(self, index: int) -> int:
    """Frames of a clip."""
    if index not in self._lengths:
      found = decoding.count(self._files[index].path, self._fps)
      with self._lock:
        self._lengths[index] = found
    return self._lengths[index]

  def read(
    self, index: int, start: int, stop: int
  ) -> UInt8[np.ndarray, 'f h w 3']:
    """Frames [start, stop) of a clip, as many as there are."""
    chunks = decoding.frames(
      self._files[index].path,
      fps=self._fps,
      size=self._size,
      start_frame=start,
      stop_frame=stop,
    )
    empty = np.zeros((0, *self._size, 3), np.uint8)
    return np.concatenate([empty, *chunks])


def open_folder(
  folder: str | os.PathLike,
  *,
  fps: float,
  size: tuple[int, int],
  train_list: str | os.PathLike = '',
  validation_list: str | os.PathLike = '',
  holdout: float = 0.2,
) -> tuple[FileClips, FileClips]:
  """Opens a folder of clips.

  Args:
    folder: holds one folder a class, or `train` and `validation` with those.
    fps: sampling rate.
    size: (height, width) of frames.
    train_list: file with a line `class/clip.avi` (and anything after it) for
      each training clip; '' reads the folder.
    validation_list: likewise.
    holdout: share of each class that becomes validation where neither lists
      nor folders say. UCF-101's groups (`_g07_` in the name) stay together.
  Returns:
    (training clips, validation clips) with the same classes.
  Raises:
    ValueError: no clips, one class only, or files named in a list are missing.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise ValueError(f'{folder}: no such folder of clips')
  if bool(train_list) != bool(validation_list):
    raise ValueError('give both train_list and validation_list, or neither')
  if train_list:
    parts = _listed(folder, train_list), _listed(folder, validation_list)
  elif (folder / 'train').is_dir():
    parts = (
      _class_folders(folder / 'train'),
      _class_folders(_validation_folder(folder)),
    )
  else:
    parts = _held_out(_class_folders(folder), holdout)
  classes = sorted({file.label for file in parts[0]})
  unknown = sorted({file.label for file in parts[1]} - set(classes))
  if len(classes) < 2 or unknown or not parts[1]:
    raise ValueError(
      f'{folder}: training needs at least two classes and validation clips of '
      f'the same classes; training has {classes[:8]}, validation has '
      f'{len(parts[1])} clips, of which unknown classes are {unknown[:8]}'
    )
  train, validation = (
    FileClips(part, classes, fps=fps, size=size) for part in parts
  )
  return train, validation


def _validation_folder(folder):
  for name in _VALIDATION_NAMES:
    if (folder / name).is_dir():
      return folder / name
  raise ValueError(
    f'{folder} has a folder "train" but none of {", ".join(_VALIDATION_NAMES)}'
  )


def _class_folders(folder):
  files = []
  for child in sorted(folder.iterdir()):
    if child.is_dir():
      found = video_files.find_videos(child)
      files += [ClipFile(path, child.name) for path in found.values()]
  if not files:
    raise ValueError(
      f'{folder}: expected one folder of videos for each class, found none'
    )
  return files


def _listed(folder, path):
  files, missing = [], []
  for line in pathlib.Path(path).read_text().splitlines():
    if not line.strip():
      continue
    name = line.split()[0]
    if '/' not in name:
      raise ValueError(f'{path}: expected lines "class/clip.avi", got {line!r}')
    file = ClipFile(folder / name, name.split('/')[-2])
    (files if file.path.is_file() else missing).append(file)
  if missing or not files:
    raise ValueError(
      f'{path}: {len(missing)} of {len(missing) + len(files)} clips are not in '
      f'{folder}, e.g. {[str(file.path) for file in missing[:3]]}'
    )
  return files


def _held_out(files, share):
  if not 0 < share < 1:
    raise ValueError(f'holdout must be between 0 and 1, got {share}')
  train, validation = [], []
  for label in sorted({file.label for file in files}):
    groups: dict[str, list[ClipFile]] = {}
    for file in files:
      if file.label == label:
        match = re.search(r'_g(\d+)_', file.path.name)
        groups.setdefault(match[0] if match else file.path.name, []).append(
          file
        )
    names = sorted(groups)
    if len(names) < 2:
      raise ValueError(
        f'class {label!r} has {len(names)} clip or group, and at least 2 are '
        'needed to hold one out for validation'
      )
    count = min(len(names) - 1, max(1, round(share * len(names))))
    for i, name in enumerate(names):
      (train if i < len(names) - count else validation).extend(groups[name])
  return train, validation


def training_clips(
  source: ClipSource,
  index: int,
  rng: np.random.Generator,
  *,
  segments: int,
  frames: int,
  crop: tuple[int, int],
  flip: bool = True,
) -> UInt8[np.ndarray, 'n f h w 3']:
  """One random clip from each of n equal parts of a video, cropped alike."""
  starts = _starts(source.num_frames(index), frames, segments, rng)
  clips = _read_clips(source, index, starts, frames)
  return decoding.random_crop_flip(clips, rng, crop, flip)


def validation_clips(
  source: ClipSource,
  index: int,
  *,
  clips: int,
  frames: int,
  crop: tuple[int, int],
) -> UInt8[np.ndarray, 'n f h w 3']:
  """Clips evenly over a video, centre-cropped."""
  starts = _starts(source.num_frames(index), frames, clips, None)
  return decoding.centre_crop(_read_clips(source, index, starts, frames), crop)


def _starts(num_frames, frames, parts, rng):
  last = max(0, num_frames - frames)
  places = np.full(parts, 0.5) if rng is None else rng.random(parts)
  return np.round((np.arange(parts) + places) / parts * last).astype(int)


def _read_clips(source, index, starts, frames):
  clips = []
  for start in starts:
    clip = source.read(index, int(start), int(start) + frames)
    if not len(clip) and start:
      # The header promised more frames than there are.
      clip = source.read(index, 0, frames)
    if not len(clip):
      raise ValueError(f'{source.name(index)}: no frame could be read')
    # A short clip stands still at its end.
    clips.append(clip[np.minimum(np.arange(frames), len(clip) - 1)])
  return np.stack(clips)
