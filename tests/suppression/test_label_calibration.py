"""Labels that mean what they say, against plain minimisation."""

import numpy as np
import pytest

from cmsn_jax.suppression import label_calibration


def _loss(weights, logs, labels):
  odds = weights[0] * logs + weights[1:]
  log_p = odds - np.log(np.exp(odds).sum(axis=1, keepdims=True))
  prior = 2.0 * ((weights[0] - 1) ** 2 + (weights[1:] ** 2).sum())
  return prior - log_p[np.arange(len(labels)), labels].sum()


def _sure(n=200, seed=0):
  """Too sure of itself, and wrong about how often label 2 comes."""
  rng = np.random.default_rng(seed)
  labels = rng.choice(3, n, p=[0.2, 0.2, 0.6])
  logits = 1.5 * rng.normal(size=(n, 3))
  logits[np.arange(n), labels] += 1.5
  logits[:, 2] -= 1.0
  p = np.exp(3 * logits)
  return p / p.sum(axis=1, keepdims=True), labels


def test_the_fit_is_where_no_step_is_better():
  p, labels = _sure()
  found = label_calibration.fit(p, labels)
  logs = np.log(np.maximum(p, 1e-6))
  weights = np.array([found.slope, *found.offsets])
  best = _loss(weights, logs, labels)
  rng = np.random.default_rng(1)
  for size in (1e-3, 1e-2, 0.3):
    for step in rng.normal(0, size, (50, 4)):
      assert _loss(weights + step, logs, labels) >= best - 1e-9
  # Less sure, and label 2 comes more often than was said.
  assert found.slope < 0.8 and found.offsets[2] > max(found.offsets[:2])


def test_on_other_videos_it_is_better_than_before():
  found = label_calibration.fit(*_sure(seed=0))
  p, labels = _sure(seed=1)
  rows = np.arange(len(labels))
  before = -np.log(np.maximum(p[rows, labels], 1e-6)).mean()
  after = -np.log(found(p)[rows, labels]).mean()
  assert after < before - 0.1
  np.testing.assert_allclose(found(p).sum(axis=1), 1)


def test_identity_and_by_hand():
  p = np.array([[0.2, 0.8], [0.5, 0.5]])
  same = label_calibration.LabelCalibration(1.0, (0.0, 0.0))
  np.testing.assert_allclose(same(p), p)
  # .5^2 e^log 3 to .5^2: 3 to 1.
  moved = label_calibration.LabelCalibration(2.0, (np.log(3.0), 0.0))
  np.testing.assert_allclose(moved(p)[1], [0.75, 0.25])
  assert moved(p[:0]).shape == (0, 2)


@pytest.mark.parametrize('n', [0, 9])
def test_few_instances_calibrate_nothing(n):
  p, labels = _sure()
  assert label_calibration.fit(p[:n], labels[:n]) is None
  assert label_calibration.fit(np.ones((50, 1)), np.zeros(50, int)) is None


def test_labels_that_are_parted_wholly_end_finite():
  labels = np.arange(40) % 4
  p = np.eye(4)[labels]
  found = label_calibration.fit(p, labels)
  assert np.isfinite([found.slope, *found.offsets]).all() and found.slope > 0


def test_labels_in_the_opposite_order_are_left():
  labels = np.arange(400) % 2
  p = np.where(np.eye(2)[labels] > 0, 0.01, 0.99)
  assert label_calibration.fit(p, labels) is None


def test_an_instance_is_known_by_its_closest_proposal():
  segments = np.array([[0.0, 4.0], [0.0, 3.0], [9.0, 12.0]])
  instances = np.array([[0.0, 3.2], [20.0, 21.0], [8.0, 13.0]])
  places, which = label_calibration.examples(segments, instances)
  # 3 / 3.2, none, 3 / 5.
  assert places.tolist() == [1, 2] and which.tolist() == [0, 2]
  none = np.zeros((0, 2))
  for a, b in ((none, instances), (segments, none)):
    assert [len(x) for x in label_calibration.examples(a, b)] == [0, 0]
