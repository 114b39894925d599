"""Snippet sources: what a model reads, in windows of any video."""

import dataclasses
import functools
import statistics as normal
from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Shaped

# Quantiles of a feature that become normal scores; values beyond the outermost
# become as those.
LEVELS = np.clip(np.linspace(0, 1, 65), 0.002, 0.998)
_SCORES = np.array([normal.NormalDist().inv_cdf(p) for p in LEVELS])
# Of a feature's own size: what varies by less is rounding.
ROUNDING = 1e-7
# Least deviation among pooled rows, in deviations of the whole feature; without
# statistics, or with those of older runs, in the feature's unit.
FLOOR = 1e-3


class Clock(NamedTuple):
  """A video's seconds against those of its source's grid, `i / feature_fps`.

  Attributes:
    offset_sec: when the first snippet begins: above 0 where a row of features is
      computed from a window longer than the step to the next.
    stretch: seconds of the video in one of the grid: other than 1 where every
      video was stretched to one number of rows.
  """

  offset_sec: float = 0.0
  stretch: float = 1.0

  def to_grid(self, sec: Float[np.ndarray, '...']) -> Float[np.ndarray, '...']:
    """Seconds of the grid from those of the video."""
    return sec if self == Clock() else (sec - self.offset_sec) / self.stretch

  def to_sec(self, grid: Float[np.ndarray, '...']) -> Float[np.ndarray, '...']:
    """Seconds of the video from those of the grid."""
    return grid if self == Clock() else grid * self.stretch + self.offset_sec


def clock(source: 'Source', video_id: str) -> Clock:
  """A video's clock: the source's own, or the grid's where it has none."""
  own = getattr(source, 'clock', None)
  return own(video_id) if own else Clock()


@runtime_checkable
class Source(Protocol):
  """Hides whether snippets are feature rows or runs of frames.

  Where a video's time is not that of the grid there is a method `clock` too, see
  the function of that name.

  Attributes:
    feature_fps: snippets a second.
    snippet_shape: (d,), or (frames, height, width, 3) of a run of frames.
  """

  feature_fps: float
  snippet_shape: tuple[int, ...]

  def num_snippets(self, video_id: str) -> int:
    """Snippets of a video."""

  def read(
    self, video_id: str, start: int, stop: int
  ) -> Shaped[np.ndarray, '...']:
    """Snippets [start, stop) of a video: `[t, d]`, or frames `[f, h, w, 3]`."""


@runtime_checkable
class FeatureStore(Protocol):
  """Features of all videos, as `feature_files.FeatureStore` has them.

  Attributes:
    dim: numbers a row.
    ids: of the videos.
  """

  dim: int
  ids: tuple[str, ...]

  def num_snippets(self, video_id: str) -> int:
    """Rows of a video."""

  def read(
    self, video_id: str, start: int, stop: int
  ) -> Float[np.ndarray, 't d']:
    """Rows [start, stop) of a video."""


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Of the training videos' features.

  Attributes:
    mean: [d].
    std: deviation, [d].
    quantiles: [65, d]; None: features are standardised, not made normal.
    floor: least deviation among pooled rows that counts, [d] of the files; None:
      a thousandth.
    constant: columns that change in no recording; known while training only.
    wild: columns with single values that are far out; likewise.
  """

  mean: np.ndarray
  std: np.ndarray
  quantiles: np.ndarray | None = None
  floor: np.ndarray | None = None
  constant: tuple[int, ...] = ()
  wild: tuple[int, ...] = ()

  def arrays(self) -> dict[str, np.ndarray]:
    """The attributes that there are, to be saved."""
    found = {
      name: getattr(self, name)
      for name in ('mean', 'std', 'quantiles', 'floor')
    }
    return {k: v for k, v in found.items() if v is not None}

  def apply(self, rows: Float[np.ndarray, 't d']) -> Float[np.ndarray, 't d']:
    """Standardised features, or normal scores where there are quantiles.

    A normal score is what a standard normal variable has at the feature's
    quantile among the training snippets: pose and motion features have tails so
    long that their deviation says little of their bulk.
    """
    if self.quantiles is None:
      return (rows - self.mean) / self.std
    out = np.empty(rows.shape, np.float32)
    for column, knots in enumerate(self._knots):
      values = rows[:, column]
      if knots is None:
        out[:, column] = (values - self.mean[column]) / self.std[column]
      else:
        out[:, column] = np.interp(values, *knots)
    return out

  @functools.cached_property
  def _knots(self):
    """Of each feature its distinct quantiles and their scores.

    None where all are one but for rounding: a feature that never changes, or
    hardly ever (a rare event), is standardised.
    """
    knots = []
    for one, std in zip(self.quantiles.T, self.std):
      # Older runs had a limit in the feature's unit, and then took 1 for its
      # deviation.
      least = 1e-6 if std == 1 else 0.0
      if np.ptp(one) <= max(least, ROUNDING * np.abs(one).max()):
        knots.append(None)
        continue
      at, place, count = np.unique(one, return_inverse=True, return_counts=True)
      # Equal quantiles, of a feature that often has one value: their mean.
      knots.append((at, np.bincount(place, _SCORES) / count))
    return knots


class FeatureSource:
  """Feature rows, pooled over time and standardised, read slice by slice.

  Args:
    store: features of all videos.
    feature_fps: snippets a second in the files.
    pool: this many neighbouring rows become one snippet: their mean and, with
      `deviation`, the logarithm of their deviation.
    deviation: append it; without effect where `pool` is 1.
    statistics: standardise, or make normal, with these; None leaves features
      as they are.
    offset_sec: when the span of row 0 begins.
    durations: seconds by video id, of videos that were all stretched to some
      number of rows; None: rows have the rate `feature_fps`.

  Raises:
    ValueError: if the statistics are of features of another width.
  """

  def __init__(
    self,
    store: FeatureStore,
    feature_fps: float,
    *,
    pool: int = 1,
    deviation: bool = False,
    statistics: Statistics | None = None,
    offset_sec: float = 0.0,
    durations: Mapping[str, float | int] | None = None,
  ):
    if pool < 1:
      raise ValueError(f'pool must be at least 1, got {pool}')
    self._store = store
    self._pool, self._deviation = pool, deviation and pool > 1
    self.statistics = statistics
    self.offset_sec, self._durations = offset_sec, durations
    self._file_fps = feature_fps
    self.feature_fps = feature_fps / pool
    self.file_dim = store.dim
    self.ids = store.ids
    width = store.dim * (2 if self._deviation else 1)
    if statistics is not None and statistics.mean.shape != (width,):
      raise ValueError(
        f'the statistics are of {statistics.mean.shape[0]} features, the files '
        f'give {width}; use the features that the model was trained on'
      )
    self.snippet_shape = (width,)
    floor = None if statistics is None else statistics.floor
    self._floor = FLOOR if floor is None else floor
    # NaN are values that are missing, if the store knows of such.
    self._gaps = hasattr(store, 'missing_rows')

  def clock(self, video_id: str) -> Clock:
    """How the video's time relates to that of the grid.

    Raises:
      ValueError: if its duration is needed and not known.
    """
    if self._durations is None:
      return Clock(self.offset_sec)
    if video_id not in self._durations:
      raise ValueError(
        f'{video_id}: its features were stretched to a number of rows, so that '
        'its duration is needed; give annotations that say it'
      )
    rows = self._store.num_snippets(video_id)
    return Clock(0.0, self._durations[video_id] * self._file_fps / rows)

  def num_snippets(self, video_id: str) -> int:
    """Snippets of a video after pooling; the last may average fewer rows."""
    return -(-self._store.num_snippets(video_id) // self._pool)

  def read(
    self, video_id: str, start: int = 0, stop: int | None = None
  ) -> Float[np.ndarray, 't d']:
    """Returns snippets [start, stop) of a video, float32."""
    stop = self.num_snippets(video_id) if stop is None else stop
    rows = self._store.read(video_id, start * self._pool, stop * self._pool)
    found = pooled(rows, self._pool, self._deviation, self._floor)
    if self.statistics is not None:
      found = self.statistics.apply(found)
    found = np.asarray(found, np.float32)
    if self._gaps:
      # Their mean, where they are standardised: as a channel that is dropped.
      found = np.where(np.isnan(found), np.float32(0), found)
    return found

  def missing(self, video_id: str) -> Float[np.ndarray, 'n 2']:
    """Spans in which half of a video's values are missing, in grid seconds."""
    if not self._gaps:
      return np.zeros((0, 2))
    return self._store.missing_rows(video_id) / self._file_fps

  def read_training(
    self, video_id: str, start: int, stop: int, rng: np.random.Generator
  ) -> Float[np.ndarray, 't d']:
    """The same: features have no random crop."""
    del rng
    return self.read(video_id, start, stop)


def centres(
  snippets: Int[np.ndarray, ' u'],
  factor: float | int,
  first: float | int = 0,
) -> Float64[np.ndarray, ' u']:
  """Where snippets have their centres, in rows from the centre of row 0.

  Args:
    snippets: their numbers, from 0.
    factor: snippets a row; below 1 they are longer than rows.
    first: where snippet 0 begins, in rows.
  """
  return first + (snippets + 0.5) / factor - 0.5


def between(
  rows: Float[np.ndarray, 't d'], place: Float[np.ndarray, ' u']
) -> Float32[np.ndarray, 'u d']:
  """Rows at places between their centres, or the first or last beyond these."""
  place = np.clip(place, 0, len(rows) - 1)
  index = np.floor(place).astype(np.int64)
  after = np.minimum(index + 1, len(rows) - 1)
  fraction = (place - index)[:, None].astype(np.float32)
  rows = np.asarray(rows, np.float32)
  return rows[index] * (1 - fraction) + rows[after] * fraction


def pooled(
  rows: Float[np.ndarray, 't d'],
  pool: int,
  deviation: bool = False,
  floor: float | Float[np.ndarray, ' d'] = FLOOR,
) -> Float[np.ndarray, 'u e']:
  """Means of runs of `pool` rows, and the logarithm of their deviations.

  A shorter last run takes what it has. A deviation below `floor` counts as
  that.

  Args:
    rows: [t, d].
    pool: rows a run.
    deviation: append the deviations.
    floor: least deviation, above 0, of all features or of each.

  Returns:
    [ceil(t / pool), d] or [ceil(t / pool), 2 d], float32.
  """
  if pool == 1 or not len(rows):
    return rows
  starts = np.arange(0, len(rows), pool)
  counts = np.minimum(pool, len(rows) - starts)[:, None]
  rows = rows.astype(np.float64)
  means = np.add.reduceat(rows, starts, axis=0) / counts
  if not deviation:
    return means.astype(np.float32)
  centred = rows - np.repeat(means, counts[:, 0], axis=0)
  squares = np.add.reduceat(centred**2, starts, axis=0) / counts
  logs = 0.5 * np.log(squares + np.asarray(floor, np.float64) ** 2)
  return np.concatenate([means, logs], axis=1).astype(np.float32)
