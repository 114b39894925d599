"""Segments `[start, end)`: units (seconds, frames, snippets) and tIoU.

A segment array is `[n, 2]`, float64 seconds at every border of the package.
Snippet `i` covers `[i / feature_fps, (i + 1) / feature_fps)` seconds; its time
is its centre.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped

# ActivityNet's ten, over which the average recall of AR@AN is taken.
TIOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
TIOU_THRESHOLDS.flags.writeable = False


def empty() -> Float64[np.ndarray, '0 2']:
  """An array of no segments."""
  return np.zeros((0, 2), np.float64)


def check(
  segments: object, name: str = 'segments'
) -> Float64[np.ndarray, 'n 2']:
  """The segments as a float64 `[n, 2]` array, checked.

  Zero-length segments pass: they are legal input with tIoU 0 everywhere.

  Args:
    segments: anything `np.asarray` takes; an empty sequence is no segments.
    name: what to call the argument in messages.
  Returns:
    the segments in the order given, a copy only where the dtype changes.
  Raises:
    ValueError: on a wrong shape, a non-finite number or an end before its
      start, naming the first bad row.
  """
  array = np.asarray(segments, np.float64)
  if array.size == 0 and array.ndim <= 2:
    return empty()
  if array.ndim != 2 or array.shape[1] != 2:
    raise ValueError(
      f'{name} must have shape [n, 2] (start, end), got {list(array.shape)}'
    )
  finite = np.isfinite(array).all(axis=1)
  if not finite.all():
    row = int(np.argmin(finite))
    raise ValueError(
      f'{name} must be finite, got {array[row].tolist()} in row {row}'
    )
  reversed_rows = array[:, 1] < array[:, 0]
  if reversed_rows.any():
    row = int(np.argmax(reversed_rows))
    raise ValueError(
      f'{name} must have start <= end, got {array[row].tolist()} in row {row}'
    )
  return array


def durations(segments: Shaped[np.ndarray, '*b 2']) -> Shaped[np.ndarray, '*b']:
  """End minus start, in the segments' own unit."""
  return segments[..., 1] - segments[..., 0]


def tiou(
  a: Shaped[np.ndarray, 'n 2'], b: Shaped[np.ndarray, 'm 2']
) -> Float64[np.ndarray, 'n m']:
  """Temporal intersection over union of every pair.

  `|a ∩ b| / |a ∪ b|`; a pair whose union has no length (both segments empty)
  has tIoU 0, as have touching segments.

  Args:
    a: segments, `[n, 2]`.
    b: segments in the same unit, `[m, 2]`.
  Returns:
    tIoU in 0..1, `[n, m]`, float64.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return paired_tiou(a[:, None], b[None, :])


def paired_tiou(
  a: Shaped[np.ndarray, '*#b 2'], b: Shaped[np.ndarray, '*#b 2']
) -> Float64[np.ndarray, '*b']:
  """Elementwise tIoU: `a[k]` with `b[k]`, broadcasting the leading axes."""
  intersection = np.minimum(a[..., 1], b[..., 1]) - np.maximum(
    a[..., 0], b[..., 0]
  )
  intersection = np.maximum(intersection, 0.0)
  union = durations(a) + durations(b) - intersection
  # A union of 0 means an intersection of 0: dividing by 1 then gives 0.
  return intersection / np.where(union > 0, union, 1.0)


def _check_rate(feature_fps: float | int) -> None:
  if not (np.isfinite(feature_fps) and feature_fps > 0):
    raise ValueError(
      f'feature_fps must be a positive number of snippets per second, got '
      f'{feature_fps}'
    )


def snippets_to_sec(
  starts: Int[np.ndarray, ' n'],
  ends: Int[np.ndarray, ' n'],
  feature_fps: float | int,
) -> Float64[np.ndarray, 'n 2']:
  """Seconds covered by snippets `starts..ends`, both inclusive.

  Args:
    starts: first snippet of each proposal, `[n]`.
    ends: last snippet of each proposal, inclusive, `[n]`.
    feature_fps: snippets per second.
  Returns:
    `[starts / feature_fps, (ends + 1) / feature_fps)`, `[n, 2]`, float64.
  Raises:
    ValueError: if feature_fps is not positive.
  """
  _check_rate(feature_fps)
  return np.stack([starts, ends + 1], axis=1).astype(np.float64) / feature_fps


def snippet_centres_sec(
  num_snippets: int, feature_fps: float | int
) -> Float64[np.ndarray, ' t']:
  """Time of each snippet's centre, `(i + .5) / feature_fps` seconds."""
  _check_rate(feature_fps)
  return (np.arange(num_snippets) + 0.5) / feature_fps


def unique(segments: Float[np.ndarray, 'n 2']) -> Float[np.ndarray, 'm 2']:
  """Identical segments once, in (start, end) order."""
  return np.unique(segments, axis=0)


def union(segments: Float[np.ndarray, 'n 2']) -> Float64[np.ndarray, 'm 2']:
  """What any of the segments covers: without overlaps, by start.

  Segments that touch become one; those without length are left out.
  """
  return _where_covered(segments, empty(), lambda own, _: own)


def without(
  segments: Float[np.ndarray, 'n 2'], others: Float[np.ndarray, 'k 2']
) -> Float64[np.ndarray, 'm 2']:
  """The parts of a `union` that no other segment covers."""
  return _where_covered(segments, others, lambda own, other: own & ~other)


def expanded(
  first: Int[np.ndarray, ' n'], count: Int[np.ndarray, ' n'], most: int
) -> Iterator[tuple[Int[np.ndarray, ' p'], Int[np.ndarray, ' p']]]:
  """Yields (k, first[k]), (k, first[k] + 1), ..., `count[k]` of each k.

  Args:
    first: of each slice of a sorted array.
    count: places in it.
    most: pairs yielded at once, unless one slice alone has more: bounds the
      memory of what is computed of them.
  """
  stop = np.cumsum(count)
  low = 0
  while low < len(first):
    done = stop[low - 1] if low else 0
    high = max(low + 1, int(np.searchsorted(stop, done + most, 'right')))
    own = count[low:high]
    before = np.repeat(stop[low:high] - own - first[low:high], own)
    index = np.repeat(np.arange(low, high), own)
    yield index, np.arange(done, stop[high - 1]) - before
    low = high


def _where_covered(first, second, rule):
  """Spans where a rule holds of (covered by first, covered by second)."""
  edges = np.unique(np.concatenate([np.ravel(first), np.ravel(second)]))
  if len(edges) < 2:
    return empty()
  inside = [_covered_steps(one, edges) for one in (first, second)]
  held = np.concatenate([[False], rule(*inside), [False]])
  changes = np.flatnonzero(held[1:] != held[:-1])
  return edges[changes].reshape(-1, 2).astype(np.float64)


def _covered_steps(segments, edges):
  """Whether any segment covers each step from an edge to the next."""
  deltas = np.zeros(len(edges), np.int64)
  np.add.at(deltas, np.searchsorted(edges, segments[:, 0]), 1)
  np.add.at(deltas, np.searchsorted(edges, segments[:, 1]), -1)
  return np.cumsum(deltas)[:-1] > 0


def mostly_within(
  segments: Float[np.ndarray, 'n 2'], spans: Float[np.ndarray, 'k 2']
) -> Bool[np.ndarray, ' n']:
  """Which segments have more than half of their length within the spans.

  Args:
    segments: any unit.
    spans: of the same unit; they may overlap.
  """
  spans = union(spans)
  if not len(spans):
    return np.zeros(len(segments), bool)
  # How much of the spans lies before a time.
  before = np.cumsum(np.append(0.0, durations(spans)))
  amount = np.stack([before[:-1], before[1:]], axis=1).ravel()
  within = durations(np.interp(segments, spans.ravel(), amount))
  return within > 0.5 * durations(segments)
