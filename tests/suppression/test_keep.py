import types

import numpy as np
import pytest

from cmsn_jax.suppression import keep, nms, threshold_nms

_SETTINGS = types.SimpleNamespace(sigma=0.75, threshold=0.65, greedy_tiou=0.8)
_SEGMENTS = np.array([[0.0, 2.0], [0.1, 2.0], [5.0, 6.0], [4.0, 6.0]])
_SCORES = np.array([0.5, 0.9, 0.2, 0.2])


def test_none_ranks_by_score_then_time_and_cuts():
  kept, scores = keep.select(_SEGMENTS, _SCORES, 'none', _SETTINGS, None)
  assert kept.tolist() == [1, 0, 3, 2]
  assert scores.tolist() == [0.9, 0.5, 0.2, 0.2]
  kept, _ = keep.select(_SEGMENTS, _SCORES, 'none', _SETTINGS, 2)
  assert kept.tolist() == [1, 0]


@pytest.mark.parametrize('method', ['soft', 'greedy'])
def test_the_others_are_those_of_their_modules(method):
  found = keep.select(_SEGMENTS, _SCORES, method, _SETTINGS, 3)
  expected = {
    'soft': lambda: nms.soft_nms(
      _SEGMENTS, _SCORES, sigma=0.75, threshold=0.65, max_proposals=3
    ),
    'greedy': lambda: nms.greedy_nms(
      _SEGMENTS, _SCORES, tiou=0.8, max_proposals=3
    ),
  }[method]()
  for one, other in zip(found, expected):
    np.testing.assert_array_equal(one, other)


def test_probabilities_are_for_threshold_and_else_averaged():
  chances = np.sort(np.random.default_rng(0).uniform(size=(4, 10)))[:, ::-1]
  found = keep.select(_SEGMENTS, chances, 'threshold', _SETTINGS, 3)
  expected = threshold_nms.select(_SEGMENTS, chances, max_proposals=3)
  np.testing.assert_array_equal(found[0], expected[0])
  _, scores = keep.select(_SEGMENTS, chances, 'none', _SETTINGS, 1)
  assert scores[0] == chances.mean(axis=1).max()


@pytest.mark.parametrize('method', ['hard', 'threshold'])
def test_what_cannot_be_is_an_error(method):
  with pytest.raises(ValueError, match=f"got '{method}'"):
    keep.select(_SEGMENTS, _SCORES, method, _SETTINGS, None)
