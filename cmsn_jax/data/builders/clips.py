"""A TFDS data set of labelled videos (`ucf101`, say) as clips.

TFDS downloads and prepares it once, as ArrayRecord files, which can be read in
any order.
"""

import difflib
import os
import threading
from typing import Any

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
from jaxtyping import UInt8  # noqa: E402
from PIL import Image  # noqa: E402

_VALIDATION_SPLITS = ('validation', 'test')


class TfdsClips:
  """Clips of one split; see `data.clips.ClipSource`.

  Frames are what TFDS stores, without resampling: it states no frame rate.

  Args:
    builder: a prepared data set with a video and a class label.
    split: name of the split.
    size: (height, width) that frames are resized to.
  """

  def __init__(self, builder: Any, split: str, size: tuple[int, int]):
    features = builder.info.features
    self._video = _key(builder, tfds.features.Video, 'video')
    self._label = _key(builder, tfds.features.ClassLabel, 'class label')
    self.classes = tuple(features[self._label].names)
    self._name = f'{builder.info.full_name} {split}'
    self._source = builder.as_data_source(split=split)
    self._size = size
    self._local = threading.local()

  def __len__(self) -> int:
    return len(self._source)

  def name(self, index: int) -> str:
    """What messages call a clip."""
    return f'{self._name} example {index}'

  def label(self, index: int) -> int:
    """Number of a clip's class in `classes`."""
    return int(self._example(index)[self._label])

  def num_frames(self, index: int) -> int:
    """Frames of a clip."""
    return len(self._example(index)[self._video])

  def read(
    self, index: int, start: int, stop: int
  ) -> UInt8[np.ndarray, 'f h w 3']:
    """Frames [start, stop) of a clip, as many as there are."""
    frames = np.asarray(self._example(index)[self._video])[start:stop]
    height, width = self._size
    resized = [
      # Pillow's filter widens with the scale: no aliasing when it shrinks.
      Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
      for frame in frames
    ]
    return np.asarray(resized, np.uint8).reshape(-1, height, width, 3)

  def _example(self, index):
    # A thread asks for one video several times in a row.
    cached = getattr(self._local, 'cached', None)
    if cached is None or cached[0] != index:
      cached = self._local.cached = index, self._source[index]
    return cached[1]


def open_dataset(
  name: str, *, size: tuple[int, int], data_dir: str = ''
) -> tuple[TfdsClips, TfdsClips]:
  """Opens a data set by its TFDS name, preparing it where it is not yet.

  Args:
    name: as `tfds.builder` takes it, e.g. 'ucf101/ucf101_1' (the first of
      UCF-101's three official splits).
    size: (height, width) of frames.
    data_dir: where TFDS keeps data; '' for its own default.
  Returns:
    (training clips, validation clips); the latter are the split 'validation'
    or 'test'.
  Raises:
    ValueError: no such data set, or it is not one of labelled videos.
  """
  # Asked by an unknown name, TFDS itself would search the network for long.
  known = tfds.list_builders(with_community_datasets=False)
  base = name.split('/')[0].split(':')[0]
  if base not in known:
    similar = difflib.get_close_matches(base, known)
    raise ValueError(
      f'TFDS has no data set {base!r}'
      + (f'; there is {", ".join(similar)}' if similar else '')
    )
  builder = tfds.builder(
    name, data_dir=data_dir or None, file_format='array_record'
  )
  builder.download_and_prepare()
  splits = builder.info.splits
  held_out = next((s for s in _VALIDATION_SPLITS if s in splits), None)
  if 'train' not in splits or held_out is None:
    raise ValueError(
      f'{name} needs a split "train" and one of {_VALIDATION_SPLITS}, has '
      f'{sorted(splits)}'
    )
  return (
    TfdsClips(builder, 'train', size),
    TfdsClips(builder, held_out, size),
  )


def _key(builder, kind, what):
  features = builder.info.features
  found = [key for key, value in features.items() if isinstance(value, kind)]
  if len(found) != 1:
    raise ValueError(
      f'{builder.info.full_name} must have one {what}, has {sorted(features)}'
    )
  return found[0]
