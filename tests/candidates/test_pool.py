import types

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.candidates import pool, runs


def _window(start, length):
  return types.SimpleNamespace(start=start, probabilities=np.zeros((length, 6)))


def _candidates(rows):
  starts, ends, scores = (list(c) for c in zip(*rows)) if rows else ([],) * 3
  return runs.Candidates(
    np.array(starts, np.int64),
    np.array(ends, np.int64),
    np.array(scores, np.float64),
    np.zeros(len(rows)),
  )


def _kept(found):
  return [
    [
      (int(s) + window.start, int(e) + window.start, float(p))
      for s, e, p in zip(*candidates[:3])
    ]
    for window, candidates in pool.distinct(found)
  ]


def test_a_segment_stays_where_it_scores_best():
  found = [
    (_window(0, 8), _candidates([(4, 6, 0.9), (5, 7, 0.2), (0, 3, 0.5)])),
    (_window(4, 8), _candidates([(0, 2, 0.3), (1, 3, 0.4), (2, 7, 0.6)])),
    (_window(8, 8), _candidates([(0, 2, 0.7)])),
  ]
  assert _kept(found) == [
    [(4, 6, 0.9), (0, 3, 0.5)],
    [(5, 7, 0.4), (6, 11, 0.6)],
    [(8, 10, 0.7)],
  ]


def test_of_equal_scores_the_earliest_window_keeps_the_segment():
  found = [
    (_window(0, 8), _candidates([(4, 6, 0.5)])),
    (_window(4, 8), _candidates([(0, 2, 0.5)])),
  ]
  assert _kept(found) == [[(4, 6, 0.5)], []]


def test_only_overlapping_windows_are_held_back():
  read = []

  def windows():
    for start in range(0, 40, 4):
      read.append(start)
      yield _window(start, 8), _candidates([(0, 5, 1.0)])

  stream = pool.distinct(windows())
  assert next(stream)[0].start == 0
  # The one at 8 ends what the first window can share.
  assert read == [0, 4, 8]
  assert [window.start for window, _ in stream] == list(range(4, 40, 4))


_PAIRS = st.dictionaries(
  st.tuples(st.integers(0, 11), st.integers(0, 11)).map(sorted).map(tuple),
  st.sampled_from([0.25, 0.5, 1.0]),
  max_size=12,
)


@given(st.lists(_PAIRS, max_size=6), st.integers(1, 12))
def test_equals_a_table_of_all_segments(tables, hop):
  found = [
    (_window(hop * k, 12), _candidates([(*p, v) for p, v in t.items()]))
    for k, t in enumerate(tables)
  ]
  best = {}
  for k, table in enumerate(tables):
    for (start, end), score in table.items():
      key = start + hop * k, end + hop * k
      if key not in best or score > best[key][0]:
        best[key] = score, k
  expected = [
    [
      (start + hop * k, end + hop * k, score)
      for (start, end), score in table.items()
      if best[start + hop * k, end + hop * k][1] == k
    ]
    for k, table in enumerate(tables)
  ]
  assert _kept(found) == expected


@given(
  st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 400)), max_size=300),
  st.sampled_from([16, 64]),
)
def test_blocks_hold_each_proposal_once_within_their_stretch(pairs, window):
  starts = np.array([s for s, _ in pairs], int)
  ends = starts + np.array([d for _, d in pairs], int)
  seen, lengths = [], set()
  for block, start, length in pool.blocks(starts, ends, window, most=8):
    assert (starts[block] >= start).all()
    assert (ends[block] < start + length).all()
    assert len(block) <= 8
    seen += block.tolist()
    lengths.add(length)
  assert sorted(seen) == list(range(len(pairs)))
  assert len(lengths) <= 1
