"""Features of recordings with several rates, brought to one grid.

A recording of more rows a second than the grid is averaged over the grid's
spans, one of fewer interpolated between the centres of its rows, as
`feature_concat` does with folders.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from cmsn_jax.files import feature_concat, feature_files


class ResampledStore(feature_files.FeatureStore):
  """A store whose recordings have rates of their own, read at one rate.

  Args:
    store: the features as they lie in the files.
    feature_fps: rows a second that are given out.
    rates: rows a second of a recording's file, where that differs.
    shift_rows: of its own rows, by which each recording's row 0 begins late.
  """

  def __init__(
    self,
    store: Any,
    feature_fps: float | int,
    rates: Mapping[str, float | int],
    shift_rows: float | int = 0.0,
  ):
    self._store, self._rates = store, dict(rates)
    self._shift = shift_rows
    self.path, self.ids = store.path, store.ids
    self.sidecar, self.feature_fps = store.sidecar, feature_fps
    if hasattr(store, 'missing_rows'):
      self.missing_rows = self._missing_rows

  def __len__(self) -> int:
    return len(self.ids)

  def __contains__(self, video_id: object) -> bool:
    return video_id in self._store

  def __getstate__(self):
    return self.__dict__

  @property
  def dim(self) -> int:
    """Width of the features."""
    return self._store.dim

  def prefer_dim(self, dim: int) -> None:
    """See `feature_files.FeatureStore`."""
    self._store.prefer_dim(dim)

  def _missing_rows(self, video_id: str) -> Float64[np.ndarray, 'n 2']:
    """See `feature_gaps.GapStore`; rows of the grid, with fractions."""
    return self._store.missing_rows(video_id) / self._ratio(video_id)

  def _ratio(self, video_id: str) -> float:
    return self._rates.get(video_id, self.feature_fps) / self.feature_fps

  def num_snippets(self, video_id: str) -> int:
    """Rows of a video on the grid.

    Raises:
      FeatureFileError: as the store's.
    """
    rows = self._store.num_snippets(video_id)
    own = (rows + self._shift) / self._ratio(video_id)
    return max(1, round(own - self._shift))

  def read(
    self, video_id: str, start: int = 0, stop: int | None = None
  ) -> Float32[np.ndarray, 't d']:
    """Rows [start, stop) of a video on the grid.

    Raises:
      FeatureFileError: as the store's.
    """
    ratio = self._ratio(video_id)
    if ratio == 1:
      return self._store.read(video_id, start, stop)
    total = self.num_snippets(video_id)
    stop = total if stop is None else min(stop, total)
    start = min(start, total)
    if start < 0 or stop < start:
      raise ValueError(
        f'{video_id}: found rows {start} to {stop} of {total}, expected '
        '0 <= start <= stop'
      )
    # Both grids begin their row 0 `shift` of their own rows after time 0.
    edges = (np.arange(start, stop + 1) + self._shift) * ratio - self._shift
    return feature_concat.resampled(self._store, video_id, edges, ratio)
