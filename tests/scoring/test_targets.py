import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.scoring import targets


def _mine(tiou, seed=0, cap=None):
  return targets.mine(np.asarray(tiou, float), np.random.default_rng(seed), cap)


def _counts(tiou, chosen):
  picked = np.asarray(tiou, float)[chosen]
  big = (picked > 0.6).sum()
  small = (picked <= 0.2).sum()
  return big, len(picked) - big - small, small


def test_best_tiou_by_hand():
  proposals = np.array([[0.0, 4.0], [10.0, 12.0], [5.0, 5.0]])
  truth = np.array([[2.0, 4.0], [0.0, 3.0], [10.0, 12.0]])
  got = targets.best_tiou(proposals, truth)
  np.testing.assert_allclose(got, [0.75, 1, 0])
  np.testing.assert_array_equal(
    targets.best_tiou(proposals, np.zeros((0, 2))), [0, 0, 0]
  )
  assert targets.best_tiou(np.zeros((0, 2)), truth).shape == (0,)


def test_as_many_of_each():
  tiou = [0.9, 0.7, 0.5, 0.4, 0.3, 0.25, 0.1, 0.0, 0.15]
  chosen = _mine(tiou)
  assert _counts(tiou, chosen) == (2, 2, 2)
  assert {0, 1} <= set(chosen)
  assert (np.diff(chosen) > 0).all()


def test_borders_belong_to_the_lower_group():
  assert _counts([0.61, 0.6, 0.2], _mine([0.61, 0.6, 0.2])) == (1, 1, 1)
  assert _counts([0.6, 0.6, 0.2, 0.2], _mine([0.6, 0.6, 0.2, 0.2])) == (0, 1, 1)


def test_without_good_ones_one_of_the_others():
  assert _counts([0.5, 0.4, 0.1, 0.1], _mine([0.5, 0.4, 0.1, 0.1])) == (0, 1, 1)
  assert len(_mine([])) == 0


def test_cap_limits_each_group():
  tiou = np.linspace(0, 1, 101)
  assert _counts(tiou, _mine(tiou, cap=7)) == (7, 7, 7)


@given(
  tiou=st.lists(st.floats(0, 1), max_size=60),
  seed=st.integers(0, 1000),
  cap=st.none() | st.integers(1, 5),
)
def test_counts_and_repeatability(tiou, seed, cap):
  chosen = _mine(tiou, seed, cap)
  np.testing.assert_array_equal(chosen, _mine(tiou, seed, cap))
  assert len(set(chosen)) == len(chosen)
  available = _counts(tiou, np.arange(len(tiou)))
  n = max(1, available[0])
  n = n if cap is None else min(n, cap)
  assert _counts(tiou, chosen) == tuple(min(n, a) for a in available)


def test_every_middling_one_can_be_chosen():
  tiou = [0.9, 0.5, 0.4, 0.3, 0.1]
  seen = {int(_mine(tiou, seed)[1]) for seed in range(40)}
  assert seen == {1, 2, 3}


def test_bad_input_is_named():
  with pytest.raises(ValueError, match='got 0'):
    _mine([0.5], cap=0)
  with pytest.raises(ValueError, match='index 1'):
    _mine([0.5, np.nan])
