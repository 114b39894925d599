"""Features of videos, extracted when they are asked for."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from cmsn_jax.features import video_features


class ExtractingStore:
  """Looks like a folder of features, but extracts them from videos.

  Only the video read last is kept, so videos are to be read one after the
  other.

  Args:
    features: how features are made.
    paths: video file by id.
    reader: decodes in another process; None decodes here.
  """

  sidecar = None

  def __init__(
    self,
    features: video_features.VideoFeatures,
    paths: Mapping[str, str | os.PathLike],
    reader: Any = None,
  ):
    self._features, self._paths, self._reader = features, dict(paths), reader
    self.ids = tuple(sorted(paths))
    self.dim = features.extractor.dim
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
      rows = self._features.extract(self._paths[video_id], reader=self._reader)
      self._kept = (video_id, rows)
    return self._kept[1]
