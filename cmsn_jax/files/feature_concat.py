"""Several feature folders as one, resampled to the first one's grid.

    store = feature_concat.open_features('rgb/,flow/,audio.h5')

Row i of the first folder covers the seconds [i, i + 1) / feature_fps; to it the
other folders' features of the same time are appended:

- from a finer grid (more rows a second): the mean over that span, rows that
  reach into it partly weighing as much as they do;
- from a coarser or equal grid: linear interpolation between the centres of its
  rows, at the span's centre; before the first and after the last centre, that
  row itself.

Features of equal rate are appended row by row, unchanged. The result reads like
any `feature_files.FeatureStore`, by slices.
"""

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from cmsn_jax.files import feature_files, json_files

# Rates this close count as one grid: an hour drifts by less than a snippet.
_SAME_RATE = 1e-5
# Share of a span that counts as reaching into it.
_TOUCHED = 1e-5


class FeatureConcatWarning(UserWarning):
  """Videos that not all folders have are left out."""


def open_features(
  paths: str | Sequence[str],
  *,
  feature_fps: float | int | Sequence[float | int | None] | None = None,
  key: str | None = None,
) -> feature_files.FeatureStore:
  """Opens one feature folder, or several as one.

  Args:
    paths: a folder or .h5 file, several with commas between, or a sequence.
    feature_fps: snippets a second of the first, or of each; None takes what a
      folder's features.json says.
    key: which array of each file, see `feature_files.open_features`.
  Returns:
    the store; a `ConcatStore` of several paths.
  Raises:
    FileNotFoundError: when there is nothing at a path.
    ValueError: when a rate is unknown, or no video is in all of them.
  """
  if isinstance(paths, str):
    # A folder may have a comma in its name.
    paths = [paths] if os.path.exists(paths) else paths.split(',')
  paths = [path.strip() for path in paths]
  if not all(paths):
    raise ValueError(f'an empty name among the feature folders {paths}')
  rates = list(_each(feature_fps, len(paths)))
  stores = [
    feature_files.open_features(path, feature_fps=rate, key=key)
    for path, rate in zip(paths, rates)
  ]
  return stores[0] if len(stores) == 1 else ConcatStore(stores)


def _each(feature_fps, count):
  if feature_fps is None or isinstance(feature_fps, (int, float)):
    return [feature_fps] + [None] * (count - 1)
  if len(feature_fps) != count:
    raise ValueError(
      f'feature_fps must have one rate for each of the {count} folders, got '
      f'{len(feature_fps)}'
    )
  return feature_fps


class ConcatStore(feature_files.FeatureStore):
  """Stores side by side; the same methods as `feature_files.FeatureStore`.

  Attributes:
    path: the stores' paths with commas between.
    ids: videos that all stores have, sorted.
    sidecar: {'feature_fps', 'dim', 'parts': the stores' sidecars}.
    feature_fps: the first store's rate.
  """

  # Files are held by the stores: nothing of the base's own state is needed.
  def __init__(self, stores: Sequence[feature_files.FeatureStore]):
    self._stores = tuple(stores)
    for store in self._stores:
      if store.feature_fps is None:
        raise ValueError(
          f'{store.path} does not say its rate, which joining feature folders '
          f'needs; put {{"feature_fps": …}} into {store.path}/'
          f'{feature_files.SIDECAR}'
        )
    self.path = ','.join(store.path for store in self._stores)
    self.feature_fps = self._stores[0].feature_fps
    shared = set(self._stores[0].ids)
    shared.intersection_update(*(store.ids for store in self._stores[1:]))
    if not shared:
      raise ValueError(
        f'no video is in all of {self.path}; their ids begin with '
        + ', '.join(repr(store.ids[0]) for store in self._stores)
      )
    self.ids = tuple(sorted(shared))
    every = set().union(*(store.ids for store in self._stores))
    if every - shared:
      warnings.warn(
        f'{len(every - shared)} of {len(every)} videos are not in all of '
        f'{self.path} and are left out: '
        + ', '.join(sorted(every - shared)[:5]),
        FeatureConcatWarning,
        stacklevel=3,
      )
    self._lengths: dict[str, int] = {}

  def __len__(self) -> int:
    return len(self.ids)

  def __contains__(self, video_id: object) -> bool:
    return video_id in set(self.ids)

  @property
  def dim(self) -> int:
    """Width of the joined features."""
    return sum(store.dim for store in self._stores)

  @property
  def sidecar(self) -> dict:
    """What the stores' sidecars say."""
    return {
      'feature_fps': self.feature_fps,
      'dim': self.dim,
      'parts': [store.sidecar for store in self._stores],
    }

  def num_snippets(self, video_id: str) -> int:
    """Rows of a video: the first store's.

    Raises:
      ValueError: when the stores' durations differ by more than two rows of the
        coarsest and more than 2 %.
    """
    if video_id not in self._lengths:
      self._lengths[video_id] = self._checked_length(video_id)
    return self._lengths[video_id]

  def _checked_length(self, video_id):
    first = self._stores[0]
    length = first.num_snippets(video_id)
    duration = length / self.feature_fps
    for store in self._stores[1:]:
      other = store.num_snippets(video_id) / store.feature_fps
      rows = abs(duration - other) * min(self.feature_fps, store.feature_fps)
      if rows > 2 and abs(duration - other) > 0.02 * max(duration, other):
        raise ValueError(
          f'{video_id} lasts {duration:.1f} s in {first.path} '
          f'({length} rows at {self.feature_fps:g} a second) but {other:.1f} s '
          f'in {store.path} ({store.num_snippets(video_id)} rows at '
          f'{store.feature_fps:g}); one of the rates is wrong, or the features '
          'are of different cuts of the video'
        )
    return length

  def read(
    self,
    video_id: str,
    start: int = 0,
    stop: int | None = None,
    *,
    gaps: bool = False,
  ) -> Float32[np.ndarray, 't d']:
    """Rows [start, stop) of a video's joined features.

    Args:
      video_id: one of `ids`.
      start: first row, at least 0.
      stop: one past the last row; None, or more than there are, is the end.
      gaps: let NaN pass, which is where a value is missing.
    """
    total = self.num_snippets(video_id)
    stop = total if stop is None else min(stop, total)
    start = min(start, total)
    # The first store checks start and stop for all.
    rows = [self._stores[0].read(video_id, start, stop, gaps=gaps)]
    for store in self._stores[1:]:
      rows.append(
        _resampled(store, video_id, self.feature_fps, start, stop, gaps=gaps)
      )
    return np.concatenate(rows, axis=1)

  def check(self, ids: Iterable[str] | None = None) -> None:
    """Reads the headers of many videos, reporting all problems in one error."""
    problems = []
    for video_id in self.ids if ids is None else ids:
      try:
        self.num_snippets(video_id)
      except (ValueError, OSError) as problem:
        problems.append(str(problem))
    if problems:
      shown = '\n'.join(f'  {problem}' for problem in problems[:100])
      raise feature_files.FeatureFileError(
        f'{self.path}: {json_files.problems_found(len(problems))}\n{shown}'
      )


def _resampled(store, video_id, feature_fps, start, stop, **options):
  """Rows of `store` on the grid of `feature_fps`, read by slices."""
  total = store.num_snippets(video_id)
  ratio = store.feature_fps / feature_fps
  if abs(ratio - 1) < _SAME_RATE:
    first, last = min(start, total - 1), max(min(stop, total), 1)
    rows = store.read(video_id, first, last, **options)
    wanted = np.clip(np.arange(start, stop), 0, total - 1) - first
    return rows[wanted]
  edges = np.arange(start, stop + 1) * ratio
  return resampled(store, video_id, edges, ratio, **options)


def resampled(
  store: Any,
  video_id: str,
  edges: Float[np.ndarray, ' m'],
  ratio: float,
  **options: bool,
) -> Float32[np.ndarray, 'n d']:
  """Features over spans of a video, read by slices.

  Args:
    store: the features.
    video_id: of the store.
    edges: of the spans, in rows of the store, n + 1 for n spans.
    ratio: rows of the store a span: above 1 they are averaged, else
      interpolated at the spans' centres.
    **options: of the store's `read`.
  """
  total = store.num_snippets(video_id)
  if len(edges) < 2:
    return store.read(video_id, 0, 0, **options)
  first = int(np.clip(np.floor(edges[0]) - 1, 0, total - 1))
  last = int(np.clip(np.ceil(edges[-1]) + 1, first + 1, total))
  rows = store.read(video_id, first, last, **options)
  if ratio > 1:
    return span_means(rows, np.clip(edges, 0, total) - first)
  centres = (edges[:-1] + edges[1:]) / 2
  return interpolate(rows, centres - first)


def span_means(
  rows: Float32[np.ndarray, 't d'], edges: Float[np.ndarray, ' m']
) -> Float32[np.ndarray, 'n d']:
  """Means of rows over the spans between edges; row i covers [i, i + 1).

  Args:
    rows: features.
    edges: not decreasing, n + 1 for n spans. A span of length 0 (past the end
      of the features) takes the nearest row. A span that reaches into a
      missing value (NaN) has none.
  """
  if len(edges) < 2:
    return rows[:0]
  missing = np.isnan(rows)
  if missing.any():
    touched = span_means(missing.astype(np.float32), edges) > _TOUCHED
    means = span_means(np.where(missing, np.float32(0), rows), edges)
    return np.where(touched, np.float32(np.nan), means)
  # Sums up to each edge, linear inside a row.
  sums = np.zeros((len(rows) + 1, rows.shape[1]))
  np.cumsum(rows, axis=0, dtype=np.float64, out=sums[1:])
  whole = np.minimum(edges.astype(np.int64), len(rows) - 1)
  upto = sums[whole] + (edges - whole)[:, None] * rows[whole]
  lengths = np.diff(edges)[:, None]
  means = np.diff(upto, axis=0) / np.maximum(lengths, 1e-9)
  nearest = rows[np.minimum(whole[:-1], len(rows) - 1)]
  return np.where(lengths > 1e-9, means, nearest).astype(np.float32)


def interpolate(
  rows: Float32[np.ndarray, 't d'], times: Float[np.ndarray, ' n']
) -> Float32[np.ndarray, 'n d']:
  """Values at times, linear between row centres (row i's is i + .5)."""
  at = np.clip(times - 0.5, 0, len(rows) - 1)
  low = np.minimum(at.astype(np.int64), max(len(rows) - 2, 0))
  high = np.minimum(low + 1, len(rows) - 1)
  share = (at - low)[:, None]
  return (rows[low] * (1 - share) + rows[high] * share).astype(np.float32)
