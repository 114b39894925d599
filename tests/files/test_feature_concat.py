"""Joined feature folders against integrals computed the slow way."""

import json
import pickle

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from cmsn_jax.data import feature_statistics
from cmsn_jax.files import feature_concat, feature_files


def _folder(path, arrays, feature_fps=None):
  path.mkdir(parents=True, exist_ok=True)
  for video_id, array in arrays.items():
    np.save(path / f'{video_id}.npy', np.asarray(array, np.float32))
  if feature_fps is not None:
    sidecar = {'feature_fps': feature_fps, 'extractor': path.name}
    (path / 'features.json').write_text(json.dumps(sidecar))
  return str(path)


def _slow(rows, rate, grid, num):
  """The module's rule, one value at a time, by fine sampling of spans."""
  result = []
  for i in range(num):
    if rate > grid * (1 + 1e-5):
      low, high = (min(edge * rate / grid, len(rows)) for edge in (i, i + 1))
      if high - low < 1e-9:
        result.append(rows[min(int(low), len(rows) - 1)])
        continue
      total = np.zeros(rows.shape[1])
      for j, row in enumerate(rows):
        total += row * max(0.0, min(high, j + 1) - max(low, j))
      result.append(total / (high - low))
    else:
      at = np.clip((i + 0.5) * rate / grid - 0.5, 0, len(rows) - 1)
      columns = [
        np.interp(at, np.arange(len(rows)), column) for column in rows.T
      ]
      result.append(np.array(columns))
  return np.array(result)


def test_hand_computed(tmp_path):
  first = _folder(tmp_path / 'a', {'v': [[0.0], [1.0], [2.0]]}, 1.0)
  finer = _folder(tmp_path / 'b', {'v': np.arange(6.0)[:, None]}, 2.0)
  coarser = _folder(tmp_path / 'c', {'v': [[0.0], [6.0]]}, 0.5)
  store = feature_concat.open_features(f'{first},{finer},{coarser}')
  # Finer: means of (0, 1), (2, 3), (4, 5). Coarser: rows are centred at 1 s
  # and 3 s, asked for at .5, 1.5 and 2.5 s.
  np.testing.assert_allclose(
    store.read('v'), [[0, 0.5, 0], [1, 2.5, 1.5], [2, 4.5, 4.5]]
  )
  assert store.dim == 3
  assert store.feature_fps == 1.0
  assert [part['extractor'] for part in store.sidecar['parts']] == list('abc')


@hypothesis.given(
  grid=st.sampled_from([1.0, 3.125, 5.0, 25 / 16]),
  rate=st.sampled_from([1.0, 2.0, 3.125, 5.0, 7.3]),
  seconds=st.floats(1.0, 12.0),
  cut=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
@hypothesis.settings(max_examples=40)
def test_equals_the_slow_way_in_any_slice(
  tmp_path_factory, grid, rate, seconds, cut
):
  tmp_path = tmp_path_factory.mktemp('concat')
  rng = np.random.default_rng(0)
  num, other = (max(1, round(seconds * r)) for r in (grid, rate))
  base, rows = rng.random((num, 2)), rng.random((other, 3))
  store = feature_concat.open_features(
    [
      _folder(tmp_path / 'a', {'v': base}, grid),
      _folder(tmp_path / 'b', {'v': rows}, rate),
    ]
  )
  expected = np.concatenate([base, _slow(rows, rate, grid, num)], 1)
  np.testing.assert_allclose(store.read('v'), expected, atol=1e-5)
  start, stop = sorted(cut)
  np.testing.assert_allclose(
    store.read('v', start, stop), expected[start:stop], atol=1e-5
  )


def test_equal_rates_are_appended_unchanged(tmp_path):
  rng = np.random.default_rng(0)
  a = rng.random((9, 2)).astype(np.float32)
  b = rng.random((8, 3)).astype(np.float32)
  store = feature_concat.open_features(
    [
      _folder(tmp_path / 'a', {'v': a}, 3.125),
      _folder(tmp_path / 'b', {'v': b}, 3.125),
    ]
  )
  found = store.read('v')
  np.testing.assert_array_equal(found[:, :2], a)
  # One row short: its last is repeated.
  np.testing.assert_array_equal(found[:, 2:], b[[*range(8), 7]])
  np.testing.assert_array_equal(store.read('v', 8, 9), found[8:])
  assert store.read('v', 9).shape == (0, 5)
  with pytest.raises(ValueError, match='start'):
    store.read('v', -1)


def test_single_path_is_a_plain_store(tmp_path):
  folder = _folder(tmp_path / 'with, comma', {'v': np.ones((3, 2))})
  store = feature_concat.open_features(folder, feature_fps=2.0)
  assert isinstance(store, feature_files.FeatureStore)
  assert store.feature_fps == 2.0


def test_errors_and_warnings(tmp_path):
  a = _folder(tmp_path / 'a', {'v': np.ones((100, 2)), 'w': [[1]]}, 5.0)
  b = _folder(tmp_path / 'b', {'v': np.ones((50, 2))})
  c = _folder(tmp_path / 'c', {'x': np.ones((50, 2))}, 5.0)
  with pytest.raises(ValueError, match='does not say its rate'):
    feature_concat.open_features([a, b])
  with pytest.raises(ValueError, match='no video is in all'):
    feature_concat.open_features([a, c])
  with pytest.raises(ValueError, match='empty name'):
    feature_concat.open_features(f'{a},')
  with pytest.raises(FileNotFoundError, match='nowhere'):
    feature_concat.open_features([a, str(tmp_path / 'nowhere')])
  with pytest.raises(ValueError, match='each of the 2'):
    feature_concat.open_features([a, b], feature_fps=[1.0])
  with pytest.warns(feature_concat.FeatureConcatWarning, match='left out: w'):
    store = feature_concat.open_features([a, b], feature_fps=[None, 5.0])
  assert store.ids == ('v',)
  assert 'v' in store and 'w' not in store
  with pytest.raises(ValueError, match=r'20.0 s .*10.0 s'):
    store.read('v')
  with pytest.raises(ValueError, match='1 problem found'):
    store.check()


def test_statistics_and_workers(tmp_path):
  rng = np.random.default_rng(0)
  store = feature_concat.open_features(
    [
      _folder(tmp_path / 'a', {'v': rng.random((40, 2))}, 5.0),
      _folder(tmp_path / 'b', {'v': rng.random((80, 1))}, 10.0),
    ]
  )
  found = feature_statistics.statistics_of(store, ['v'])
  rows = pickle.loads(pickle.dumps(store)).read('v')
  np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-5)
  np.testing.assert_allclose(found.std, rows.std(0), rtol=1e-4)
