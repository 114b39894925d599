import numpy as np
import pytest

from cmsn_jax.features import pose
from cmsn_jax.files import pose_files

PARTS = ('tail', 'body', 'nose')


def made(points, likelihood=None, **options):
  points = np.asarray(points, np.float64)
  if likelihood is None:
    likelihood = np.ones(points.shape[:3])
  animals = tuple(f'm{k}' for k in range(points.shape[1]))
  return pose.make(
    pose_files.Pose(points, likelihood, animals, PARTS[: points.shape[2]]),
    10.0, **options,
  )  # fmt: skip


def moving(total=20, animals=2):
  rng = np.random.default_rng(0)
  shape = np.array([[-2.0, 0], [0, 0.5], [2, 0]])
  centres = np.cumsum(rng.normal(size=(total, animals, 1, 2)), axis=0)
  return shape + centres + rng.normal(size=(total, animals, 3, 2)) * 0.1


def moved(points, angle=0.7, shift=(100.0, -30.0), scale=3.0):
  cos, sin = np.cos(angle), np.sin(angle)
  return scale * points @ np.array([[cos, sin], [-sin, cos]]) + shift


def test_place_size_and_direction_do_not_matter():
  points = moving()
  plain = made(points, axis=('tail', 'nose'))
  other = made(moved(points), axis=('tail', 'nose'))
  np.testing.assert_allclose(plain.features, other.features, atol=2e-4)
  assert plain.features.shape == (20, len(plain.names))
  assert plain.features.dtype == np.float32
  # Without an axis the direction is seen by the egocentric block alone.
  for preset in ('distances', 'velocity', 'social'):
    np.testing.assert_allclose(
      made(points, presets=(preset,)).features,
      made(moved(points), presets=(preset,)).features, atol=2e-4,
    )  # fmt: skip


def test_by_hand():
  # One animal of body size 1 whose centre moves by 1 a frame, 10 a second.
  shape = np.array([[-1.0, 0], [0, 0], [1, 0]]) * np.sqrt(1.5)
  points = shape + np.arange(5.0)[:, None, None, None] * np.array([1.0, 0])
  found = made(points, presets=('velocity', 'distances', 'egocentric'))
  assert found.names[0] == 'velocity: animal 0 centre'
  np.testing.assert_allclose(found.features[:, 0], 10)
  np.testing.assert_allclose(found.features[:, 1:4], 0, atol=1e-6)
  np.testing.assert_allclose(
    found.features[0, 4:7], np.sqrt(1.5) * np.array([1, 2, 1]), rtol=1e-6
  )
  np.testing.assert_allclose(found.features[0, 7:], shape.ravel(), atol=1e-6)


def test_a_turning_animal():
  angles = np.arange(8) * 0.2
  shape = np.array([[-1.0, 0], [0, 0], [1, 0]])
  points = np.stack([moved(shape, a, 0.0, 1.0) for a in angles])[:, None]
  found = made(points, presets=('velocity',), axis=('tail', 'nose'))
  assert found.names[-1] == 'velocity: animal 0 turning'
  np.testing.assert_allclose(found.features[:, -1], 2.0, rtol=1e-5)


def test_gaps_are_filled_in_and_counted():
  points, likelihood = moving(animals=1), np.ones((20, 1, 3))
  points[:, 0, 2, 0] = np.arange(20)
  spoilt = points.copy()
  spoilt[5:9, 0, 2] = 1e6
  likelihood[5:9, 0, 2] = 0.1
  spoilt[0, 0, 1] = np.nan
  filled, kept, longest = pose.fill(
    spoilt, (likelihood > 0.6) & np.isfinite(spoilt).all(-1)
  )
  np.testing.assert_allclose(filled[5:9, 0, 2, 0], [5, 6, 7, 8])
  np.testing.assert_allclose(filled[0, 0, 1], points[1, 0, 1])
  assert kept == [0, 1, 2] and longest == 4
  found = made(spoilt, likelihood)
  assert np.isfinite(found.features).all()
  assert found.masked == pytest.approx(5 / 60)
  assert found.longest_gap_sec == pytest.approx(0.4)


def test_a_part_that_is_never_seen_is_left_out():
  likelihood = np.ones((20, 2, 3))
  likelihood[:, 1, 1] = 0
  found = made(moving(), likelihood, presets=('distances',))
  assert found.names == (
    'distances: animal 0 tail to nose', 'distances: animal 1 tail to nose'
  )  # fmt: skip
  with pytest.raises(ValueError, match='no body part is seen'):
    made(moving(), likelihood * 0)
  with pytest.raises(ValueError, match='axis part body is never seen'):
    made(moving(), likelihood, axis=('tail', 'body'))


def test_wrong_names():
  with pytest.raises(ValueError, match='presets must be of egocentric'):
    made(moving(), presets=('ego',))
  with pytest.raises(ValueError, match="no part 'snout'; there are tail"):
    made(moving(), axis=('tail', 'snout'))
  with pytest.raises(ValueError, match='need more animals'):
    made(moving(animals=1), presets=('social',))


def test_one_frame_one_animal_one_part():
  found = made(np.zeros((1, 1, 1, 2)))
  assert found.names == ('velocity: animal 0 centre',)
  np.testing.assert_array_equal(found.features, [[0]])
