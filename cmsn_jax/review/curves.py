"""Features as curves: the few columns that say most, at a screen's width."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cmsn_jax.files import feature_files

# More curves than these cannot be told apart.
_MOST = 6
_LEVELS = 255


def columns(
  features: Float[np.ndarray, 't d'], count: int
) -> Int[np.ndarray, ' k']:
  """The columns that change most within the recording, in their own order.

  Each is measured by its own range (1st to 99th percentile), so that units do
  not matter: a column that lies at one value with rare outliers says little.

  Args:
    features: of a recording.
    count: how many at most.
  """
  low, high = np.percentile(features, [1, 99], axis=0)
  width = high - low
  spread = features.std(axis=0) / np.where(width > 0, width, np.inf)
  best = np.argsort(-spread, kind='stable')[: min(count, _MOST)]
  return np.sort(best[width[best] > 0])


def envelope(
  features: Float[np.ndarray, 't d'], first: int, last: int, buckets: int
) -> tuple[np.ndarray, np.ndarray]:
  """Smallest and largest value of each bucket of rows, `[n, d]` each.

  Args:
    features: of a recording.
    first: row.
    last: one past the last row.
    buckets: how many at most.
  """
  rows = features[first:last]
  size = max(1, -(-len(rows) // max(1, buckets)))
  starts = np.arange(0, len(rows), size)
  return (
    np.minimum.reduceat(rows, starts, axis=0),
    np.maximum.reduceat(rows, starts, axis=0),
  )


class Curves:
  """The curves of a store's recordings, the last one kept in memory."""

  def __init__(self, store: feature_files.FeatureStore):
    self._store = store
    self._kept: tuple[str, tuple] | None = None

  def _of(self, recording_id: str):
    if self._kept is None or self._kept[0] != recording_id:
      features = self._store.read(recording_id)
      chosen = columns(features, _MOST)
      values = features[:, chosen]
      low, high = (
        np.percentile(values, [0.5, 99.5], axis=0)
        if len(chosen)
        else np.zeros((2, 0))
      )
      scaled = (values - low) / np.where(high > low, high - low, 1.0)
      self._kept = recording_id, (chosen, np.clip(scaled, 0, 1))
    return self._kept[1]

  def view(
    self,
    recording_id: str,
    start_sec: float | int,
    end_sec: float | int,
    duration_sec: float | int,
    buckets: int = 1500,
  ) -> dict[str, Any]:
    """The curves of a span, each value a whole number of 0 to 255.

    Args:
      recording_id: one of the store's.
      start_sec: of the span.
      end_sec: of the span.
      duration_sec: of the recording; its rows are spread over it.
      buckets: points of a curve at most.
    """
    chosen, values = self._of(recording_id)
    total = len(values)
    rate = self._store.feature_fps or total / duration_sec
    first = min(max(0, int(start_sec * rate)), max(0, total - 1))
    last = min(total, max(first + 1, int(np.ceil(end_sec * rate)) + 1))
    low, high = envelope(values, first, last, buckets)
    size = max(1, -(-(last - first) // max(1, buckets)))
    return {
      'from': first / rate,
      'step': size / rate,
      'curves': [
        {
          'name': f'feature {column}',
          'low': np.rint(low[:, k] * _LEVELS).astype(int).tolist(),
          'high': np.rint(high[:, k] * _LEVELS).astype(int).tolist(),
        }
        for k, column in enumerate(chosen.tolist())
      ],
    }
