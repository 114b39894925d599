import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmsn_jax import segments as segments_lib
from cmsn_jax.suppression import threshold_nms


def slow_select(segments, probabilities, most):
  """Plain loops, every pair, no slices and no blocks."""
  table = threshold_nms.coverage_table()
  grid = np.linspace(0, 1, len(table))
  left = probabilities.copy()
  kept, gains = [], []
  while len(kept) < min(most, len(segments)):
    best = max(
      (i for i in range(len(segments)) if i not in kept),
      key=lambda i: (
        round(left[i].mean(), 12),
        -segments[i, 0],
        -segments[i, 1],
      ),
    )
    if left[best].mean() < 1e-4:
      break
    kept.append(best)
    gains.append(left[best].mean())
    for i in range(len(segments)):
      tiou = segments_lib.tiou(segments[i : i + 1], segments[best : best + 1])[
        0, 0
      ]
      for t in range(10):
        left[i, t] *= 1 - np.interp(tiou, grid, table[:, t])
  return np.array(kept), np.array(gains)


def random_candidates(rng, n, span=60.0):
  centre, half = rng.uniform(0, span, n), rng.uniform(0.2, 8, n)
  segments = np.stack([centre - half, centre + half], axis=1)
  probabilities = np.sort(rng.uniform(0, 1, (n, 10)), axis=1)[:, ::-1]
  return segments, np.ascontiguousarray(probabilities)


@pytest.mark.parametrize('block', [4, 128])
@pytest.mark.parametrize('seed', range(5))
def test_equals_plain_loops(seed, block, monkeypatch):
  monkeypatch.setattr(threshold_nms, '_BLOCK', block)
  span = 60.0 if block == 128 else 400.0  # Many that are chosen at once.
  segments, probabilities = random_candidates(
    np.random.default_rng(seed), 120, span
  )
  kept, gains = threshold_nms.select(segments, probabilities, max_proposals=40)
  expected, expected_gains = slow_select(segments, probabilities, 40)
  np.testing.assert_array_equal(kept, expected)
  np.testing.assert_allclose(gains, expected_gains, rtol=1e-9)


@pytest.mark.parametrize('block', [2, 8, 128])
@pytest.mark.parametrize('most', [1, 7, 25])
def test_equal_scores_equal_plain_loops(block, most, monkeypatch):
  monkeypatch.setattr(threshold_nms, '_BLOCK', block)
  rng = np.random.default_rng(most)
  start = rng.integers(0, 60, 80).astype(float)
  segments = np.stack([start, start + rng.choice([4.0, 6.0], 80)], axis=1)
  # Each twice, and of three scores.
  segments = np.concatenate([segments, segments])
  chance = np.tile(rng.choice([0.25, 0.5, 0.75], 80), 2)
  probabilities = np.repeat(chance[:, None], 10, axis=1)
  kept, gains = threshold_nms.select(
    segments, probabilities, max_proposals=most
  )
  expected, expected_gains = slow_select(segments, probabilities, most)
  np.testing.assert_array_equal(segments[kept], segments[expected])
  np.testing.assert_allclose(gains, expected_gains, rtol=1e-9)


def test_blocks_do_not_matter(monkeypatch):
  segments, probabilities = random_candidates(
    np.random.default_rng(1), 700, 300.0
  )
  whole = threshold_nms.select(segments, probabilities)
  monkeypatch.setattr(threshold_nms, '_BLOCK', 7)
  small = threshold_nms.select(segments, probabilities)
  np.testing.assert_array_equal(whole.indices, small.indices)


def test_table_is_a_probability_that_grows_with_overlap():
  table = threshold_nms.coverage_table()
  assert table.shape == (21, 10)
  assert np.all((table >= 0) & (table <= 1))
  assert np.all(np.diff(table, axis=0) >= 0)
  np.testing.assert_array_equal(table[0], 0)
  np.testing.assert_array_equal(table[-1], 1)
  # tIoU .6 with the chosen one: most likely covered at .5, never at .95.
  assert table[12, 0] > 0.7
  assert table[12, 9] == 0


def test_duplicate_is_worth_nothing_and_neighbour_keeps_high_thresholds():
  segments = np.array([[0.0, 10.0], [0.0, 10.0], [0.0, 8.0], [50.0, 60.0]])
  probabilities = np.ones((4, 10)) * np.array([[0.9], [0.9], [0.9], [0.3]])
  kept, gains = threshold_nms.select(segments, probabilities)
  # tIoU .8: worth .9 at thresholds that the first one cannot cover.
  assert kept.tolist() in ([2, 0, 3], [0, 2, 3])
  assert gains[0] == pytest.approx(0.9)
  assert 0.3 < gains[1] < 0.9


def test_far_apart_candidates_keep_their_scores():
  segments = np.array([[0.0, 1.0], [5.0, 6.0], [10.0, 11.0]])
  probabilities = np.array([[0.2], [0.9], [0.5]]) * np.ones((1, 10))
  kept, gains = threshold_nms.select(segments, probabilities)
  assert kept.tolist() == [1, 2, 0]
  np.testing.assert_allclose(gains, [0.9, 0.5, 0.2])


def test_ties_go_to_the_earlier_start_then_the_earlier_end():
  segments = np.array([[20.0, 21.0], [0.0, 2.0], [0.0, 0.5], [40.0, 41.0]])
  kept, _ = threshold_nms.select(segments, np.full((4, 10), 0.5))
  assert kept.tolist() == [2, 1, 0, 3]


@hypothesis.settings(max_examples=25)
@hypothesis.given(
  hnp.arrays(float, (12, 2), elements=st.floats(0, 20, width=32)),
  st.integers(0, 1000),
)
def test_order_of_the_input_does_not_matter(raw, seed):
  rng = np.random.default_rng(seed)
  segments = np.sort(raw, axis=1)
  probabilities = rng.uniform(0.1, 1, (12, 10))
  kept, gains = threshold_nms.select(segments, probabilities)
  order = rng.permutation(12)
  again, again_gains = threshold_nms.select(
    segments[order], probabilities[order]
  )
  np.testing.assert_allclose(again_gains, gains)
  assert np.all(np.diff(gains) <= 1e-12)
  assert len(set(kept.tolist())) == len(kept) == len(again)


def test_empty_and_limit():
  none = threshold_nms.select(np.zeros((0, 2)), np.zeros((0, 10)))
  assert len(none.indices) == len(none.scores) == 0
  segments, probabilities = random_candidates(np.random.default_rng(0), 30)
  kept, _ = threshold_nms.select(segments, probabilities, max_proposals=4)
  assert len(kept) == 4


@pytest.mark.parametrize(
  ('probabilities', 'message'),
  [
    (np.zeros((2, 9)), r'shape \(2, 10\)'),
    (np.full((2, 10), 1.5), 'within'),
    (np.full((2, 10), np.nan), 'within'),
  ],
)
def test_bad_probabilities_are_refused(probabilities, message):
  with pytest.raises(ValueError, match=message):
    threshold_nms.select(np.array([[0.0, 1.0], [1.0, 2.0]]), probabilities)


@pytest.mark.parametrize('least', [0.0, -1.0, float('nan')])
def test_what_gains_nothing_cannot_be_asked_for(least):
  # Nothing would ever be below it.
  segments = np.array([[0.0, 1.0], [0.0, 1.0]])
  with pytest.raises(ValueError, match='min_score must be above 0'):
    threshold_nms.select(segments, np.full((2, 10), 0.5), min_score=least)


def test_bad_limit_is_refused():
  with pytest.raises(ValueError, match='at least 1'):
    threshold_nms.select(
      np.array([[0.0, 1.0]]), np.ones((1, 10)), max_proposals=0
    )


def test_mean_coverage_is_that_of_the_table_and_between_its_rows():
  table = threshold_nms.coverage_table().mean(axis=1)
  found = threshold_nms.mean_coverage(np.array([[0.0, 0.5], [0.525, 1.0]]))
  between = (table[10] + table[11]) / 2
  np.testing.assert_allclose(found, [[table[0], table[10]], [between, 1.0]])
