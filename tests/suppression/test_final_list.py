"""Filters of a ranked list: hand-computed, and what holds for any list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.suppression import final_list

_SEGMENTS = np.array(
  [[0.0, 10.0], [5.0, 15.0], [10.0, 12.0], [11.0, 20.0], [40.0, 50.0]]
)
_SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.1])


def _select(**settings):
  found = final_list.select(
    _SEGMENTS, _SCORES, 120.0, final_list.Settings(**settings)
  )
  return found.tolist()


def test_as_it_stands_it_ranks_only():
  assert _select() == [0, 1, 2, 3, 4]
  order = final_list.select(
    _SEGMENTS[:3], np.array([0.1, 0.5, 0.5]), 9.0, final_list.Settings()
  )
  assert order.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
  ('least', 'expected'), [(0.7, [0, 1, 2]), (0.71, [0, 1]), (1.0, []), (-1, 5)]
)
def test_the_least_score_itself_is_kept(least, expected):
  found = _select(min_score=least)
  assert found == expected or len(found) == expected


def test_what_overlaps_a_better_one_is_dropped():
  # The second overlaps the first; the third only touches it, and overlaps the
  # dropped second, which is no reason; the fourth overlaps the third.
  assert _select(non_overlapping=True) == [0, 2, 4]


@pytest.mark.parametrize(
  ('rate', 'expected'), [(0.5, 1), (0.6, 2), (1.0, 2), (1.5, 3), (9.0, 5)]
)
def test_so_many_a_minute_of_a_video_of_two(rate, expected):
  assert _select(max_per_minute=rate) == list(range(expected))


def test_the_limit_counts_what_the_others_left():
  found = _select(min_score=0.5, non_overlapping=True, max_per_minute=1.0)
  assert found == [0, 2]


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'max_per_minute': -1.0}, '--max_per_minute must be at least 0 .* got -1'),
    ({'max_per_minute': np.inf}, '--max_per_minute'),
    ({'min_score': np.nan}, '--min_score must be a number, got nan'),
  ],
)
def test_settings_that_cannot_be(settings, message):
  with pytest.raises(ValueError, match=message):
    final_list.Settings(**settings).check()


_lists = st.lists(
  st.tuples(
    st.integers(0, 30), st.integers(0, 8), st.integers(0, 6)
  ), max_size=25
)  # fmt: skip


def _arrays(rows):
  rows = np.array(rows, float).reshape(-1, 3)
  return rows[:, :2].cumsum(axis=1), rows[:, 2]


def _slow(segments, scores):
  """Best first, each against all that are kept."""
  kept = []
  for k in sorted(range(len(scores)), key=lambda k: -scores[k]):
    (s, e) = segments[k]
    if all(
      (s >= b or e <= a) and s != a for a, b in (segments[j] for j in kept)
    ):
      kept.append(k)
  return kept


@given(_lists)
def test_apart_equals_a_slow_reference(rows):
  segments, scores = _arrays(rows)
  found = final_list.select(
    segments, scores, 60.0, final_list.Settings(non_overlapping=True)
  )
  assert found.tolist() == _slow(segments, scores)


@given(_lists, st.integers(0, 6), st.booleans(), st.floats(0, 20))
def test_a_higher_least_score_leaves_the_beginning_of_the_same_list(
  rows, least, apart, rate
):
  segments, scores = _arrays(rows)
  settings = final_list.Settings(None, apart, rate)
  whole = final_list.select(segments, scores, 60.0, settings)
  part = final_list.select(
    segments, scores, 60.0, settings._replace(min_score=float(least))
  )
  assert part.tolist() == whole[scores[whole] >= least].tolist()
  assert not rate or len(whole) <= rate + 1
