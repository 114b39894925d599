"""mAP: by hand, and against the steps of the public evaluation in loops."""

import json
import time

import numpy as np
import pytest

from cmsn_jax.evaluation import detection, detection_errors, metrics


def _rows(*rows):
  """Detections from (start, end, score, label)."""
  segments = np.array([row[:2] for row in rows], np.float64).reshape(-1, 2)
  scores = np.array([row[2] for row in rows], np.float64)
  return segments, scores, [row[3] for row in rows]


def _truth(*rows):
  """Ground truth from (start, end, label)."""
  segments = np.array([row[:2] for row in rows], np.float64).reshape(-1, 2)
  return segments, [row[2] for row in rows]


def _slow_ap(detections, ground_truth, label, threshold, ambiguous):
  """One detection after another, as the public evaluation does it."""
  rows = [
    (score, video, segment)
    for video, (segments, scores, names) in detections.items()
    for segment, score, name in zip(segments.tolist(), scores, names)
    if name == label and video in ground_truth
  ]
  rows.sort(key=lambda row: -row[0])
  true = {
    video: [s for s, n in zip(segments.tolist(), names) if n == label]
    for video, (segments, names) in ground_truth.items()
  }
  number = sum(map(len, true.values()))
  taken, hits = set(), []
  for _, video, segment in rows:
    tious = np.array([_tiou(segment, other) for other in true[video]])
    # Highest first; the public code reverses an ascending order.
    for k in np.argsort(tious, kind='stable')[::-1].tolist():
      if tious[k] >= threshold and (video, k) not in taken:
        taken.add((video, k))
        hits.append(1)
        break
    else:
      spans = ambiguous.get(video, np.zeros((0, 2))).tolist()
      if not any(_tiou(segment, span) > 0 for span in spans):
        hits.append(0)
  hits = np.array(hits, float)
  recall = np.cumsum(hits) / number
  precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
  precision = np.concatenate([[0], precision, [0]])
  recall = np.concatenate([[0], recall, [1]])
  for k in range(len(precision) - 1)[::-1]:
    precision[k] = max(precision[k], precision[k + 1])
  steps = np.where(recall[1:] != recall[:-1])[0] + 1
  return np.sum((recall[steps] - recall[steps - 1]) * precision[steps])


def _tiou(a, b):
  inside = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
  union = (a[1] - a[0]) + (b[1] - b[0]) - inside
  return inside / union if union else 0.0


def _random(seed, *, videos=6, labels=3, most=40, grid=4):
  """Many ties: times on a grid, few scores, duplicates, empty classes."""
  rng = np.random.default_rng(seed)
  detections, ground_truth, ambiguous = {}, {}, {}
  names = [f'c{k}' for k in range(labels)]
  for v in range(videos):
    g, n = rng.integers(0, 7), rng.integers(0, most)
    start = rng.integers(0, 30, g) / grid
    true = np.stack([start, start + rng.integers(0, 20, g) / grid], axis=1)
    ground_truth[f'v{v}'] = true, [names[k] for k in rng.integers(0, labels, g)]
    start = rng.integers(0, 30, n) / grid
    found = np.stack([start, start + rng.integers(0, 20, n) / grid], axis=1)
    if g and n:
      near = rng.random(n) < 0.6
      found[near] = true[rng.integers(0, g, near.sum())]
      found[near, 1] += rng.integers(0, 4, near.sum()) / grid
    if rng.random() < 0.9:
      scores = rng.integers(0, 6, n) / 5
      # A label more than the ground truth has.
      said = [[*names, 'other'][k] for k in rng.integers(0, labels + 1, n)]
      detections[f'v{v}'] = found, scores, said
    start = rng.integers(0, 30, 2) / grid
    ambiguous[f'v{v}'] = np.stack([start, start + 1.5], axis=1)
  ground_truth['v0'] = _truth((1, 4, 'c0'), (1, 4, 'c0'), (2, 5, 'c0'))
  detections['v0'] = _rows((1, 4, 0.8, 'c0'), (0, 1, 0.9, 'c0'))
  return detections, ground_truth, ambiguous


@pytest.mark.filterwarnings('ignore:.*labels that have no ground truth')
@pytest.mark.parametrize('protocol', detection.PROTOCOLS)
@pytest.mark.parametrize('seed', range(12))
def test_equals_the_public_evaluation(seed, protocol):
  sizes = {'videos': 1 if seed % 4 == 0 else 6, 'labels': 1 + seed % 5}
  found, true, unclear = _random(seed, **sizes)
  for ambiguous in ({}, unclear):
    result = detection.evaluate(
      found, true, protocol=protocol, ambiguous=ambiguous
    )
    for c, label in enumerate(result.labels):
      for k, tiou in enumerate(result.tiou_thresholds):
        expected = _slow_ap(found, true, label, tiou, ambiguous)
        assert abs(result.ap[c, k] - expected) < 1e-9, (label, tiou)
    mean = np.mean(list(result.map_at_tiou.values()))
    assert result.average_map == pytest.approx(mean, abs=1e-12)


def test_instances_that_overlap_are_shared_out_in_order():
  # The better detection fits the second instance best, and takes it from the
  # other, which then gets the first.
  true = {'a': _truth((0, 10, 'x'), (1, 11, 'x'))}
  found = {'a': _rows((1, 11, 0.9, 'x'), (0.9, 11, 0.8, 'x'))}
  assert detection.evaluate(found, true, tiou_thresholds=[0.7]).ap == [[1.0]]
  found = {'a': _rows((1, 11, 0.9, 'x'), (3, 11, 0.8, 'x'))}
  assert detection.evaluate(found, true, tiou_thresholds=[0.75]).ap == [[0.5]]


def test_by_hand():
  # Of class x, best first: right, wrong, right. Precision 1, 1/2, 2/3 of two
  # of four instances: (1 + 2/3) / 4. Class y: nothing; class z is unknown.
  true = {
    'a': _truth((0, 10, 'x'), (20, 30, 'x'), (40, 50, 'y')),
    'b': _truth((0, 10, 'x'), (20, 30, 'x')),
    'empty': _truth(),
  }
  found = {
    'a': _rows((0, 10, 0.9, 'x'), (11, 19, 0.8, 'x'), (40, 50, 0.5, 'z')),
    'b': _rows((20, 29, 0.7, 'x')),
  }
  with pytest.warns(
    metrics.MetricsWarning, match="1 detections of 1 labels.*'z'"
  ):
    result = detection.evaluate(found, true, protocol='map')
  assert result.labels == ('x', 'y')
  np.testing.assert_allclose(result.ap[0], (1 + 2 / 3) / 4)
  np.testing.assert_allclose(result.ap[1], 0)
  assert result.average_map == pytest.approx((1 + 2 / 3) / 8)
  assert result.unknown_labels == {'z': 1}
  assert result.videos_without_detections == ('empty',)
  assert result.num_instances.tolist() == [4, 1]
  written = json.loads(json.dumps(result.to_json(), allow_nan=False))
  assert written['map_at_tiou']['0.40'] == pytest.approx((1 + 2 / 3) / 8)
  assert written['ap_at_tiou']['y']['0.30'] == 0
  assert written['num_detections'] == 3


def test_ambiguous_spans_are_neither_right_nor_wrong():
  true = {'a': _truth((0, 10, 'x'), (30, 40, 'x'))}
  found = {
    'a': _rows((50, 60, 0.9, 'x'), (0, 10, 0.8, 'x'), (70, 80, 0.7, 'x'))
  }
  plain = detection.evaluate(found, true)
  np.testing.assert_allclose(plain.ap, 1 / 4)
  # An overlap of .01 s is enough; one that is right stays right.
  spans = {'a': np.array([[59.99, 65.0], [5.0, 6.0]])}
  result = detection.evaluate(found, true, ambiguous=spans)
  np.testing.assert_allclose(result.ap, 1 / 2)
  assert result.num_ambiguous == 2
  # Touching is no overlap, and other videos' spans are other videos'.
  spans = {'a': np.array([[60.0, 65.0]]), 'b': np.array([[0.0, 90.0]])}
  result = detection.evaluate(found, true, ambiguous=spans)
  np.testing.assert_allclose(result.ap, 1 / 4)


def test_perfect_detections_and_none():
  true = {'a': _truth((0, 10, 'x'), (5, 15, 'x'), (20, 30, 'y'))}
  segments, labels = true['a']
  found = {'a': (segments, np.ones(3), labels)}
  for protocol in detection.PROTOCOLS:
    assert detection.evaluate(found, true, protocol=protocol).average_map == 1
    assert detection.evaluate({}, true, protocol=protocol).average_map == 0


def test_kinds_of_errors_by_hand():
  true = {
    'a': _truth((0, 10, 'x'), (20, 30, 'x'), (40, 50, 'y'), (60, 70, 'y'))
  }
  found = {
    'a': _rows(
      (0, 10, 0.9, 'x'),  # right
      (0, 9, 0.8, 'x'),  # double
      (40, 50, 0.7, 'x'),  # confusion
      (22, 25, 0.6, 'x'),  # localisation: .3
      (47, 60, 0.5, 'x'),  # confusion: 3/20 with y
      (80, 90, 0.4, 'x'),  # background
      (60, 68, 0.9, 'y'),  # right
    )
  }
  errors = detection.evaluate(found, true).errors
  assert errors.counts.sum(axis=0).tolist() == [2, 1, 2, 1, 1]
  # Two instances a class: ranks 1 and 2 in the first row, and so on.
  by_rank = [[2, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1]]
  assert errors.counts[:3].tolist() == by_rank
  assert errors.missed == 2
  assert errors.num_instances == 4
  # AP is 1/2 of both classes, and nothing wrong ranks above what is right;
  # without the missed ones it is 1.
  assert errors.gains['missed'] == pytest.approx(0.5)
  assert errors.gains['double'] == pytest.approx(0)


def test_what_mending_an_error_would_gain():
  true = {'a': _truth((0, 10, 'x'), (20, 30, 'y'))}
  found = {
    'a': _rows((20, 30, 0.9, 'x'), (0, 10, 0.8, 'x'), (20, 30, 0.7, 'y'))
  }
  errors = detection.evaluate(found, true).errors
  # The confusion halves the precision of x.
  assert errors.gains['confusion'] == pytest.approx(0.25)
  assert set(errors.gains) == {*detection_errors.KINDS[1:], 'missed'}


def test_errors_stop_at_ten_for_each_instance():
  true = {'a': _truth((0, 10, 'x'))}
  rows = [(20 + k, 30 + k, 1 - k / 100, 'x') for k in range(30)]
  errors = detection.evaluate({'a': _rows(*rows)}, true).errors
  assert errors.counts.sum() == 10


def test_order_of_videos_does_not_matter_without_ties():
  found, true, _ = _random(3)
  found = {
    v: (s, np.random.default_rng(k).random(len(p)), n)
    for k, (v, (s, p, n)) in enumerate(found.items())
  }
  found = {v: (s, p, ['c0'] * len(p)) for v, (s, p, n) in found.items()}
  first = detection.evaluate(found, true)
  second = detection.evaluate(
    dict(reversed(found.items())), dict(reversed(true.items()))
  )
  np.testing.assert_allclose(first.ap, second.ap, atol=1e-12)


def test_blocks_are_cut_without_a_difference(monkeypatch):
  found, true, unclear = _random(5, labels=1)
  found = {v: (s, p, ['c0'] * len(p)) for v, (s, p, n) in found.items()}
  before = detection.evaluate(found, true, ambiguous=unclear).to_json()
  monkeypatch.setattr(detection.detection_matching.overlaps, '_BLOCK', 3)
  after = detection.evaluate(found, true, ambiguous=unclear).to_json()
  assert before == after


def test_a_thousand_videos_take_seconds():
  rng = np.random.default_rng(0)
  names = [f'class {k}' for k in range(200)]
  true, found = {}, {}
  for v in range(1000):
    start = rng.uniform(0, 200, 15)
    true[f'v{v}'] = (
      np.stack([start, start + rng.uniform(1, 20, 15)], axis=1),
      [names[k] for k in rng.integers(0, 200, 15)],
    )
    pick = rng.integers(0, 15, 200)
    near = true[f'v{v}'][0][pick] + rng.normal(0, 1, (200, 2))
    labels = [
      true[f'v{v}'][1][k] if rng.random() < 0.7 else names[rng.integers(200)]
      for k in pick
    ]
    found[f'v{v}'] = np.sort(near, axis=1), rng.random(200), labels
  began = time.process_time()
  result = detection.evaluate(found, true, protocol='map_anet')
  took = time.process_time() - began
  assert result.num_detections.sum() == 200_000
  assert took < 10


def test_bad_input_is_refused():
  true = {'a': _truth((0, 1, 'x'))}
  with pytest.raises(ValueError, match='protocol'):
    detection.evaluate({}, true, protocol='top_k')
  with pytest.raises(ValueError, match='no segments'):
    detection.evaluate({}, {'a': _truth()})
  with pytest.raises(ValueError, match='share no video'):
    detection.evaluate({'b': _rows((0, 1, 1, 'x'))}, true)
  with pytest.raises(ValueError, match='one score and one label'):
    detection.evaluate({'a': (np.zeros((1, 2)), np.ones(1), ['x', 'x'])}, true)
  with pytest.raises(ValueError, match='finite'):
    detection.evaluate({'a': _rows((0, 1, np.nan, 'x'))}, true)
  with pytest.raises(ValueError, match='tiou_thresholds'):
    detection.evaluate({}, true, tiou_thresholds=[0.0])
