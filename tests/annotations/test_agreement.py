import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax import segments as segments_lib
from cmsn_jax.annotations import activitynet, agreement


def _video(rows, duration=100.0, name='v'):
  segments = np.array([row[:2] for row in rows], np.float64).reshape(-1, 2)
  labels = tuple(row[2] if len(row) > 2 else 'x' for row in rows)
  return activitynet.Video(name, 'training', duration, segments, labels)


def _annotations(videos):
  document = {
    'database': {
      name: {
        'subset': 'training',
        'duration': video.duration_sec,
        'annotations': [
          {'segment': list(row), 'label': label}
          for row, label in zip(video.segments.tolist(), video.labels)
        ],
      }
      for name, video in videos.items()
    }
  }
  return activitynet.parse(document, 'made')


def test_pairs_are_one_to_one_and_the_best_come_first():
  first = np.array([[0.0, 10.0], [20.0, 30.0], [50.0, 60.0]])
  # The second overlaps the first one's first better than the first does.
  second = np.array([[4.0, 12.0], [0.0, 9.0], [29.9, 40.0]])
  found = agreement.pairs(first, second)
  assert found.first.tolist() == [0] and found.second.tolist() == [1]
  assert found.tiou.tolist() == [0.9]
  # 20-30 and 29.9-40 share a tenth of a second of twenty: no pair.
  assert len(agreement.pairs(first, second, least=0.001).tiou) == 2


@given(
  st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=5),
  st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=5),
)
def test_pairs_are_those_of_a_plain_loop(first, second):
  a = np.array([(s, s + d) for s, d in first], float).reshape(-1, 2)
  b = np.array([(s, s + d) for s, d in second], float).reshape(-1, 2)
  tiou = segments_lib.tiou(a, b)
  left = set(itertools.product(range(len(a)), range(len(b))))
  expected = set()
  while left:
    i, j = max(left, key=lambda p: (tiou[p], -p[0], -p[1]))
    if tiou[i, j] < agreement.LEAST_TIOU:
      break
    expected.add((i, j))
    left = {(k, m) for k, m in left if k != i and m != j}
  found = agreement.pairs(a, b)
  assert set(zip(found.first.tolist(), found.second.tolist())) == expected


def test_figures_by_hand():
  first = {'v': _video([(0, 10, 'a'), (20, 30, 'b')])}
  second = {'v': _video([(0, 8, 'a'), (20, 30, 'c'), (60, 61, 'a')])}
  found = agreement.compare(first, second)
  assert (found.recordings, found.instances, found.pairs) == (1, (2, 3), 2)
  assert found.matched[0.5] == found.matched[0.7] == pytest.approx(4 / 5)
  assert found.matched[0.9] == pytest.approx(2 / 5)
  assert found.label_agreement == 0.5
  assert found.border_sec == (0.0, 1.0)
  # Seconds: both a 8, a and nothing 2, b and c 10, nothing and a 1, nothing 79.
  same = (8 + 79) / 100
  chance = (10 * 9 + 10 * 0 + 80 * 81 + 0 * 10) / 100**2
  assert found.kappa == pytest.approx((same - chance) / (1 - chance))


def test_a_rater_agrees_with_herself():
  one = {'v': _video([(0, 10, 'a'), (5, 30, 'b')])}
  found = agreement.compare(one, one)
  assert found.kappa == found.label_agreement == found.matched[0.9] == 1.0
  assert found.border_sec == (0.0, 0.0)


def test_nobody_marks_anything():
  none = {'v': _video([])}
  found = agreement.compare(none, none)
  assert (found.pairs, found.kappa) == (0, 1.0)
  assert np.isnan(found.label_agreement)


def test_no_recording_in_common_is_an_error():
  with pytest.raises(ValueError, match="one has 'a', the other 'b'"):
    agreement.compare({'a': _video([])}, {'b': _video([])})


@pytest.mark.parametrize(
  ('how', 'expected'),
  [
    ('union', [(0, 12), (20, 30), (60, 61)]),
    ('both', [(2, 10)]),
    ('mean', [(1, 11)]),
  ],
)
def test_merging_by_hand(how, expected):
  first = _annotations({'v': _video([(0, 10), (20, 30)]), 'w': _video([])})
  second = _annotations({'v': _video([(2, 12), (60, 61)])})
  merged = agreement.merge(first, second, how)
  rows = [tuple(row) for row in merged.videos['v'].segments.tolist()]
  assert rows == expected
  assert merged.videos['v'].labels == ('x',) * len(expected)
  assert ('w' in merged.videos) == (how == 'union')


def test_an_unknown_way_of_merging_is_an_error():
  one = _annotations({'v': _video([(0, 10)])})
  with pytest.raises(ValueError, match="got 'max'"):
    agreement.merge(one, one, 'max')


def _partly(rows, ignore):
  return dataclasses.replace(
    _video(rows), ignore=np.array(ignore, np.float64).reshape(-1, 2)
  )


def test_what_one_has_not_looked_at_is_no_disagreement():
  # The second stopped after 50 s.
  first = _video([(10, 20), (60, 70)])
  second = _partly([(10, 20)], [(50, 100)])
  found = agreement.compare({'v': first}, {'v': second})
  assert found.instances == (1, 1) and found.pairs == 1
  assert found.kappa == pytest.approx(1.0)
  assert found.matched[0.9] == 1.0
  plain = agreement.compare({'v': first}, {'v': _video([(10, 20)])})
  assert plain.instances == (2, 1) and plain.kappa < 0.7


@pytest.mark.parametrize('how', agreement.MERGES)
def test_a_merge_ignores_what_neither_has_looked_at(how):
  first = _partly([(10, 20), (60, 70)], [(30, 40), (90, 100)])
  second = _partly([(10, 20), (32, 38), (45, 48)], [(50, 100)])
  merged = agreement._merged(first, second, how)
  np.testing.assert_array_equal(merged.ignore, [[90, 100]])
  # Marked by the only one who looked there; 45-48 both looked at.
  alone = [[45, 48]] if how == 'union' else []
  np.testing.assert_array_equal(
    merged.segments, [[10, 20], [32, 38], *alone, [60, 70]]
  )
