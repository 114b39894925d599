"""Segments: tIoU by hand and by loops, units, checks."""

import fractions

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax import segments


def _array(*rows):
  return np.array(rows, np.float64).reshape(-1, 2)


def _exact_tiou(a, b):
  (s, e), (t, f) = ([fractions.Fraction(x) for x in pair] for pair in (a, b))
  inside = max(0, min(e, f) - max(s, t))
  union = (e - s) + (f - t) - inside
  return float(inside / union) if union else 0.0


def test_tiou_by_hand():
  a = _array([0, 4], [2, 2], [1, 3])
  b = _array([0, 4], [2, 6], [4, 8], [2, 2])
  expected = [
    [1, 1 / 3, 0, 0],  # same, overlapping, touching, a point inside
    [0, 0, 0, 0],  # a point has tIoU 0 with everything, itself too
    [1 / 2, 1 / 5, 0, 0],
  ]
  np.testing.assert_allclose(segments.tiou(a, b), expected, rtol=1e-15)


def test_tiou_of_nothing():
  assert segments.tiou(segments.empty(), _array([0, 1])).shape == (0, 1)
  assert segments.tiou(_array([0, 1]), segments.empty()).shape == (1, 0)


_segments = st.lists(
  st.tuples(st.integers(-20, 20), st.integers(0, 15)).map(
    lambda p: (p[0] / 4, (p[0] + p[1]) / 4)
  ),
  max_size=6,
)


@settings(max_examples=100)
@given(_segments, _segments)
def test_tiou_equals_exact_arithmetic(a, b):
  got = segments.tiou(_array(*a), _array(*b))
  expected = np.array([[_exact_tiou(x, y) for y in b] for x in a])
  np.testing.assert_array_equal(got, expected.reshape(len(a), len(b)))
  np.testing.assert_array_equal(got, segments.tiou(_array(*b), _array(*a)).T)


def test_paired_tiou_is_the_diagonal():
  rng = np.random.default_rng(0)
  a, b = np.sort(rng.uniform(0, 9, (2, 30, 2)), axis=-1)
  np.testing.assert_array_equal(
    segments.paired_tiou(a, b), np.diag(segments.tiou(a, b))
  )


def test_float32_is_computed_in_float64():
  a = np.array([[0.1, 0.7]], np.float32)
  assert segments.tiou(a, a).dtype == np.float64


def test_snippets_to_sec_by_hand():
  got = segments.snippets_to_sec(np.array([0, 3]), np.array([0, 5]), 3.125)
  # Snippet 0 alone is [0, 8 / 25); 3 to 5 is [24, 48) frames at 25 fps.
  np.testing.assert_allclose(got, [[0, 0.32], [0.96, 1.92]])
  none = np.zeros(0, np.int64)
  assert segments.snippets_to_sec(none, none, 5).shape == (0, 2)


def test_snippet_centres():
  np.testing.assert_allclose(
    segments.snippet_centres_sec(3, 2), [0.25, 0.75, 1.25]
  )
  assert segments.snippet_centres_sec(0, 2).shape == (0,)


@given(st.integers(1, 50), st.floats(0.1, 60))
def test_centres_lie_inside_their_snippets(n, feature_fps):
  index = np.arange(n)
  covered = segments.snippets_to_sec(index, index, feature_fps)
  centres = segments.snippet_centres_sec(n, feature_fps)
  assert (covered[:, 0] < centres).all() and (centres < covered[:, 1]).all()
  np.testing.assert_allclose(covered[1:, 0], covered[:-1, 1])


def test_rate_must_be_positive():
  for bad in (0, -1.0, float('nan'), float('inf')):
    with pytest.raises(ValueError, match='feature_fps must be a positive'):
      segments.snippet_centres_sec(3, bad)


def test_check_passes_what_is_legal():
  assert segments.check([]).shape == (0, 2)
  assert segments.check(np.zeros((0, 2), np.float32)).dtype == np.float64
  given_segments = [[3, 3], [0, 1]]
  np.testing.assert_array_equal(segments.check(given_segments), given_segments)


@pytest.mark.parametrize(
  'bad, message',
  [
    (
      [[0, 1], [2, 1]],
      r'truth must have start <= end, got \[2.0, 1.0\] in row 1',
    ),
    ([[0, np.nan]], r'truth must be finite, got \[0.0, nan\] in row 0'),
    ([0, 1], r'truth must have shape \[n, 2\] .* got \[2\]'),
    ([[0, 1, 2]], r'truth must have shape \[n, 2\] .* got \[1, 3\]'),
  ],
)
def test_check_names_what_is_wrong(bad, message):
  with pytest.raises(ValueError, match=message):
    segments.check(bad, 'truth')


def test_the_ten_thresholds_are_activitynet_s_and_stay_so():
  np.testing.assert_allclose(
    segments.TIOU_THRESHOLDS,
    [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95],
    rtol=1e-15,
  )
  with pytest.raises(ValueError, match='read-only'):
    segments.TIOU_THRESHOLDS[0] = 0.4


_spans = st.lists(
  st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=6
).map(
  lambda rows: np.array(
    [(start, start + length) for start, length in rows], np.float64
  ).reshape(-1, 2)
)


def _moments(spans):
  """Which unit steps of 0..40 are covered."""
  covered = np.zeros(40, bool)
  for start, end in spans.astype(int):
    covered[start:end] = True
  return covered


@given(_spans, _spans)
def test_unions_and_what_is_left_of_them(first, second):
  for found, expected in (
    (segments.union(first), _moments(first)),
    (segments.without(first, second), _moments(first) & ~_moments(second)),
  ):
    np.testing.assert_array_equal(_moments(found), expected)
    # By start, apart from each other, none without length.
    edges = found.ravel()
    assert np.all(np.diff(edges) > 0)


@given(_spans, _spans)
def test_more_than_half_within_the_spans(rows, spans):
  inside = _moments(spans)
  expected = [
    2 * inside[int(start) : int(end)].sum() > end - start for start, end in rows
  ]
  found = segments.mostly_within(rows, spans)
  np.testing.assert_array_equal(found, np.array(expected, bool))
