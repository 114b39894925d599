import numpy as np
import pytest

from cmsn_jax.data import augmentation


def test_factor_one_on_the_grid_changes_nothing():
  features = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
  np.testing.assert_allclose(
    augmentation.resample(features, 4, 1.0, 10), features[4:14], atol=1e-6
  )


def test_stretched_ramp_stays_a_ramp():
  # A snippet's value is its centre's time; so is that of the stretched one.
  ramp = (np.arange(50) + 0.5)[:, None].astype(np.float32)
  out = augmentation.resample(ramp, 10.0, 2.0, 30)
  expected = 10 + (np.arange(30) + 0.5) / 2
  np.testing.assert_allclose(out[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize('factor', [0.5, 1.0, 1.7])
def test_ends_with_the_features(factor):
  features = np.ones((12, 2), np.float32)
  out = augmentation.resample(features, 0, factor, 100)
  assert len(out) == round(12 * factor)
  np.testing.assert_array_equal(out, 1)


def test_nothing_asked_nothing_changed():
  features = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
  none = augmentation.Augmentation()
  rng = np.random.default_rng(1)
  np.testing.assert_array_equal(
    augmentation.perturb(features, none, rng), features
  )
  assert augmentation.stretch_factor(none, rng) == 1


def test_each_change_has_its_size():
  rng = np.random.default_rng(0)
  features = np.ones((400, 300), np.float32)
  noisy = augmentation.perturb(
    features, augmentation.Augmentation(noise=0.2), rng
  )
  assert np.std(noisy) == pytest.approx(0.2, rel=0.02)
  dropped = augmentation.perturb(
    features, augmentation.Augmentation(channel_drop=0.3), rng
  )
  assert set(np.unique(dropped)) == {0, 1}
  assert np.ptp(dropped, axis=0).max() == 0
  assert dropped.mean() == pytest.approx(0.7, abs=0.1)
  scaled = augmentation.perturb(
    features, augmentation.Augmentation(scale=0.1), rng
  )
  assert np.ptp(scaled, axis=0).max() == 0
  assert np.std(scaled[0]) == pytest.approx(0.1 * np.sqrt(2), rel=0.15)
  assert np.all(features == 1)


def test_same_generator_same_change():
  features = np.ones((9, 4), np.float32)
  changes = augmentation.Augmentation(0.3, 0.1, 0.1, 0.2)
  first, second = (
    augmentation.perturb(features, changes, np.random.default_rng(5))
    for _ in range(2)
  )
  np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize('name', ['time_stretch', 'noise', 'channel_drop'])
def test_bad_settings_are_refused(name):
  with pytest.raises(ValueError, match=name):
    augmentation.Augmentation(**{name: -0.1})
  with pytest.raises(ValueError, match='channel_drop'):
    augmentation.Augmentation(channel_drop=1.0)
