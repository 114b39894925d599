"""What is known of the training features: mean, deviation, quantiles."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cmsn_jax.data import sources

# Values read at a time for statistics: bounds memory, however long a video and
# wide its features.
_BLOCK_VALUES = 1 << 21
# Values that quantiles are taken of: of more snippets, evenly spread ones.
_MAX_VALUES = 1 << 24
# Likewise, where only the bulk of each feature is looked at.
_FEW_VALUES = 1 << 20
# Quantiles between which the bulk of a feature lies.
_BULK = (0.02, 0.98)
# Deviations that are so many times the bulk come from single values.
_FAR_OUT = 100.0


def statistics_of(
  store: sources.FeatureStore,
  video_ids: Iterable[str],
  pool: int = 1,
  deviation: bool = False,
  *,
  quantiles: bool = False,
) -> sources.Statistics:
  """Mean, deviation and quantiles over all snippets of the given videos.

  A feature that never changes, but for rounding, has deviation 1. All limits
  are relative to the feature: its unit makes no difference.

  Args:
    store: see `FeatureSource`.
    video_ids: the training videos, never those evaluated on.
    pool: see `FeatureSource`.
    deviation: likewise.
    quantiles: take them too, for normal scores.
  """
  video_ids = list(video_ids)
  rows = sum(store.num_snippets(video_id) for video_id in video_ids)
  floor = None
  if deviation and pool > 1:
    every = _every(rows * store.dim, _FEW_VALUES)
    found, sample = _moments(_blocks(store, video_ids, 1, None), every)
    bulk = _bulk(_quantiles(sample, _BULK))
    spread = np.where(_wild(found.deviation, bulk), bulk, found.deviation)
    floor = sources.FLOOR * np.where(found.varies, spread, 1.0)
    floor = floor.astype(np.float32)
  width = store.dim * (1 if floor is None else 2)
  most = _MAX_VALUES if quantiles else _FEW_VALUES
  every = _every(-(-rows // pool) * width, most)
  found, sample = _moments(_blocks(store, video_ids, pool, floor), every)
  # Both at once: to sort the values is all the work.
  levels = (*_BULK, *(sources.LEVELS if quantiles else ()))
  at = _quantiles(sample, levels)
  wild = _wild(found.deviation, _bulk(at))
  return sources.Statistics(
    np.asarray(found.mean, np.float32),
    np.where(found.varies, found.deviation, 1.0).astype(np.float32),
    at[len(_BULK) :] if quantiles else None,
    floor,
    tuple(np.flatnonzero(~found.changes).tolist()),
    tuple(np.flatnonzero(wild).tolist()),
  )


class _Moments(NamedTuple):
  """Of each feature; `varies` and `changes` by more than rounding."""

  mean: np.ndarray
  deviation: np.ndarray
  varies: np.ndarray
  # Within a block, hence within a recording: not from one to the next only.
  changes: np.ndarray


def _moments(blocks, every):
  """The moments, and an evenly spread sample of the rows.

  Missing values (NaN) do not count; a feature without any has mean 0.
  """
  count, rows, mean, square, changes = 0, 0, 0.0, 0.0, np.False_
  sample = []
  for found in blocks:
    sample.append(found[-rows % every :: every].astype(np.float32))
    rows += len(found)
    own, here, total = len(found), found.mean(axis=0), np.sum
    if np.isnan(here).any():
      own, total = (~np.isnan(found)).sum(axis=0), np.nansum
      here = total(found, axis=0) / np.maximum(own, 1)
    # Chan et al.: exact for features far from zero, unlike sums of squares.
    shift, seen = here - mean, count + own
    square = square + shift**2 * (count * own / np.maximum(seen, 1))
    found -= here
    np.square(found, out=found)
    within = total(found, axis=0)
    changes |= _more_than_rounding(here, np.sqrt(within / np.maximum(own, 1)))
    square = square + within
    mean, count = mean + shift * (own / np.maximum(seen, 1)), seen
  deviation = np.sqrt(square / np.maximum(count, 1))
  varies = _more_than_rounding(mean, deviation)
  moments = _Moments(mean, deviation, varies, varies & changes)
  return moments, np.concatenate(sample)


def _more_than_rounding(mean, deviation):
  """Of the root mean square, not the largest value: a rare event varies."""
  size = np.sqrt(np.square(mean) + np.square(deviation))
  return np.atleast_1d(deviation > sources.ROUNDING * size)


def _every(values, most):
  return max(1, -(-values // most))


def _quantiles(rows, levels):
  """Of each feature by itself: sorting them all at once would need copies."""
  found = np.empty((len(levels), rows.shape[1]), np.float32)
  for column in range(rows.shape[1]):
    values = rows[:, column]
    values = values[~np.isnan(values)]
    found[:, column] = np.quantile(values, levels) if len(values) else 0.0
  return found


def _bulk(quantiles):
  """How far the bulk of each feature lies apart; its quantiles come first."""
  low, high = quantiles[: len(_BULK)].astype(np.float64)
  return high - low


def _wild(deviation, bulk):
  """Features of which single values make the bulk one value beside them."""
  return (bulk > 0) & (deviation > _FAR_OUT * bulk)


def _blocks(store, video_ids, pool, floor):
  """Pooled snippets of the videos, float64, a bounded number at a time."""
  block = max(1, _BLOCK_VALUES // (store.dim * pool)) * pool
  deviation = floor is not None
  for video_id in video_ids:
    total = store.num_snippets(video_id)
    for start in range(0, total, block):
      rows = store.read(video_id, start, min(start + block, total))
      found = sources.pooled(
        rows, pool, deviation, floor if deviation else sources.FLOOR
      )
      yield np.array(found, np.float64)
