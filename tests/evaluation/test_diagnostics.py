"""Recall by group, calibration, misses and confusion, against slow loops."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from cmsn_jax import segments
from cmsn_jax.evaluation import diagnostics


def _spans(*rows):
  return np.array(rows, np.float64).reshape(-1, 2)


def _instances(tiou, labels=None, durations=None, video=None):
  count = len(tiou)
  durations = np.ones(count) if durations is None else np.asarray(durations)
  return diagnostics.Instances(
    video=np.zeros(count, np.int64) if video is None else np.asarray(video),
    segments_sec=np.stack([np.zeros(count), durations.astype(float)], axis=1),
    labels=tuple(labels or ['x'] * count),
    tiou=np.asarray(tiou, np.float64),
    rank=np.zeros(count, np.int64),
  )


def test_match_by_hand():
  instances, tious = diagnostics.match(
    [_spans([0, 10], [20, 30]), _spans(), _spans([5, 6])],
    [('a', 'b'), (), ('c',)],
    [_spans([0, 5], [0, 8], [19, 31]), _spans([1, 2]), _spans()],
    top=2,
  )
  np.testing.assert_array_equal(instances.video, [0, 0, 2])
  np.testing.assert_allclose(instances.tiou, [0.8, 0.0, 0.0])
  np.testing.assert_array_equal(instances.rank, [1, -1, -1])
  assert instances.labels == ('a', 'b', 'c')
  # Proposals behind `top` do not find anything, but their own tIoU is real.
  np.testing.assert_allclose(tious[0], [0.5, 0.8, 10 / 12])
  np.testing.assert_array_equal(tious[1], [0.0])
  assert tious[2].shape == (0,)


def test_match_of_nothing():
  instances, tious = diagnostics.match([], [], [], top=5)
  assert instances.tiou.shape == (0,)
  assert tious == []
  assert diagnostics.recall_by_label(instances) == []
  assert diagnostics.recall_by_duration(instances) == []
  assert len(diagnostics.worst_misses(instances)) == 0


def test_recall_by_label_counts_the_threshold_itself():
  found = diagnostics.recall_by_label(
    _instances([0.5, 0.49, 0.95, 0.2], ['a', 'a', 'b', 'c'])
  )
  assert [group.name for group in found] == ['b', 'a', 'c']
  assert [group.recall for group in found] == [1.0, 0.5, 0.0]
  assert [group.count for group in found] == [1, 2, 1]
  # a: one of two found at .5 only; b: at all ten thresholds.
  np.testing.assert_allclose(
    [group.average_recall for group in found], [1.0, 0.05, 0.0]
  )


def test_recall_by_duration_doubles_and_includes_upper_edges():
  found = diagnostics.recall_by_duration(
    _instances([1, 0, 1, 0, 1], durations=[0.2, 1.0, 2.0, 2.1, 16.0])
  )
  assert [(group.name, group.count) for group in found] == [
    ('≤ 1 s', 2),
    ('1–2 s', 1),
    ('2–4 s', 1),
    ('8–16 s', 1),
  ]
  assert [group.recall for group in found] == [0.5, 1.0, 0.0, 1.0]


def test_worst_misses_take_the_longest_of_equals_and_spread_over_videos():
  instances = _instances(
    [0.0, 0.0, 0.1, 0.0, 0.7],
    durations=[1, 5, 9, 2, 9],
    video=[0, 0, 0, 1, 1],
  )
  worst = diagnostics.worst_misses(instances, limit=3, per_video=2)
  np.testing.assert_array_equal(worst, [1, 3, 0])
  assert 4 not in diagnostics.worst_misses(instances)


@hypothesis.given(
  st.lists(
    st.tuples(st.floats(0, 1.5), st.floats(0, 1)), min_size=1, max_size=40
  )
)
@hypothesis.settings(max_examples=60)
def test_scores_are_counted_once(pairs):
  scores, tiou = np.array(pairs, np.float64).T
  edges, hit, other = diagnostics.score_histogram(scores, tiou >= 0.5)
  assert hit.sum() == (tiou >= 0.5).sum()
  assert hit.sum() + other.sum() == len(scores)
  assert edges[0] == 0 and scores.max() <= edges[-1] + 1e-6
  gains = tiou * 0.5
  rows = diagnostics.calibration(scores, tiou, gains)
  assert sum(row['count'] for row in rows) == len(scores)
  mean = sum(row['tiou'] * row['count'] for row in rows) / len(scores)
  np.testing.assert_allclose(mean, tiou.mean(), atol=1e-9)
  for row in rows:
    assert row['low'] <= row['high']
    np.testing.assert_allclose(row['gain'], row['tiou'] / 2)


def test_calibration_by_hand():
  rows = diagnostics.calibration(
    np.array([0.05, 0.95, 1.0, 0.91]),
    np.array([0.2, 0.5, 1.0, 0.9]),
    np.array([0.0, 0.0, 1.0, 0.5]),
  )
  assert [row['count'] for row in rows] == [1, 3]
  np.testing.assert_allclose(rows[1]['score'], (0.95 + 1.0 + 0.91) / 3)
  np.testing.assert_allclose(rows[1]['tiou'], 0.8)
  np.testing.assert_allclose([rows[1]['low'], rows[1]['high']], [0.7, 0.95])
  np.testing.assert_allclose([row['gain'] for row in rows], [0, 0.5])


@pytest.mark.parametrize(
  'scores, ends',
  [
    ([0.97, 0.1], (0, 1)),
    ([1.0], (0, 1)),
    ([0.151], (0, 0.2)),
    ([-2.0, 0.5], (-2, 0.5)),
    ([30.21], (0, 30.25)),
    ([0.0], (0, 1)),
    ([-3.0, -1.0], (-3, 0)),
    ([], (0, 1)),
  ],
)
def test_bins_span_the_scores(scores, ends):
  edges = diagnostics.score_edges(np.array(scores, np.float64), 4)
  np.testing.assert_allclose(edges, np.linspace(*ends, 5), atol=1e-12)


def test_stage_confusion_against_a_loop():
  rng = np.random.default_rng(0)
  true = rng.integers(0, 6, 200)
  predicted = rng.integers(0, 6, 200)
  expected = np.zeros((6, 6), np.int64)
  for i, j in zip(true, predicted):
    expected[i, j] += 1
  np.testing.assert_array_equal(
    diagnostics.stage_confusion(true, predicted), expected
  )


def test_match_against_a_loop():
  rng = np.random.default_rng(1)
  truth = np.sort(rng.uniform(0, 50, (7, 2)), axis=1)
  proposed = np.sort(rng.uniform(0, 50, (30, 2)), axis=1)
  instances, (tious,) = diagnostics.match(
    [truth], [('x',) * 7], [proposed], top=12
  )
  for k, row in enumerate(truth):
    each = [segments.tiou(row[None], p[None])[0, 0] for p in proposed]
    assert instances.tiou[k] == max(each[:12])
  for k, row in enumerate(proposed):
    assert tious[k] == max(segments.tiou(row[None], truth)[0])
