"""Features of videos, extracted when they are asked for."""

import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float32

from cmsn_jax.features import kept_rows, video_features
from cmsn_jax.video import reader as video_reader


class ExtractingStore:
  """Looks like a folder of features, but extracts them from videos.

  Only the video read last is kept in memory, so videos are to be read one after
  the other.

  Args:
    features: how features are made.
    paths: video file by id.
    reader: decodes in another process; None decodes here.
    folder: keeps the features, also of a video whose extraction was stopped;
      None keeps none.

  Attributes:
    on_seconds: told (video id, seconds reached) while a video is extracted.

  Raises:
    ValueError: when the folder holds features of another extractor.
  """

  sidecar = None

  def __init__(
    self,
    features: video_features.VideoFeatures,
    paths: Mapping[str, str | os.PathLike],
    reader: video_reader.VideoReader | None = None,
    folder: pathlib.Path | None = None,
  ):
    self._features, self._paths, self._reader = features, dict(paths), reader
    self.ids = tuple(sorted(paths))
    self.dim = features.extractor.dim
    self.on_seconds: Callable[[str, float], None] | None = None
    self._folder = None
    if folder is not None:
      self._folder = kept_rows.KeptRows(folder, features)
    self._kept = (None, np.zeros((0, self.dim), np.float32))

  def num_snippets(self, video_id: str) -> int:
    """Snippets of a video; extracts them.

    Raises:
      VideoError: if the file cannot be decoded.
    """
    return len(self._rows(video_id))

  def read(
    self, video_id: str, start: int = 0, stop: int | None = None
  ) -> Float32[np.ndarray, 't d']:
    """Features of snippets [start, stop)."""
    return self._rows(video_id)[start:stop]

  def _rows(self, video_id):
    if self._kept[0] != video_id:
      self._kept = (video_id, self._made(video_id))
    return self._kept[1]

  def _made(self, video_id):
    path, frames = self._paths[video_id], 0

    def on_frames(count):
      nonlocal frames
      frames += count
      if self.on_seconds is not None:
        self.on_seconds(video_id, frames / self._features.extractor.fps)

    options = {'reader': self._reader, 'on_frames': on_frames}
    if self._folder is None:
      return self._features.extract(path, **options)
    if self._folder.is_done(video_id, path):
      return self._folder.read(video_id)
    return self._folder.extract(video_id, path, **options)
