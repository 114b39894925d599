"""Gaps in features: found, filled, counted, read by any slices."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.files import (
  feature_concat,
  feature_files,
  feature_gaps,
  feature_resampled,
)

_NAN = np.nan


def _store(tmp_path, **videos):
  for name, rows in videos.items():
    np.save(tmp_path / f'{name}.npy', np.asarray(rows, np.float32))
  return feature_files.open_features(tmp_path)


def _gap_store(store, fill_sec, rate=1.0, **options):
  return feature_gaps.GapStore(store, fill_sec, lambda _: rate, **options)


def test_short_gaps_are_interpolated_and_long_ones_stay(tmp_path):
  rows = np.array(
    [
      [0.0, _NAN, 1.0],
      [_NAN, 5.0, _NAN],
      [2.0, 5.0, _NAN],
      [3.0, _NAN, _NAN],
      [_NAN, _NAN, 7.0],
    ]
  )
  store = _gap_store(_store(tmp_path, a=rows), 2.0, quiet=True)
  np.testing.assert_array_equal(
    store.read('a'),
    # The edges hold the nearest value; three rows are too many.
    [[0, 5, 1], [1, 5, _NAN], [2, 5, _NAN], [3, 5, _NAN], [3, 5, 7]],
  )
  gaps = store.gaps('a')
  assert gaps.column.tolist() == [0, 0, 1, 1, 2]
  assert gaps.start.tolist() == [1, 4, 0, 3, 1]
  assert gaps.stop.tolist() == [2, 5, 1, 5, 4]
  assert gaps.filled.tolist() == [True, True, True, True, False]


def test_seconds_are_rows_over_the_rate_of_the_recording(tmp_path):
  rows = np.arange(20.0)[:, None].copy()
  rows[3:8] = _NAN  # Five rows: half a second of ten a second.
  store = _store(tmp_path, a=rows)
  whole = np.arange(20.0)[:, None]
  read = _gap_store(store, 0.5, 10.0, quiet=True).read('a')
  np.testing.assert_allclose(read, whole)
  for fill_sec, rate in ((0.49, 10.0), (0.5, 9.0)):
    read = _gap_store(store, fill_sec, rate, quiet=True).read('a')
    assert np.isnan(read).sum() == 5


def _filled_plainly(rows, most):
  """Column by column, with np.interp."""
  out = rows.copy()
  for column in range(rows.shape[1]):
    values = rows[:, column]
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
      continue
    k = 0
    while k < len(values):
      if not np.isnan(values[k]):
        k += 1
        continue
      stop = k
      while stop < len(values) and np.isnan(values[stop]):
        stop += 1
      if stop - k <= most:
        out[k:stop, column] = np.interp(
          np.arange(k, stop), known, values[known]
        )
      k = stop
  return out


@given(
  st.integers(1, 25), st.integers(1, 3), st.integers(0, 5), st.integers(0, 999)
)
def test_any_slices_are_those_of_a_plain_loop(total, width, most, seed):
  rng = np.random.default_rng(seed)
  rows = rng.normal(size=(total, width)).astype(np.float32)
  rows[rng.random(rows.shape) < 0.4] = _NAN
  expected = _filled_plainly(rows, most)
  # In blocks of any length the same gaps are found.
  cuts = np.sort(rng.integers(0, total + 1, 3))
  gaps = feature_gaps.find(
    [part for part in np.split(rows, cuts) if len(part)], most, 1
  )
  low, high = np.sort(rng.integers(0, total + 1, 2))
  part = rows[low:high].copy()
  feature_gaps.fill(part, int(low), gaps)
  np.testing.assert_allclose(part, expected[low:high], atol=1e-6)


def test_rows_that_miss_half_of_their_values(tmp_path):
  rows = np.zeros((10, 4))
  rows[2:9, 0] = _NAN
  rows[4:9, 1] = _NAN  # Two of four columns: 4 to 9.
  rows[0:1] = _NAN  # Short, so it is filled.
  store = _gap_store(_store(tmp_path, a=rows), 1.0, quiet=True)
  assert store.missing_rows('a').tolist() == [[4, 9]]


def test_gaps_are_counted_by_recording_and_column(tmp_path):
  rows = np.zeros((60, 3))
  rows[5:10, 1] = rows[20:50, 1] = rows[40:52, 2] = _NAN
  fine = np.zeros((60, 3))
  store = _gap_store(_store(tmp_path, a=rows, b=fine), 1.0, 10.0, quiet=True)
  first, second = store.summary(['a', 'b'])
  assert first.startswith('1 gaps (NaN) of up to 1 s in 1 recordings (a)')
  assert '2 longer gaps in 1 recordings' in second
  assert 'a: column 1: 1 (up to 3 s), column 2: 1 (up to 1.2 s)' in second
  assert store.summary(['b']) == []


def test_a_recording_warns_once(tmp_path):
  rows = np.zeros((8, 1))
  rows[3] = _NAN
  store = _gap_store(_store(tmp_path, a=rows, b=np.zeros((8, 1))), 2.0)
  with pytest.warns(feature_gaps.GapWarning, match='recordings .a. are filled'):
    store.read('a', 2, 5)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    store.read('a')
    store.read('b')


def test_a_column_without_any_value_is_never_filled(tmp_path):
  rows = np.zeros((3, 2))
  rows[:, 1] = _NAN
  read = _gap_store(_store(tmp_path, a=rows), 100.0, quiet=True).read('a')
  assert np.isnan(read).tolist() == [[False, True]] * 3


def test_infinity_is_no_gap(tmp_path):
  store = _gap_store(_store(tmp_path, a=[[0.0], [np.inf]]), 5.0, quiet=True)
  with pytest.raises(feature_files.FeatureFileError, match='row 1'):
    store.read('a')


def test_without_the_setting_a_gap_is_an_error_that_names_it(tmp_path):
  store = _store(tmp_path, a=[[0.0], [_NAN]])
  with pytest.raises(
    feature_files.FeatureFileError, match='a: found nan in row 1.*fill_gaps_sec'
  ):
    store.read('a')


def test_a_mean_over_a_missing_value_is_missing():
  rows = np.array([[1.0], [3.0], [_NAN], [7.0], [9.0]], np.float32)
  found = feature_concat.span_means(rows, np.array([0, 2.0, 3.5, 5]))
  # Not all that follows, as sums over time would have it.
  last = (0.5 * 7 + 9) / 1.5
  np.testing.assert_allclose(found, [[2], [_NAN], [last]], rtol=1e-6)


def test_gaps_in_joined_and_resampled_folders(tmp_path):
  for name, rate in (('x', 2.0), ('y', 4.0)):
    folder = tmp_path / name
    folder.mkdir()
    rows = np.arange(8 * rate)[:, None].copy() / rate
    rows[int(2 * rate) : int(2.5 * rate)] = _NAN
    np.save(folder / 'a.npy', rows.astype(np.float32))
    (folder / 'features.json').write_text(f'{{"feature_fps": {rate}}}')
  paths = f'{tmp_path / "x"},{tmp_path / "y"}'
  store = feature_concat.open_features(paths)
  assert np.isnan(store.read('a', gaps=True)).any(axis=1).tolist() == (
    [False] * 4 + [True] + [False] * 11
  )
  filled = _gap_store(store, 0.5, 2.0, quiet=True)
  np.testing.assert_allclose(
    filled.read('a')[:, 0], np.arange(16) / 2, atol=1e-6
  )
  left = feature_resampled.ResampledStore(
    _gap_store(store, 0.1, 2.0, quiet=True), 1.0, {'a': 2.0}
  )
  assert np.isnan(left.read('a')).all(axis=1).tolist() == (
    [False] * 2 + [True] + [False] * 5
  )
  assert left.missing_rows('a').tolist() == [[2.0, 2.5]]
  assert not hasattr(
    feature_resampled.ResampledStore(store, 1.0, {}), 'missing_rows'
  )
