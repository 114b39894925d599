"""Soft-NMS and Greedy-NMS against plain loops, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax import segments as segments_lib
from cmsn_jax.suppression import nms


def _tiou(a, b):
  inside = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
  union = (a[1] - a[0]) + (b[1] - b[0]) - inside
  return inside / union if union > 0 else 0.0


def _slow_soft_nms(segments, scores, sigma=0.75, threshold=0.65):
  """The definition, one pair at a time, as the public Python ports do.

  Exponents are whole numbers of 2^-48, so that their sums are exact.
  """
  left = [
    (float(score), *map(float, segment), i)
    for i, (segment, score) in enumerate(zip(segments, scores))
  ]
  kept, exponents = [], [0] * len(left)
  while left:
    best = min(left, key=lambda p: (-p[0], p[1], p[2]))
    left.remove(best)
    kept.append((best[3], best[0]))
    for k, (_, start, end, i) in enumerate(left):
      tiou = _tiou(best[1:3], (start, end))
      if tiou > threshold:
        exponents[i] += round(tiou * tiou * 2.0**48)
        score = float(scores[i]) * np.exp(exponents[i] * -(2.0**-48) / sigma)
        left[k] = (score, start, end, i)
  return kept


def _multiplied_soft_nms(segments, scores, sigma, threshold):
  """Scores multiplied at each step, without whole numbers."""
  scores, free = scores.copy(), np.ones(len(scores), bool)
  kept = []
  while free.any():
    best = int(np.argmax(np.where(free, scores, -1)))
    kept.append(best)
    free[best] = False
    for k in np.flatnonzero(free):
      tiou = _tiou(segments[best], segments[k])
      if tiou > threshold:
        scores[k] *= np.exp(-(tiou**2) / sigma)
  return kept, scores[kept]


def _slow_greedy(segments, scores, tiou=0.8):
  kept = []
  order = sorted(
    range(len(scores)), key=lambda i: (-scores[i], *segments[i].tolist())
  )
  for i in order:
    if all(_tiou(segments[i], segments[j]) <= tiou for j in kept):
      kept.append(i)
  return kept


def _random(rng, n, kind):
  if kind == 'spread':
    start, length = rng.uniform(0, 100, n), rng.uniform(0, 40, n)
  elif kind == 'grid':  # ties in start, end, tIoU and score
    start, length = rng.integers(0, 12, n), rng.integers(0, 8, n)
  elif kind == 'clusters':
    start = 20.0 * rng.integers(0, 3, n) + rng.normal(0, 0.5, n)
    length = 10 * np.exp(rng.normal(0, 0.2, n))
  else:  # 'scales'
    start, length = rng.uniform(-5, 5, n), 10 ** rng.uniform(-6, 6, n)
  segments = np.stack([start, start + length], axis=1).astype(np.float64)
  scores = rng.uniform(0, 1, n)
  return segments, np.round(scores, 1) if kind == 'grid' else scores


def _assert_equal(kept, segments, expected):
  indices, scores = kept
  assert indices.dtype == np.int64
  np.testing.assert_array_equal(scores, [s for _, s in expected])
  # Of identical proposals either may come first: compare the segments.
  np.testing.assert_array_equal(
    segments[indices], segments[[i for i, _ in expected]]
  )
  assert len(set(indices.tolist())) == len(indices)


KINDS = ('spread', 'grid', 'clusters', 'scales')


def test_by_hand():
  # tIoU of the first two is .8, of either with the third 0.
  segments = np.array([[0.0, 10.0], [0.0, 8.0], [20.0, 30.0]])
  scores = np.array([0.9, 0.8, 0.5])
  indices, kept = nms.soft_nms(segments, scores)
  decayed = 0.8 * np.exp(-(0.8**2) / 0.75)  # .341
  assert indices.tolist() == [0, 2, 1]
  np.testing.assert_allclose(kept, [0.9, 0.5, decayed], rtol=1e-15)
  greedy, unchanged = nms.greedy_nms(segments, scores, tiou=0.7)
  assert greedy.tolist() == [0, 2]
  assert unchanged.tolist() == [0.9, 0.5]


def test_tiou_at_the_threshold_is_left_alone():
  segments = np.array([[0.0, 10.0], [0.0, 8.0]])
  scores = np.array([0.9, 0.8])
  assert nms.soft_nms(segments, scores, threshold=0.8)[1].tolist() == [0.9, 0.8]
  assert nms.greedy_nms(segments, scores, tiou=0.8)[0].tolist() == [0, 1]


def test_full_length_no_cap():
  segments, scores = _random(np.random.default_rng(0), 1500, 'clusters')
  indices, _ = nms.soft_nms(segments, scores)
  assert sorted(indices.tolist()) == list(range(1500))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.65, 0.95, 1.0])
@pytest.mark.parametrize('n', [1, 2, 60])
def test_soft_equals_the_slow_reference(kind, threshold, n):
  rng = np.random.default_rng(n)
  segments, scores = _random(rng, n, kind)
  kept = nms.soft_nms(segments, scores, threshold=threshold)
  expected = _slow_soft_nms(segments, scores, threshold=threshold)
  _assert_equal(kept, segments, expected)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('tiou', [0.0, 0.3, 0.8, 1.0])
def test_greedy_equals_the_slow_reference(kind, tiou):
  segments, scores = _random(np.random.default_rng(5), 120, kind)
  indices, kept = nms.greedy_nms(segments, scores, tiou=tiou)
  expected = _slow_greedy(segments, scores, tiou)
  _assert_equal((indices, kept), segments, [(i, scores[i]) for i in expected])


def test_many_videos_equal_one_by_one(monkeypatch):
  monkeypatch.setattr(nms, '_TOGETHER', 100)  # several groups
  monkeypatch.setattr(nms, '_BLOCK', 70)  # and blocks
  rng = np.random.default_rng(1)
  videos = [
    _random(rng, n, KINDS[k % 4])
    for k, n in enumerate([0, 1, 30, 7, 0, 45, 30, 2, 110])
  ]
  segments, scores = map(list, zip(*videos))
  for kept, s, c in zip(nms.soft_nms_many(segments, scores), segments, scores):
    _assert_equal(kept, s, _slow_soft_nms(s, c))
  for kept, s, c in zip(
    nms.greedy_nms_many(segments, scores), segments, scores
  ):
    _assert_equal(kept, s, [(i, c[i]) for i in _slow_greedy(s, c)])
  assert nms.soft_nms_many([], []) == []


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('block', [1, 3, 16])
def test_blocks_of_any_size_change_nothing(monkeypatch, kind, block):
  monkeypatch.setattr(nms, '_BLOCK', block)
  monkeypatch.setattr(nms, '_LEAST_BLOCK', 1)
  monkeypatch.setattr(nms, '_PAIRS', 2 * block)
  segments, scores = _random(np.random.default_rng(9), 60, kind)
  segments = np.concatenate([segments, segments + 1e3])
  scores = np.concatenate([scores, np.round(scores, 1)])  # ties
  scores[::5] = 0.0
  for threshold in (0.0, 0.3, 0.65):
    kept = nms.soft_nms(segments, scores, threshold=threshold)
    expected = _slow_soft_nms(segments, scores, threshold=threshold)
    _assert_equal(kept, segments, expected)
    first = nms.soft_nms(
      segments, scores, threshold=threshold, max_proposals=40, min_score=0.2
    )
    above = [pair for pair in expected if pair[1] >= 0.2]
    _assert_equal(first, segments, above[:40])
    kept = nms.greedy_nms(segments, scores, tiou=threshold)
    expected = _slow_greedy(segments, scores, threshold)
    _assert_equal(kept, segments, [(i, scores[i]) for i in expected])


def test_multiplied_step_by_step_it_is_the_same():
  segments, scores = _random(np.random.default_rng(2), 400, 'clusters')
  indices, kept = nms.soft_nms(segments, scores)
  order, expected = _multiplied_soft_nms(segments, scores, 0.75, 0.65)
  assert indices.tolist() == order
  np.testing.assert_allclose(kept, expected, rtol=1e-12)


def test_a_long_chain_of_neighbours():
  # Each is chosen only after the one before: the most rounds there can be.
  start = np.arange(3000.0)
  segments = np.stack([start, start + 10], axis=1)
  scores = np.linspace(1, 0.5, 3000)
  indices, _ = nms.greedy_nms(segments, scores, tiou=0.8)
  assert indices.tolist() == list(range(0, 3000, 2))


_proposals = st.lists(
  st.tuples(
    st.integers(0, 20), st.integers(0, 12), st.sampled_from([0.0, 0.25, 0.5, 1])
  ),
  max_size=25,
)


def _arrays(proposals):
  rows = np.array(proposals, np.float64).reshape(-1, 3)
  return np.stack([rows[:, 0], rows[:, 0] + rows[:, 1]], axis=1), rows[:, 2]


@settings(max_examples=100)
@given(
  _proposals,
  st.sampled_from([0.0, 0.04, 0.2, 0.5, 0.65, 0.9]),
  st.sampled_from([1e-5, 0.3, 0.75]),
)
def test_adversarial_ties_equal_the_slow_reference(proposals, threshold, sigma):
  segments, scores = _arrays(proposals)
  kept = nms.soft_nms(segments, scores, threshold=threshold, sigma=sigma)
  expected = _slow_soft_nms(segments, scores, sigma, threshold)
  _assert_equal(kept, segments, expected)


@settings(max_examples=50)
@given(_proposals, st.randoms(), st.booleans())
def test_permuting_the_input_changes_nothing(proposals, random, soft):
  shuffled = list(proposals)
  random.shuffle(shuffled)
  run = nms.soft_nms if soft else nms.greedy_nms
  results = []
  for rows in (proposals, shuffled):
    segments, scores = _arrays(rows)
    indices, kept = run(segments, scores)
    results.append((segments[indices].tolist(), kept.tolist()))
  assert results[0] == results[1]


@settings(max_examples=30)
@given(_proposals, st.integers(0, 30))
def test_max_proposals_is_a_prefix(proposals, k):
  segments, scores = _arrays(proposals)
  indices, kept = nms.soft_nms(segments, scores)
  first, first_kept = nms.soft_nms(segments, scores, max_proposals=k)
  np.testing.assert_array_equal(first, indices[:k])
  np.testing.assert_array_equal(first_kept, kept[:k])
  assert (np.diff(kept) <= 0).all()


def test_min_score_is_a_prefix():
  segments, scores = _random(np.random.default_rng(3), 200, 'clusters')
  indices, kept = nms.soft_nms(segments, scores)
  above, above_kept = nms.soft_nms(segments, scores, min_score=0.1)
  assert 0 < len(above) < 200
  np.testing.assert_array_equal(above, indices[kept >= 0.1])
  np.testing.assert_array_equal(above_kept, kept[kept >= 0.1])


def test_empty_and_zero_length():
  indices, kept = nms.soft_nms(segments_lib.empty(), np.zeros(0))
  assert indices.shape == kept.shape == (0,)
  points = np.array([[2.0, 2.0], [2.0, 2.0], [1.0, 3.0]])
  indices, kept = nms.soft_nms(points, np.array([0.1, 0.3, 0.2]), threshold=0.0)
  assert indices.tolist() == [1, 2, 0]
  assert kept.tolist() == [0.3, 0.2, 0.1]


def test_arguments_stay_as_they_were():
  segments, scores = _random(np.random.default_rng(3), 50, 'clusters')
  before = segments.copy(), scores.copy()
  nms.soft_nms(segments, scores)
  np.testing.assert_array_equal(segments, before[0])
  np.testing.assert_array_equal(scores, before[1])


def test_float32_scores():
  segments, scores = _random(np.random.default_rng(3), 50, 'clusters')
  low = scores.astype(np.float32)
  _assert_equal(
    nms.soft_nms(segments, low), segments, _slow_soft_nms(segments, low)
  )


def test_errors_name_the_argument():
  segments = np.array([[0.0, 1.0], [0.0, 2.0]])
  good = np.array([0.5, 0.5])
  with pytest.raises(ValueError, match=r'scores must be finite .* -1.* row 1'):
    nms.soft_nms(segments, np.array([0.5, -1.0]))
  with pytest.raises(ValueError, match='scores must be finite .* nan in row 0'):
    nms.greedy_nms(segments, np.array([np.nan, 1.0]))
  with pytest.raises(ValueError, match='sigma must be > 0, got 0'):
    nms.soft_nms(segments, good, sigma=0)
  with pytest.raises(ValueError, match='threshold must be in 0..1, got 65'):
    nms.soft_nms(segments, good, threshold=65)
  with pytest.raises(ValueError, match='max_proposals must be None or'):
    nms.soft_nms(segments, good, max_proposals=-1)
  with pytest.raises(ValueError, match='start <= end, got .* row 0'):
    nms.soft_nms(segments[:, ::-1].copy(), good)
  with pytest.raises(ValueError, match='one entry per segment'):
    nms.soft_nms_many([segments], [good[:1]])
  with pytest.raises(ValueError, match='as many videos, got 1 and 2'):
    nms.soft_nms_many([segments], [good, good])
