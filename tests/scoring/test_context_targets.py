import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from cmsn_jax import segments as segments_lib
from cmsn_jax.scoring import context_targets

INSTANCES = np.array([[10.0, 20.0], [25.0, 29.0], [60.0, 90.0]])
DURATIONS = context_targets.duration_range(np.array([10.0, 4.0, 30.0]))


@hypothesis.settings(max_examples=40)
@hypothesis.given(
  st.integers(0, 1000), st.integers(1, 300), st.integers(0, 3),
  st.integers(1, 64),
)  # fmt: skip
def test_samples_lie_in_the_window(seed, length, number, count):
  drawn = context_targets.sample(
    INSTANCES[:number], length, count, DURATIONS, np.random.default_rng(seed)
  )
  assert drawn.shape == (count, 2)
  assert drawn.min() >= 0
  assert drawn.max() <= length
  assert np.all(drawn[:, 1] > drawn[:, 0])


def test_same_generator_same_samples():
  first, second = (
    context_targets.sample(
      INSTANCES, 100, 50, DURATIONS, np.random.default_rng(3)
    )
    for _ in range(2)
  )
  np.testing.assert_array_equal(first, second)


def test_samples_cover_all_levels_of_tiou():
  drawn = context_targets.sample(
    INSTANCES, 100, 2000, DURATIONS, np.random.default_rng(0)
  )
  tiou, _ = context_targets.assign(drawn, INSTANCES)
  counts = np.histogram(tiou, [0, 0.3, 0.5, 0.7, 0.9, 1.0])[0]
  assert np.all(counts > 100)


def test_assign_by_hand():
  tiou, offsets = context_targets.assign(
    np.array([[12.0, 20.0], [22.0, 30.0], [200.0, 210.0]]), INSTANCES
  )
  np.testing.assert_allclose(tiou, [0.8, 0.5, 0.0])
  np.testing.assert_allclose(offsets[:2], [[-0.25, 0], [3 / 8, -1 / 8]])
  # Far away: cut to one duration.
  assert np.all(np.abs(offsets) <= 1)


def test_offsets_lead_to_the_instance():
  rng = np.random.default_rng(1)
  drawn = context_targets.sample(INSTANCES, 100, 300, DURATIONS, rng)
  tiou, offsets = context_targets.assign(drawn, INSTANCES)
  moved = drawn + offsets * (drawn[:, 1:] - drawn[:, :1])
  better = segments_lib.tiou(moved, INSTANCES).max(axis=1)
  assert np.all(better[tiou > 0.5] > 0.999)


def test_no_instances():
  tiou, offsets = context_targets.assign(INSTANCES, np.zeros((0, 2)))
  assert not tiou.any() and not offsets.any()
  with pytest.raises(ValueError, match='at least one'):
    context_targets.duration_range(np.zeros(0))


def test_label_targets_by_hand():
  proposals = np.array([[0.0, 10.0], [0.0, 4.0], [20.0, 30.0], [2.0, 12.0]])
  # Of label 2 two instances, one upon another of label 1; label 3 is not here.
  instances = np.array([[0.0, 10.0], [0.0, 8.0], [50.0, 60.0]])
  found = context_targets.label_targets(
    proposals, instances, np.array([1, 2, 2]), np.array([1.0, 2.0, 4.0, 8.0])
  )
  # tIoU with labels 1 and 2: 1, .8; .4, .5; 0, 0; 8/12, 6/12.
  shares = [
    [0, 1 / 1.8, 0.8 / 1.8, 0], [0, 0.4 / 0.9, 0.5 / 0.9, 0], [1, 0, 0, 0],
    [0, 8 / 14, 6 / 14, 0],
  ]  # fmt: skip
  np.testing.assert_allclose(found, np.array(shares) * [1, 2, 4, 8], rtol=1e-5)


def test_a_proposal_far_from_all_instances_is_none():
  proposals = np.array([[0.0, 10.0], [0.0, 10.0]])
  instances = np.array([[0.0, 2.9]])
  one = context_targets.label_targets(
    proposals, instances, np.array([1]), np.ones(2)
  )
  np.testing.assert_array_equal(one, [[1, 0], [1, 0]])
  none = context_targets.label_targets(
    proposals, np.zeros((0, 2)), np.zeros(0, int), np.ones(2)
  )
  np.testing.assert_array_equal(none, one)
  # Where proposals get no labels there is nothing to learn.
  empty = context_targets.label_targets(
    proposals, instances, np.array([1]), np.zeros(0)
  )
  assert empty.shape == (2, 0)


def test_rare_labels_count_more_and_instances_one_on_average():
  counts = np.array([100, 4, 25])
  found = context_targets.label_weights(counts)
  assert found[0] == 1
  np.testing.assert_allclose(found[1:] / found[1], [1, 5, 2])
  np.testing.assert_allclose((found[1:] * counts).sum() / counts.sum(), 1)
  np.testing.assert_allclose(context_targets.label_weights(np.array([7, 7])), 1)
