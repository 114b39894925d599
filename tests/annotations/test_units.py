"""Times that do not look like seconds."""

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet, units


def annotations(duration, *segments, fps=None):
  rows = np.array(segments, float).reshape(-1, 2)
  video = activitynet.Video(
    'a', 'training', duration, rows, ('x',) * len(rows), fps
  )
  return activitynet.Annotations('', {'a': video})


def check(*args, **kwargs):
  return units.check(annotations(*args, **kwargs), 'a.csv')


def test_ordinary_seconds_pass():
  assert not check(60, [1.5, 3.2], [20.1, 28.4], [50, 58])
  assert not check(60, [1, 3], [20, 28])  # coded to whole seconds
  assert not check(60)


def test_whole_numbers():
  (found,) = check(600, [30, 90], [240, 300], fps=30)
  assert 'all 4 times are whole numbers' in found
  assert 'at 30 a second the median event lasts 2 s' in found
  assert check(3600, *([k * 100, k * 100 + 5] for k in range(30)))


def test_the_beginning_only():
  (found,) = check(3600, [1.5, 2.5], [20.25, 22.5], [40.5, 44.75], [50, 59])
  assert 'first 1.64% of every recording' in found and 'times 60' in found


@pytest.mark.parametrize(
  ('segments', 'unit'),
  [
    ([[0.1, 0.15], [0.8, 0.9]], 'fraction'),
    ([[1.2e-5, 3e-5], [1e-4, 1.3e-4]], 'days'),
    ([[0.1, 0.2], [0.3, 0.45]], 'minutes'),
  ],
)
def test_all_ends_below_one_are_refused(segments, unit):
  with pytest.raises(activitynet.AnnotationError, match=f'--unit={unit}'):
    check(60, *segments)


def test_events_shorter_than_a_frame():
  found = check(60, [1, 1.01], [20, 20.01], [50, 50.02])
  assert any('shorter than a frame' in text for text in found)
