import numpy as np
import pytest

from cmsn_jax import segments
from cmsn_jax.chains.bmn import targets


def test_borders_are_covered_by_a_tenth_of_the_duration_on_either_side():
  # 20 snippets: from 3 to 7 is start, from 23 to 27 end.
  found = targets.boundaries(np.array([[5.0, 25.0]]), 30)
  wanted = np.zeros((30, 2))
  wanted[[3, 7], 0] = wanted[[23, 27], 1] = 0.5
  wanted[4:7, 0] = wanted[24:27, 1] = 1
  np.testing.assert_allclose(found, wanted)


def test_of_short_instances_it_is_a_snippet():
  found = targets.boundaries(np.array([[2.25, 4.0]]), 6)
  # [1.25, 3.25] of [0.5, 1.5], [1.5, 2.5], [2.5, 3.5].
  np.testing.assert_allclose(found[:, 0], [0, 0.25, 1, 0.75, 0, 0])


def test_the_nearest_region_counts_and_none_is_none():
  two = targets.boundaries(np.array([[1.0, 3.0], [1.5, 4.0]]), 5)
  np.testing.assert_allclose(two[:, 0], [0.5, 1, 1, 0, 0])
  assert not targets.boundaries(np.zeros((0, 2)), 5).any()
  assert not targets.confidences(np.zeros((0, 2)), 5, (1, 2)).any()


@pytest.mark.parametrize('count', [1, 3])
def test_confidences_are_the_best_tiou(count):
  rng = np.random.default_rng(count)
  instances = np.sort(rng.uniform(-3, 12, (count, 2)), axis=1)
  durations = (1, 2, 4, 9)
  found = targets.confidences(instances, 9, durations)
  for t in range(9):
    for k, duration in enumerate(durations):
      one = np.array([[t, t + duration]], float)
      wanted = segments.tiou(one, instances).max()
      assert found[t, k] == pytest.approx(wanted, abs=1e-6)
