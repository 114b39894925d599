"""Which features are shown as curves, and how, by hand."""

import numpy as np

from cmsn_jax.files import feature_files
from cmsn_jax.review import curves


def test_columns_that_change_most_by_their_own_range():
  t = np.arange(200)
  features = np.zeros((200, 4), np.float32)
  features[:, 0] = 1000 * (t % 2)  # between its ends all the time
  features[:, 1] = 1e-3 * np.sin(t)
  features[:, 2] = t == 100  # one outlier, else constant
  features[:, 3] = 7.0
  np.testing.assert_array_equal(curves.columns(features, 6), [0, 1])
  np.testing.assert_array_equal(curves.columns(features, 1), [0])


def test_an_envelope_keeps_every_peak():
  rows = np.array([[0.0], [5.0], [1.0], [2.0], [-3.0]], np.float32)
  low, high = curves.envelope(rows, 0, 5, 3)
  np.testing.assert_array_equal(low[:, 0], [0, 1, -3])
  np.testing.assert_array_equal(high[:, 0], [5, 2, -3])
  low, high = curves.envelope(rows, 1, 3, 100)
  np.testing.assert_array_equal(low[:, 0], [5, 1])
  np.testing.assert_array_equal(low, high)


def test_a_view_by_time(tmp_path):
  np.save(tmp_path / 'a.npy', np.arange(100, dtype=np.float32)[:, None])
  store = feature_files.open_features(tmp_path, feature_fps=5.0)
  found = curves.Curves(store).view('a', 10.0, 12.0, 20.0, 1000)
  assert (found['from'], found['step']) == (10.0, 0.2)
  (curve,) = found['curves']
  # Rows 50 to 60 of 0 to 99, as shares of 255, the outermost halves per cent cut.
  expected = (np.arange(50, 61) - 0.495) / (99 - 0.99) * 255
  np.testing.assert_allclose(curve['low'], expected, atol=0.51)
  assert curve['name'] == 'feature 0'
