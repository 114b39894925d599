"""Features with gaps: rows without a value (NaN), as trackers leave them.

A gap is a stretch of rows in one column. Short ones are interpolated; of longer
ones nobody knows what was there: their values stay NaN, for the reader to mask.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

# Values that are looked at in one go.
_BLOCK_VALUES = 1 << 21
_SHOWN_RECORDINGS, _SHOWN_COLUMNS = 10, 5


class GapWarning(UserWarning):
  """Values of a recording's features are missing."""


class Gaps(NamedTuple):
  """The gaps of one recording, by column, then by time.

  Attributes:
    column: of each, `[n]`.
    start: its first row, `[n]`.
    stop: one past its last row, `[n]`.
    before: the value before it; NaN at the recording's start, `[n]`.
    after: the value after it; NaN at the recording's end, `[n]`.
    filled: whether it is interpolated, `[n]`.
    rate: rows a second.
  """

  column: Int64[np.ndarray, ' n']
  start: Int64[np.ndarray, ' n']
  stop: Int64[np.ndarray, ' n']
  before: Float32[np.ndarray, ' n']
  after: Float32[np.ndarray, ' n']
  filled: np.ndarray
  rate: float

  @property
  def seconds(self) -> Float64[np.ndarray, ' n']:
    """How long each is."""
    return (self.stop - self.start) / self.rate


class GapStore:
  """A feature store whose short gaps are filled; the others stay NaN.

  The same attributes and methods as `feature_files.FeatureStore`.

  Args:
    store: whose `read` takes `gaps=True`, which lets NaN pass.
    fill_sec: gaps up to this length are interpolated between the values before
      and after them; at the start and end of a recording the nearest is held.
    rate_of: video id -> rows a second.
    quiet: do not warn of a recording when its gaps are first met.
  """

  def __init__(
    self,
    store: Any,
    fill_sec: float | int,
    rate_of: Callable[[str], float],
    *,
    quiet: bool = False,
  ):
    self._store, self._fill_sec, self._rate_of = store, fill_sec, rate_of
    self._quiet, self._found = quiet, {}
    self.path, self.ids = store.path, store.ids
    self.sidecar, self.feature_fps = store.sidecar, store.feature_fps

  def __len__(self) -> int:
    return len(self.ids)

  def __contains__(self, video_id: object) -> bool:
    return video_id in self._store

  @property
  def dim(self) -> int:
    """Width of the features."""
    return self._store.dim

  def num_snippets(self, video_id: str) -> int:
    """Rows of a video; see `feature_files.FeatureStore`."""
    return self._store.num_snippets(video_id)

  def read(
    self, video_id: str, start: int = 0, stop: int | None = None
  ) -> Float32[np.ndarray, 't d']:
    """Rows [start, stop) of a video, NaN where a long gap is."""
    rows = self._store.read(video_id, start, stop, gaps=True)
    if np.isnan(rows).any():
      fill(rows, start, self.gaps(video_id))
    return rows

  def gaps(self, video_id: str) -> Gaps:
    """All gaps of a video; it is read once, block by block."""
    if video_id not in self._found:
      rate = self._rate_of(video_id)
      self._found[video_id] = found = find(
        _blocks(self._store, video_id), self._fill_sec, rate
      )
      if len(found.column) and not self._quiet:
        warnings.warn(
          ' '.join(summary(self._fill_sec, {video_id: found})),
          GapWarning,
          stacklevel=3,
        )
    return self._found[video_id]

  def missing_rows(self, video_id: str) -> Int64[np.ndarray, 'n 2']:
    """Spans of rows [start, stop) in which half of the values are missing."""
    gaps = self.gaps(video_id)
    long = ~gaps.filled
    steps = np.zeros(self.num_snippets(video_id) + 1, np.int64)
    np.add.at(steps, gaps.start[long], 1)
    np.add.at(steps, gaps.stop[long], -1)
    missing = 2 * np.cumsum(steps)[:-1] >= self.dim
    missing = np.concatenate([[False], missing, [False]])
    edges = np.flatnonzero(missing[1:] != missing[:-1])
    return edges.reshape(-1, 2)

  def summary(self, video_ids: Iterable[str]) -> list[str]:
    """What is missing in these videos, for reading; see `summary`."""
    return summary(self._fill_sec, {k: self.gaps(k) for k in video_ids})


def _blocks(store, video_id):
  total = store.num_snippets(video_id)
  block = max(1, _BLOCK_VALUES // store.dim)
  for start in range(0, total, block):
    yield store.read(video_id, start, min(start + block, total), gaps=True)


def find(
  blocks: Iterable[Float[np.ndarray, '_ d']],
  fill_sec: float | int,
  rate: float | int,
) -> Gaps:
  """The gaps of one recording.

  Args:
    blocks: its rows, one after the other.
    fill_sec: up to which length gaps are filled.
    rate: rows a second.
  """
  begun, ended, row, last = [], [], 0, None
  for block in blocks:
    if last is None:
      last = np.zeros((1, block.shape[1]), np.float32)
    rows = np.concatenate([last, block])
    missing = np.isnan(rows)
    for parts, change, value in (
      (begun, missing[1:] & ~missing[:-1], rows[:-1]),
      (ended, missing[:-1] & ~missing[1:], rows[1:]),
    ):
      at, column = np.nonzero(change)
      parts.append((column, row + at, value[at, column]))
    row, last = row + len(block), rows[-1:]
  if last is None:
    last = np.zeros((1, 0), np.float32)
  open_columns = np.flatnonzero(np.isnan(last[0]))
  none = np.full(len(open_columns), np.nan, np.float32)
  ended.append((open_columns, np.full(len(open_columns), row), none))
  column, start, before = _by_column(begun)
  _, stop, after = _by_column(ended)
  before = np.where(start > 0, before, np.float32(np.nan))
  # A gap of all rows has nothing to hold.
  known = ~(np.isnan(before) & np.isnan(after))
  filled = known & (stop - start <= fill_sec * rate * (1 + 1e-6))
  return Gaps(column, start, stop, before, after, filled, float(rate))


def _by_column(parts):
  """Columns, rows, values: sorted by column, then row, as gaps alternate."""
  none = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
  column, row, value = (np.concatenate(x) for x in zip(none, *parts))
  order = np.lexsort((row, column))
  return column[order], row[order], value[order].astype(np.float32)


def fill(rows: Float32[np.ndarray, 't d'], start: int, gaps: Gaps) -> None:
  """Interpolates the gaps that are to be filled, in place.

  Args:
    rows: of the recording from row `start` on.
    start: see there.
    gaps: of the whole recording.
  """
  stop = start + len(rows)
  near = gaps.filled & (gaps.start < stop) & (gaps.stop > start)
  for k in np.flatnonzero(near):
    low, high = max(gaps.start[k], start), min(gaps.stop[k], stop)
    share = (np.arange(low, high) - gaps.start[k] + 1) / (
      gaps.stop[k] - gaps.start[k] + 1
    )
    before, after = float(gaps.before[k]), float(gaps.after[k])
    before = after if np.isnan(before) else before
    after = before if np.isnan(after) else after
    rows[low - start : high - start, gaps.column[k]] = (
      before * (1 - share) + after * share
    )


def summary(fill_sec: float | int, found: dict[str, Gaps]) -> list[str]:
  """What is missing, counted by recording and column; [] where nothing is.

  Args:
    fill_sec: up to which length gaps are filled.
    found: gaps by video id.
  """
  short = {k: int(g.filled.sum()) for k, g in found.items()}
  long = {k: g for k, g in found.items() if not g.filled.all()}
  lines = []
  if any(short.values()):
    names = [k for k, n in short.items() if n]
    lines.append(
      f'{sum(short.values())} gaps (NaN) of up to {fill_sec:g} s in '
      f'{len(names)} recordings ({_some(names, 3)}) are filled by '
      'interpolation.'
    )
  if long:
    total = sum(int((~g.filled).sum()) for g in long.values())
    lines.append(
      f'{total} longer gaps in {len(long)} recordings are masked, and nothing '
      'is learned where half of the values are missing: '
      + '; '.join(
        f'{name}: {_columns(gaps)}'
        for name, gaps in list(long.items())[:_SHOWN_RECORDINGS]
      )
      + (
        f'; and {len(long) - _SHOWN_RECORDINGS} recordings more'
        if len(long) > _SHOWN_RECORDINGS
        else ''
      )
    )
  return lines


def _columns(gaps):
  """Number of long gaps and the longest, of each column that has any."""
  own = ~gaps.filled
  column, seconds = gaps.column[own], gaps.seconds[own]
  names = np.unique(column)
  shown = [
    f'column {c}: {int((column == c).sum())} (up to '
    f'{seconds[column == c].max():.3g} s)'
    for c in names[:_SHOWN_COLUMNS]
  ]
  more = len(names) - _SHOWN_COLUMNS
  return ', '.join(shown) + (f', {more} columns more' if more > 0 else '')


def _some(names, count):
  return ', '.join(names[:count]) + (', ...' if len(names) > count else '')
