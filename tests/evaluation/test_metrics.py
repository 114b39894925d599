"""AR@AN: by hand, and against plain loops, in the three protocols."""

import fractions
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.evaluation import metrics


def _pairs(*rows):
  """Proposals from (start, end, score) rows."""
  rows = np.array(rows, np.float64).reshape(-1, 3)
  return rows[:, :2], rows[:, 2]


def _truth(*rows):
  return np.array(rows, np.float64).reshape(-1, 2)


def _sorted(pair):
  rows = sorted(
    zip(pair[0].tolist(), pair[1].tolist()), key=lambda r: (-r[1], *r[0])
  )
  return [segment for segment, _ in rows]


def _tiou(a, b, plus=0):
  inside = max(0, min(a[1], b[1]) - max(a[0], b[0]) + plus)
  union = (a[1] - a[0] + plus) + (b[1] - b[0] + plus) - inside
  return inside / union if union else 0.0


def _hits(truth, proposals, threshold, plus=0):
  return sum(
    any(_tiou(t, p, plus) >= threshold for p in proposals) for t in truth
  )


def _interpolate(an, ans, ars):
  ans, ars = [0.0, *ans], [0.0, *ars]
  for k in range(1, len(ans)):
    if an <= ans[k] or (k == len(ans) - 1 and an <= ans[k] + 1e-6):
      share = min(1, (an - ans[k - 1]) / (ans[k] - ans[k - 1]))
      return ars[k - 1] + share * (ars[k] - ars[k - 1])
  return None


def _slow_thumos(proposals, ground_truth, fps=30):
  videos = [v for v in ground_truth if v in proposals and len(proposals[v][1])]
  frames = {
    v: [[round(x * fps) for x in s] for s in _sorted(proposals[v])]
    for v in videos
  }
  average = sum(map(len, frames.values())) / len(videos)
  ans, ars = [], []
  for percent in range(1, 101):
    share = percent / 100.0
    per_threshold = []
    for k in range(11):
      hits = positives = 0
      for v in videos:
        truth = [[round(x * fps) for x in s] for s in ground_truth[v].tolist()]
        kept = frames[v][: int(len(frames[v]) * share)]
        hits += _hits(truth, kept, np.linspace(0.5, 1, 11)[k], plus=1)
        positives += len(truth)
      per_threshold.append(hits / positives)
    ans.append(share * average)
    ars.append(sum(per_threshold) / 11)
  return ans, ars


def _slow_anet(proposals, ground_truth, max_an=100):
  """The official evaluation's steps."""
  videos = [v for v in ground_truth if len(ground_truth[v])]
  everything = sum(len(proposals[v][1]) for v in proposals)
  if not everything:
    return list(range(1, 101)), [0.0] * 100
  ratio = max_an * len(videos) / everything
  kept = {}
  for v in videos:
    found = _sorted(proposals[v]) if v in proposals else []
    kept[v] = found[: min(int(len(found) * ratio), len(found))]
  total = sum(map(len, kept.values()))
  if not total:
    return list(range(1, 101)), [0.0] * 100
  shares = np.arange(1, 101) / 100.0 * (max_an * float(len(videos)) / total)
  ars = []
  for share in shares:
    per_threshold = []
    for threshold in np.linspace(0.5, 0.95, 10):
      hits = positives = 0
      for v in videos:
        n = min(int(len(kept[v]) * share), len(kept[v]))
        hits += _hits(ground_truth[v].tolist(), kept[v][:n], threshold)
        positives += len(ground_truth[v])
      per_threshold.append(hits / positives)
    ars.append(sum(per_threshold) / 10)
  return [share * total / len(videos) for share in shares], ars


def _slow_top_k(proposals, ground_truth, k):
  recalls = []
  for threshold in np.linspace(0.5, 0.95, 10):
    hits = positives = 0
    for v, truth in ground_truth.items():
      found = _sorted(proposals[v])[:k] if v in proposals else []
      hits += _hits(truth.tolist(), found, threshold)
      positives += len(truth)
    recalls.append(hits / positives)
  return sum(recalls) / len(recalls)


def _random(seed, num_videos=5, most=40):
  """Ground truth, proposals near and far from it, and awkward videos."""
  rng = np.random.default_rng(seed)
  proposals, ground_truth = {}, {}
  for v in range(num_videos):
    name = f'v{v}'
    n, g = rng.integers(0, most), rng.integers(0, 5)
    start = rng.integers(0, 40, g) / 2
    truth = np.stack([start, start + rng.integers(1, 12, g) / 2], axis=1)
    ground_truth[name] = truth
    start = rng.integers(0, 40, n) / 2
    found = np.stack([start, start + rng.integers(0, 12, n) / 2], axis=1)
    if g and n:
      near = rng.random(n) < 0.5
      found[near] = truth[rng.integers(0, g, near.sum())]
      found[near, 1] += rng.integers(0, 3, near.sum()) / 4
    if rng.random() < 0.8:
      proposals[name] = found, rng.integers(0, 10, n) / 10
  ground_truth['sure'] = _truth([1, 5], [6, 8])
  proposals['sure'] = _pairs([1, 5, 0.5], [6, 7.5, 0.4])
  return proposals, ground_truth


def test_thumos_by_hand():
  # At 10 frames a second: truth frames 0..10 (11 of them), proposals 0..5
  # (6, tIoU 6/11 = .545) first, then 0..9 (10, tIoU .909). Two proposals, so
  # AN 1 is p = 50 % and int(2 p) >= 1 from there on.
  found = {'a': _pairs([0, 0.5, 0.9], [0, 0.9, 0.8])}
  truth = {'a': _truth([0, 1.0])}
  result = metrics.evaluate(found, truth, fps=10, ans=(1, 2, 3))
  assert result.ar_at_an[1] == pytest.approx(1 / 11)
  assert result.ar_at_an[2] == pytest.approx(9 / 11)  # .5, .55, ... .9
  assert result.ar_at_an[3] is None
  assert result.curve_an[[0, 49, 99]] == pytest.approx([0.02, 1.0, 2.0])
  assert result.recall_an == 2.0
  assert result.recall_at_tiou[0.9] == 1.0
  assert result.recall_at_tiou[1.0] == 0.0
  assert result.average_num_proposals == 2.0


def test_thumos_leaves_videos_without_proposals_out_and_names_them():
  found = {'a': _pairs([0, 1, 0.9]), 'b': _pairs()}
  truth = {k: _truth([0, 1.0]) for k in 'abc'}
  result = metrics.evaluate(found, truth, ans=(1,))
  assert result.ar_at_an[1] == 1.0
  assert result.videos_without_proposals == ('b', 'c')
  assert (result.num_videos, result.num_videos_in_subset) == (1, 3)
  assert result.num_ground_truth == 1
  everyone = metrics.evaluate(found, truth, ans=(1,), protocol='top_k')
  assert everyone.ar_at_an[1] == pytest.approx(1 / 3)
  assert everyone.num_videos == 3
  assert everyone.num_ground_truth == 3


def test_thumos_frames_are_inclusive():
  # Seconds: tIoU 0 as they only touch. Frames 0..30 and 30..60 share one.
  found, truth = {'a': _pairs([1, 2, 1])}, {'a': _truth([0, 1])}
  result = metrics.evaluate(found, truth, tiou_thresholds=[1 / 61], ans=(1,))
  assert result.ar_at_an[1] == 1.0
  seconds = metrics.evaluate(
    found, truth, tiou_thresholds=[1 / 61], ans=(1,), protocol='top_k'
  )
  assert seconds.ar_at_an[1] == 0.0


def test_top_k_by_hand():
  found = {
    'a': _pairs([0, 10, 0.9], [0, 5, 0.8]),
    'b': _pairs([0, 1, 0.1], [3, 4, 0.2]),
  }
  truth = {'a': _truth([0, 5]), 'b': _truth([0, 1], [8, 9])}
  result = metrics.evaluate(found, truth, protocol='top_k', ans=(1, 2, 500))
  # K = 1: a's [0, 10] has tIoU .5 with [0, 5], one threshold of ten, one
  # segment of three; b's best is [3, 4], which is nothing.
  assert result.ar_at_an[1] == pytest.approx(1 / 30)
  assert result.ar_at_an[2] == pytest.approx(2 / 3)
  assert result.ar_at_an[500] == pytest.approx(2 / 3)
  assert result.recall_at_tiou[0.5] == pytest.approx(2 / 3)


def test_anet_by_hand():
  # 200 proposals of one video: half are cut. The truth is number 100.
  rows = [[50.0 + k, 51.0 + k, 1 - k / 1000] for k in range(200)]
  found, truth = {'a': _pairs(*rows)}, {'a': _truth([149, 150])}
  result = metrics.evaluate(
    found, truth, protocol='anet', ans=(50, 99, 100, 101)
  )
  assert result.ar_at_an == {50: 0.0, 99: 0.0, 100: 1.0, 101: None}
  assert result.auc == pytest.approx(0.5 / 100)  # half of the last step
  np.testing.assert_allclose(result.curve_an, np.arange(1, 101))


@pytest.mark.parametrize('seed', range(6))
def test_thumos_equals_the_slow_reference(seed):
  found, truth = _random(seed)
  result = metrics.evaluate(found, truth, ans=(1, 2, 5, 10, 20, 50))
  ans, ars = _slow_thumos(found, truth)
  np.testing.assert_allclose(result.curve_an, ans, rtol=1e-12)
  np.testing.assert_allclose(result.curve_ar, ars, atol=1e-12)
  for an, ar in result.ar_at_an.items():
    expected = _interpolate(an, ans, ars)
    assert ar == (None if expected is None else pytest.approx(expected))
  area = sum(
    (ans[k] - ans[k - 1]) * (ars[k] + ars[k - 1]) / 2 for k in range(1, 100)
  )
  assert result.auc == pytest.approx(area / ans[-1])


@pytest.mark.parametrize('most', [8, 400])
@pytest.mark.parametrize('seed', range(4))
def test_anet_equals_the_slow_reference(seed, most):
  found, truth = _random(seed, num_videos=4, most=most)
  result = metrics.evaluate(found, truth, protocol='anet', ans=(1, 7, 100, 101))
  ans, ars = _slow_anet(found, truth)
  np.testing.assert_allclose(result.curve_an, ans, rtol=1e-12)
  np.testing.assert_allclose(result.curve_ar, ars, atol=1e-12)
  assert result.ar_at_an[100] == pytest.approx(ars[-1])
  assert result.ar_at_an[101] is None


@pytest.mark.parametrize('seed', range(6))
def test_top_k_equals_the_slow_reference(seed):
  found, truth = _random(seed)
  ans = (1, 2, 5, 13, 200)
  result = metrics.evaluate(found, truth, protocol='top_k', ans=ans)
  for an in ans:
    assert result.ar_at_an[an] == pytest.approx(_slow_top_k(found, truth, an))


def _exact_top_k(proposals, ground_truth, an, ticks):
  """AR at K proposals in fractions; times are whole ticks."""
  hits, number = 0, 0
  for v, truth in ground_truth.items():
    number += len(truth)
    kept = _sorted(proposals[v])[:an]
    for t in (np.round(truth * ticks).astype(int)).tolist():
      for k in range(10):
        threshold = fractions.Fraction(10 + k, 20)
        hits += any(
          _exact_tiou(t, [round(x * ticks) for x in p]) >= threshold
          for p in kept
        )
  return fractions.Fraction(hits, 10 * number)


def _exact_tiou(a, b):
  inside = max(0, min(a[1], b[1]) - max(a[0], b[0]))
  union = a[1] - a[0] + b[1] - b[0] - inside
  return fractions.Fraction(inside, union or 1)


@pytest.mark.parametrize('ticks', [5, 25, 30, 32, 1000])
@pytest.mark.parametrize('late', [0, 36_000])
def test_top_k_equals_exact_arithmetic(ticks, late):
  rng = np.random.default_rng(ticks)
  found, truth = {}, {}
  for v in 'abcdefgh':
    start = rng.integers(0, 40, 30) + late * ticks
    own = np.stack([start, start + rng.integers(1, 41, 30)], axis=1)
    more = own + rng.integers(-4, 5, (30, 2))
    more = np.sort(more, axis=1)
    truth[v], found[v] = own / ticks, (more / ticks, rng.random(30))
  ans = (1, 3, 10, 30)
  result = metrics.evaluate(found, truth, protocol='top_k', ans=ans)
  for an in ans:
    exact = float(_exact_top_k(found, truth, an, ticks))
    assert result.ar_at_an[an] == pytest.approx(exact, abs=1e-12)


def test_a_tiou_of_three_fifths_reaches_the_threshold():
  # 31/30 .. 36/30 and 31/30 .. 34/30: in floats .5999999999999996.
  truth = {'a': _truth([31 / 30, 36 / 30])}
  found = {'a': (_truth([31 / 30, 34 / 30]), np.ones(1))}
  result = metrics.evaluate(found, truth, protocol='top_k')
  assert result.recall_at_tiou[_nearest(result, 0.6)] == 1
  # ActivityNet's evaluation, to which `anet` is bit-equal, says no.
  result = metrics.evaluate(found, truth, protocol='anet')
  assert result.recall_at_tiou[_nearest(result, 0.6)] == 0


def _nearest(result, tiou):
  return min(result.recall_at_tiou, key=lambda t: abs(t - tiou))


def test_a_tiou_that_is_truly_below_does_not_count():
  truth = {'a': _truth([0, 1])}
  for short, recall in ((1e-10, 0), (1e-17, 1)):
    found = {'a': (_truth([0, 0.5 - short]), np.ones(1))}
    result = metrics.evaluate(found, truth, protocol='top_k')
    assert result.recall_at_tiou[0.5] == recall


@pytest.mark.parametrize('protocol', metrics.PROTOCOLS)
def test_perfect_proposals(protocol):
  truth = {f'v{k}': _truth([k, k + 2], [10, 14.5]) for k in range(3)}
  found = {k: (v, np.ones(len(v))) for k, v in truth.items()}
  result = metrics.evaluate(found, truth, protocol=protocol, ans=(1, 2))
  assert result.ar_at_an[2] == 1.0
  assert result.num_ground_truth == 6
  assert result.num_proposals == 6


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(metrics.PROTOCOLS))
def test_permuting_changes_nothing_and_curves_rise(seed, protocol):
  found, truth = _random(seed)
  rng = np.random.default_rng(seed)
  shuffled = {}
  for video in rng.permutation(list(found)):
    segments, scores = found[video]
    order = rng.permutation(len(scores))
    shuffled[str(video)] = segments[order], scores[order]
  first = metrics.evaluate(found, truth, protocol=protocol)
  second = metrics.evaluate(shuffled, truth, protocol=protocol)
  assert first.to_json() == second.to_json()
  assert (np.diff(first.curve_ar) >= -1e-12).all()
  values = [v for v in first.recall_at_tiou.values() if v is not None]
  assert (np.diff(values) <= 1e-12).all()
  assert ((first.curve_ar >= 0) & (first.curve_ar <= 1)).all()


def test_large_blocks_are_cut_without_a_difference(monkeypatch):
  found, truth = _random(3)
  before = metrics.evaluate(found, truth, protocol='top_k').to_json()
  monkeypatch.setattr(metrics.overlaps, '_BLOCK', 7)
  monkeypatch.setattr(metrics.overlaps, '_FEW', 0)
  after = metrics.evaluate(found, truth, protocol='top_k').to_json()
  assert before == after


@pytest.mark.parametrize('protocol', metrics.PROTOCOLS)
@pytest.mark.parametrize('found', [{}, {'a': _pairs()}])
def test_no_proposals(protocol, found):
  truth = {'a': _truth([0, 1]), 'b': _truth()}
  result = metrics.evaluate(found, truth, protocol=protocol, ans=(10, 100))
  expected = None if protocol == 'thumos' else 0.0
  assert result.ar_at_an == {10: expected, 100: expected}
  assert result.auc == expected
  assert result.videos_without_proposals == ('a', 'b')
  json.dumps(result.to_json(), allow_nan=False)


def test_thumos_proposals_only_where_there_is_no_ground_truth():
  found = {'b': _pairs([0, 1, 1])}
  truth = {'a': _truth([0, 1]), 'b': _truth()}
  result = metrics.evaluate(found, truth, ans=(1,))
  assert result.ar_at_an == {1: None}


def test_zero_length_segments():
  truth = {'a': _truth([1, 1], [2, 3])}
  found = {'a': _pairs([1, 1, 0.9], [2, 3, 0.8])}
  result = metrics.evaluate(found, truth, protocol='top_k', ans=(2,))
  assert result.ar_at_an[2] == 0.5  # in seconds nothing overlaps a point
  frames = metrics.evaluate(found, truth, protocol='thumos', ans=(2,))
  assert frames.ar_at_an[2] == 1.0  # one frame, both included


def test_json_contract():
  found, truth = _random(0)
  document = metrics.evaluate(found, truth, ans=(5, 1000)).to_json()
  document = json.loads(json.dumps(document, allow_nan=False))
  assert document['protocol'] == 'thumos'
  assert document['ar_at_an']['1000'] is None
  assert 0 <= document['ar_at_an']['5'] <= 1
  assert document['tiou_thresholds'][2] == 0.6
  assert list(document['recall_at_tiou'])[:2] == ['0.50', '0.55']
  for key in (
    'auc',
    'num_videos',
    'num_ground_truth',
    'num_proposals',
    'average_num_proposals',
    'videos_without_proposals',
  ):
    assert key in document


def test_unknown_ids_warn_with_their_count():
  found = {'a': _pairs([0, 1, 1]), 'x': _pairs([0, 1, 1]), 'y': _pairs()}
  truth = {'a': _truth([0, 1])}
  with pytest.warns(metrics.MetricsWarning, match="2 of 3 videos.*'x', 'y'"):
    result = metrics.evaluate(found, truth, protocol='top_k')
  assert result.num_proposals == 1


def test_errors_name_both_sides():
  truth = {'a': _truth([0, 1])}
  found = {'a': _pairs([0, 1, 1])}
  with pytest.raises(ValueError, match="share no video: .*'x'.*'a'.*subset"):
    metrics.evaluate({'x': _pairs([0, 1, 1])}, truth)
  with pytest.raises(ValueError, match='protocol must be one of'):
    metrics.evaluate(found, truth, protocol='coco')
  with pytest.raises(ValueError, match='every AN must be at least 1'):
    metrics.evaluate(found, truth, ans=(0,))
  with pytest.raises(ValueError, match='ground truth of 1 videos has no'):
    metrics.evaluate(found, {'a': _truth()})
  with pytest.raises(ValueError, match='ground truth has no videos'):
    metrics.evaluate(found, {})
  with pytest.raises(ValueError, match="proposals of 'a' .* start <= end"):
    metrics.evaluate({'a': _pairs([1, 0, 1])}, truth)
  with pytest.raises(ValueError, match="proposals of 'a' need one finite"):
    metrics.evaluate({'a': _pairs([0, 1, np.nan])}, truth)
  with pytest.raises(ValueError, match='tiou_thresholds must be'):
    metrics.evaluate(found, truth, tiou_thresholds=[0.0, 0.5])
  with pytest.raises(ValueError, match='fps must be above 0'):
    metrics.evaluate(found, truth, fps=0)
