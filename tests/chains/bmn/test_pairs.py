import numpy as np
import pytest

from cmsn_jax.chains.bmn import pairs, predictor


def test_likely_borders_are_peaks_or_above_half_of_the_greatest():
  found = pairs.likely(np.array([0.1, 0.05, 0.2, 0.1, 0.45, 0.8, 0.6, 0.1]))
  # 0 and 2 are peaks, 4 and 6 above .4.
  np.testing.assert_array_equal(np.flatnonzero(found), [0, 2, 4, 5, 6])
  assert pairs.likely(np.array([0.3])).tolist() == [True]
  assert pairs.likely(np.zeros(0)).tolist() == []
  # A plateau keeps its ends.
  flat = pairs.likely(np.array([0.9, 0.0, 0.2, 0.2, 0.2, 0.0]))
  np.testing.assert_array_equal(np.flatnonzero(flat), [0, 2, 4])


def _slow(boundaries, maps, durations):
  found = {}
  for s in np.flatnonzero(pairs.likely(boundaries[:, 0])):
    for e in np.flatnonzero(pairs.likely(boundaries[:, 1])):
      if not 0 < e - s <= durations[-1]:
        continue
      k = min(
        range(len(durations)), key=lambda k: (abs(durations[k] - (e - s)), k)
      )
      if k and s + durations[k] > len(boundaries):
        k -= 1
      c, r = maps[s, k]
      found[s, e] = boundaries[s, 0] * boundaries[e, 1] * np.sqrt(c * r)
  return found


@pytest.mark.parametrize('durations', [(1, 2, 3, 4, 5, 6), (1, 2, 4, 8), (3,)])
@pytest.mark.parametrize('seed', range(3))
def test_every_likely_start_meets_every_likely_end(seed, durations):
  rng = np.random.default_rng(seed)
  boundaries = rng.uniform(0, 1, (14, 2))
  maps = rng.uniform(0, 1, (14, len(durations), 2))
  found = pairs.generate(boundaries, maps, np.array(durations))
  wanted = _slow(boundaries, maps, durations)
  assert {*zip(found.starts.tolist(), found.ends.tolist())} == set(wanted)
  for s, e, score in zip(*found):
    assert score == pytest.approx(wanted[s, e])


def test_windows_that_find_the_same_keep_the_better():
  segments = np.array([[0, 4], [2, 6], [0, 4], [1, 9]])
  kept, scores = predictor.best(segments, np.array([0.2, 0.5, 0.7, 0.5]), 0)
  assert kept.tolist() == [[0, 4], [1, 9], [2, 6]]
  assert scores.tolist() == [0.7, 0.5, 0.5]
  kept, scores = predictor.best(segments, np.array([0.2, 0.5, 0.7, 0.5]), 2)
  assert kept.tolist() == [[0, 4], [1, 9]]
  empty, _ = predictor.best(np.zeros((0, 2), int), np.zeros(0), 5)
  assert empty.shape == (0, 2)
