"""Overlapping pairs, against all pairs."""

import numpy as np
import pytest

from cmsn_jax import segments
from cmsn_jax.evaluation import diagnostics, overlaps


def _random(rng, count):
  starts = rng.uniform(0, 50, count).round(1)
  return np.stack([starts, starts + rng.exponential(3, count).round(1)], axis=1)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize(
  ('block', 'few'), [(1, 0), (7, 0), (1 << 20, 0), (1, 1 << 13)]
)
def test_pairs_are_all_that_overlap(seed, block, few, monkeypatch):
  monkeypatch.setattr(overlaps, '_BLOCK', block)
  monkeypatch.setattr(overlaps, '_FEW', few)
  rng = np.random.default_rng(seed)
  left, right = _random(rng, 23), _random(rng, 31)
  right[0] = [0, 60]  # one that reaches over all others
  table = np.zeros((23, 31))
  for index, other, tiou in overlaps.pairs(left, right):
    assert (table[index, other] == 0).all()
    table[index, other] = tiou
  np.testing.assert_array_equal(table, segments.tiou(left, right))
  np.testing.assert_array_equal(
    overlaps.best_tiou(left, right), table.max(axis=1)
  )


@pytest.mark.parametrize('seed', range(5))
def test_pairs_are_of_one_group(seed):
  rng = np.random.default_rng(seed)
  left, right = _random(rng, 40) + 1e7, _random(rng, 50) + 1e7
  own, other = rng.integers(0, 1000, 40), rng.integers(0, 1000, 50)
  own[:20], other[:25] = 3, 3
  table = np.zeros((40, 50))
  for index, place, tiou in overlaps.pairs(left, right, own, other):
    table[index, place] = tiou
  same = own[:, None] == other
  np.testing.assert_array_equal(table, segments.tiou(left, right) * same)


def test_nothing_with_nothing():
  none = segments.empty()
  one = np.array([[0.0, 1.0]])
  for left, right in ((none, none), (none, one), (one, none)):
    assert sum(len(tiou) for _, _, tiou in overlaps.pairs(left, right)) == 0
  # Segments of no length, or that touch, do not overlap.
  touching = np.array([[1.0, 2.0], [0.5, 0.5]])
  assert overlaps.best_tiou(one, touching).tolist() == [0]


@pytest.mark.parametrize('block', [3, 1 << 20])
def test_matching_by_pairs_is_matching_by_the_whole_table(block, monkeypatch):
  monkeypatch.setattr(overlaps, '_BLOCK', block)
  monkeypatch.setattr(overlaps, '_FEW', 0)
  rng = np.random.default_rng(7)
  true = [_random(rng, 9), _random(rng, 4)]
  # Repeated, so that equal tIoUs occur at several ranks.
  proposed = [np.tile(_random(rng, 20), (3, 1)) for _ in true]
  found, tious = diagnostics.match(
    true, [('a',) * 9, ('b',) * 4], proposed, top=30
  )
  tables = [segments.tiou(a, b) for a, b in zip(true, proposed)]
  for table, tiou in zip(tables, tious):
    np.testing.assert_array_equal(tiou, table.max(axis=0))
  best = np.concatenate([table[:, :30].max(axis=1) for table in tables])
  rank = np.concatenate([table[:, :30].argmax(axis=1) for table in tables])
  np.testing.assert_array_equal(found.tiou, best)
  np.testing.assert_array_equal(found.rank, np.where(best > 0, rank, -1))
