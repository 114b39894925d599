import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from cmsn_jax.suppression import calibration


def test_gains_by_hand():
  instances = np.array([[0.0, 10.0], [20.0, 30.0]])
  segments = np.array(
    [
      [0.0, 8.0],  # tIoU .8: first at .5 to .8, seven of ten.
      [50.0, 60.0],
      [0.0, 10.0],  # 1: first at the three that are left.
      [20.0, 30.0],
      [20.0, 30.0],  # Nothing is left for a copy.
    ]
  )
  np.testing.assert_allclose(
    calibration.gains(segments, instances), [0.7, 0, 0.3, 1, 0]
  )
  assert calibration.gains(segments, instances[:0]).tolist() == [0] * 5
  assert len(calibration.gains(segments[:0], instances)) == 0


def _drawn(slope, offset, count=4000):
  rng = np.random.default_rng(0)
  scores = rng.uniform(0.01, 0.99, count)
  log_odds = slope * np.log(scores / (1 - scores)) + offset
  gains = rng.uniform(size=count) < 1 / (1 + np.exp(-log_odds))
  return scores, gains.astype(float)


def test_the_fit_is_the_least_cross_entropy():
  scores, gains = _drawn(0.5, -1.0)
  halves = [(scores[i::2], gains[i::2]) for i in range(2)]
  found = calibration.fit(halves)
  x = np.log(scores / (1 - scores))

  def loss(weights):
    z = weights[0] * x + weights[1]
    prior = ((weights[0] - 1) ** 2 + 1e-3 * weights[1] ** 2) / 2
    return np.sum(np.logaddexp(0, z) - gains * z) + prior

  best = optimize.minimize(loss, [1.0, 0.0], tol=1e-10).x
  np.testing.assert_allclose(found, best, atol=1e-4)
  np.testing.assert_allclose(found, [0.5, -1.0], atol=0.1)
  # Such scores are right on average.
  assert found(scores).mean() == pytest.approx(gains.mean(), abs=1e-6)


@pytest.mark.parametrize('centre', [-9.0, -7.0, -5.0, -3.0])
@pytest.mark.parametrize('good', [20, 100])
def test_a_few_good_ones_above_a_long_tail(centre, good):
  # Where the first step of Newton's method goes far too far.
  rng = np.random.default_rng(3)
  log_odds = np.concatenate(
    [rng.normal(centre, 1, 3200), rng.normal(1.5, 1, good)]
  )
  scores = 1 / (1 + np.exp(-log_odds))
  gains = np.concatenate([np.zeros(3200), rng.beta(4, 2, good)])
  found = calibration.fit([(scores, gains)])
  assert found is not None
  assert found(scores).sum() == pytest.approx(gains.sum(), rel=0.01)


def test_no_fit_where_scores_say_nothing():
  scores, gains = _drawn(-0.5, 0.0)
  assert calibration.fit([(scores, gains)]) is None
  assert calibration.fit([(scores[:12], np.full(12, 0.5))]) is None
  assert calibration.fit([]) is None


def test_scores_that_part_the_gains_wholly_have_a_finite_fit():
  scores = np.linspace(0.1, 0.9, 100)
  found = calibration.fit([(scores, (scores > 0.5).astype(float))])
  assert 1 < found.slope < 100 and abs(found.offset) < 1


@given(
  st.lists(st.floats(1e-4, 1), max_size=30, unique=True),
  st.floats(0.1, 3),
  st.floats(-5, 5),
)
def test_the_order_stays(scores, slope, offset):
  scores = np.sort(np.array(scores))
  found = calibration.Calibration(slope, offset)(scores)
  assert np.all(np.diff(found) >= 0)
  assert np.all((found >= 0) & (found <= 1))
  np.testing.assert_array_equal(calibration.Calibration()(scores), scores)
