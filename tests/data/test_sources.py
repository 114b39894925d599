import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cmsn_jax.data import feature_statistics, sources
from cmsn_jax.files import feature_files, feature_gaps


def _store(tmp_path, lengths, dim=3, seed=0):
  rng = np.random.default_rng(seed)
  for name, length in lengths.items():
    rows = rng.normal(100.0, 2.0, size=(length, dim)).astype(np.float32)
    np.save(tmp_path / f'{name}.npy', rows)
  return feature_files.open_features(str(tmp_path))


class _Arrays:
  """A store of arrays in memory."""

  def __init__(self, arrays):
    self._arrays = arrays
    self.ids = list(arrays)
    self.dim = arrays[self.ids[0]].shape[1]

  def num_snippets(self, video_id):
    return len(self._arrays[video_id])

  def read(self, video_id, start, stop):
    return self._arrays[video_id][start:stop]


@given(st.integers(1, 40), st.integers(1, 7), st.booleans())
def test_pooled_equals_a_loop(length, pool, deviation):
  rows = np.random.default_rng(length).normal(size=(length, 2))
  found = sources.pooled(rows.astype(np.float32), pool, deviation)
  for i, start in enumerate(range(0, length, pool)):
    run = rows[start : start + pool]
    expected = run.mean(axis=0)
    if deviation and pool > 1:
      expected = np.concatenate(
        [expected, 0.5 * np.log(run.var(axis=0) + 1e-6)]
      )
    np.testing.assert_allclose(found[i], expected, atol=2e-4)


def test_statistics_are_those_of_all_snippets_at_once(tmp_path, monkeypatch):
  store = _store(tmp_path, {'a': 50, 'b': 7, 'c': 31})
  rows = np.concatenate([store.read(v) for v in ('a', 'c')])
  floor = 1e-3 * rows.std(axis=0, dtype=np.float64)
  whole = np.concatenate(
    [sources.pooled(store.read(v), 4, True, floor) for v in ('a', 'c')]
  )
  monkeypatch.setattr(feature_statistics, '_BLOCK_VALUES', 36)
  found = feature_statistics.statistics_of(store, ['a', 'c'], 4, True)
  np.testing.assert_allclose(found.mean, whole.mean(axis=0), rtol=1e-5)
  np.testing.assert_allclose(found.std, whole.std(axis=0), rtol=1e-4)


@given(
  st.lists(st.integers(1, 40), min_size=1, max_size=4),
  st.floats(-1e3, 1e3),
  st.integers(1, 50),
)
def test_statistics_in_pieces_of_any_size(lengths, offset, block):
  rng = np.random.default_rng(sum(lengths))
  arrays = {
    f'v{k}': rng.normal(offset, 1, (length, 2)).astype(np.float32)
    for k, length in enumerate(lengths)
  }
  for array in arrays.values():
    array[:, 1] = 7  # never varies
  store = _Arrays(arrays)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(feature_statistics, '_BLOCK_VALUES', 2 * block)
    found = feature_statistics.statistics_of(store, store.ids, quantiles=True)
  rows = np.concatenate(list(arrays.values())).astype(np.float64)
  np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-5, atol=1e-5)
  assert found.std[1] == 1
  if len(rows) > 1:
    np.testing.assert_allclose(found.std[0], rows[:, 0].std(), rtol=1e-4)
  np.testing.assert_allclose(
    found.quantiles[32], np.median(rows, axis=0), rtol=1e-5
  )


def test_normal_scores_of_a_heavy_tail():
  rng = np.random.default_rng(0)
  normal = rng.normal(size=(20_000, 1))
  # 70 % of the second feature are one value.
  steps = np.where(rng.random((20_000, 1)) < 0.7, 3.0, 5 + normal)
  rows = np.concatenate([np.exp(3 * normal), steps], 1).astype(np.float32)
  store = _Arrays({'a': rows})
  found = feature_statistics.statistics_of(store, ['a'], quantiles=True).apply(
    rows
  )
  middle = np.abs(normal[:, 0]) < 2
  np.testing.assert_allclose(found[middle, 0], normal[middle, 0], atol=0.15)
  assert np.abs(found).max() <= 2.9
  # All alike, below everything else, and near the mean of their share.
  low = found[steps[:, 0] == 3.0, 1]
  assert np.ptp(low) == 0
  np.testing.assert_allclose(
    low[0], stats.norm.expect(ub=0.524) / 0.7, atol=0.1
  )


def test_features_that_hardly_ever_change_are_standardised():
  rng = np.random.default_rng(0)
  rows = np.zeros((2000, 3), np.float32)
  rows[7, 0] = 1  # a rare event
  rows[:, 1] = 4 + 1e-8 * rng.normal(size=2000)  # rounding
  rows[:, 2] = rng.normal(size=2000)
  found = feature_statistics.statistics_of(
    _Arrays({'a': rows}), ['a'], quantiles=True
  )
  applied = found.apply(rows)
  np.testing.assert_allclose(applied[7, 0], np.sqrt(1999), rtol=1e-3)
  assert np.abs(applied[:, 1]).max() < 1e-3
  assert 0.9 < applied[:, 2].std() < 1.1


def test_quantiles_of_a_large_set_are_of_evenly_spread_snippets(monkeypatch):
  rows = np.linspace(0, 1, 1000, dtype=np.float32)[:, None]
  store = _Arrays({f'v{k}': rows[k * 250 : (k + 1) * 250] for k in range(4)})
  monkeypatch.setattr(feature_statistics, '_MAX_VALUES', 100)
  monkeypatch.setattr(feature_statistics, '_BLOCK_VALUES', 33)
  found = feature_statistics.statistics_of(store, store.ids, quantiles=True)
  every = np.quantile(rows[::10], sources.LEVELS, axis=0)
  np.testing.assert_allclose(found.quantiles, every, atol=1e-6)


def test_slices_equal_the_whole(tmp_path):
  store = _store(tmp_path, {'a': 50})
  statistics = feature_statistics.statistics_of(store, ['a'], 4, True)
  source = sources.FeatureSource(
    store, 8.0, pool=4, deviation=True, statistics=statistics
  )
  assert source.feature_fps == 2.0
  assert source.num_snippets('a') == 13
  assert source.snippet_shape == (6,)
  whole = source.read('a')
  assert whole.shape == (13, 6) and whole.dtype == np.float32
  np.testing.assert_array_equal(source.read('a', 3, 9), whole[3:9])
  np.testing.assert_allclose(whole.mean(axis=0), 0, atol=1e-4)


def test_a_constant_feature_becomes_zero(tmp_path):
  np.save(tmp_path / 'a.npy', np.full((9, 2), 5.0, np.float32))
  store = feature_files.open_features(str(tmp_path))
  source = sources.FeatureSource(
    store, 1.0, statistics=feature_statistics.statistics_of(store, ['a'])
  )
  np.testing.assert_array_equal(source.read('a'), np.zeros((9, 2)))


def test_statistics_of_another_width_are_refused(tmp_path):
  store = _store(tmp_path, {'a': 9})
  with pytest.raises(ValueError, match='statistics are of 2 features.*give 3'):
    sources.FeatureSource(
      store, 1.0, statistics=sources.Statistics(np.zeros(2), np.ones(2))
    )


@pytest.mark.parametrize('quantiles', [False, True])
def test_tiny_features_are_standardised_as_large_ones(quantiles):
  rng = np.random.default_rng(0)
  rows = rng.normal(size=(500, 3)).astype(np.float32)
  rows[:, 2] = 0.25  # never changes

  class Store:
    dim, ids = 3, ('a',)

    def __init__(self, factor):
      self._rows = rows * np.float32(factor)

    def num_snippets(self, video_id):
      return 500

    def read(self, video_id, start, stop):
      return self._rows[start:stop]

  found = []
  for factor in (1.0, 1e-7, 1e7):
    store = Store(factor)
    statistics = feature_statistics.statistics_of(
      store, ['a'], quantiles=quantiles
    )
    assert statistics.std[2] == 1
    found.append(statistics.apply(store.read('a', 0, 500))[:, :2])
  for other in found[1:]:
    np.testing.assert_allclose(found[0], other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('scale', [1e-7, 1e-12, 1e9])
@pytest.mark.parametrize('quantiles', [False, True])
def test_the_unit_of_features_makes_no_difference(scale, quantiles):
  # Limits of 1e-6 took features x 1e-7 for constant.
  rng = np.random.default_rng(0)
  rows = rng.normal(3, 1, (400, 4)).astype(np.float32)
  rows[:, 2] = 0.25
  rows[:, 3] = 0
  rows[17, 3] = 1

  def read(rows):
    store = _Arrays({'a': rows})
    found = feature_statistics.statistics_of(
      store, ['a'], 3, True, quantiles=quantiles
    )
    source = sources.FeatureSource(
      store, 30.0, pool=3, deviation=True, statistics=found
    )
    return found, source.read('a')

  found, plain = read(rows)
  # The mean of the third; its deviation has nothing to say either.
  assert found.constant == (2, 6)
  scaled = read((rows * scale).astype(np.float32))
  assert scaled[0].constant == (2, 6)
  np.testing.assert_allclose(scaled[1], plain, atol=2e-3)


def test_what_changes_from_one_recording_to_the_next_only_is_constant():
  rows = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
  rows[0, :, 1], rows[1, :, 1] = 3.0, 4.0
  store = _Arrays({'a': rows[0], 'b': rows[1]})
  for pool, deviation, expected in ((1, False, (1,)), (5, True, (1, 4))):
    found = feature_statistics.statistics_of(
      store, store.ids, pool, deviation, quantiles=True
    )
    assert found.constant == expected
  # It has a deviation, and is standardised by it.
  plain = feature_statistics.statistics_of(store, store.ids)
  np.testing.assert_allclose(plain.std[1], 0.5)


def test_single_wild_values_are_found_whatever_the_scale():
  rows = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
  rows[:, 3] = 0
  rows[5, 3] = 1  # A rare event is none.
  kept = rows.copy()
  rows[7, 1] = 1e7
  for scale in (1e-7, 1.0, 1e7):
    store = _Arrays({'a': rows * np.float32(scale)})
    found = feature_statistics.statistics_of(store, ['a'], 3, True)
    assert found.wild == (1,)
    # The floor of deviations is a thousandth of the bulk, not of the value.
    np.testing.assert_allclose(found.floor[1], 4.1e-3 * scale, rtol=0.05)
  assert (
    feature_statistics.statistics_of(_Arrays({'a': kept}), ['a']).wild == ()
  )


def test_statistics_of_wide_features_need_little_memory(monkeypatch):
  # 65,536 rows of any width at once, in float64 and several copies, were
  # gigabytes.
  rows = np.lib.stride_tricks.as_strided(
    np.random.default_rng(0).normal(size=4096).astype(np.float32),
    (16_000, 2048), (0, 4),
  )  # fmt: skip
  monkeypatch.setattr(feature_statistics, '_BLOCK_VALUES', 1 << 20)
  tracemalloc.start()
  feature_statistics.statistics_of(_Arrays({'a': rows}), ['a'], quantiles=False)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 60 * 2**20


def _missing(tmp_path, share=0.3):
  rng = np.random.default_rng(5)
  rows = rng.normal(3, 2, (4000, 3)).astype(np.float32)
  rows[rng.random(rows.shape) < share] = np.nan
  rows[:, 2] = np.nan
  np.save(tmp_path / 'a.npy', rows)
  store = feature_gaps.GapStore(
    feature_files.open_features(tmp_path), 0.0, lambda _: 1.0, quiet=True
  )
  return rows, store


@pytest.mark.parametrize('block', [7, 1 << 21])
def test_missing_values_do_not_count_in_statistics(
  tmp_path, monkeypatch, block
):
  monkeypatch.setattr(feature_statistics, '_BLOCK_VALUES', 3 * block)
  rows, store = _missing(tmp_path)
  found = feature_statistics.statistics_of(store, ['a'], quantiles=True)
  for column in (0, 1):
    values = rows[:, column][~np.isnan(rows[:, column])].astype(np.float64)
    np.testing.assert_allclose(found.mean[column], values.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.std[column], values.std(), rtol=1e-5)
    np.testing.assert_allclose(
      found.quantiles[32, column], np.median(values), rtol=1e-5
    )
  assert (found.mean[2], found.std[2], found.constant) == (0, 1, (2,))


def test_missing_values_become_the_mean(tmp_path):
  rows, store = _missing(tmp_path)
  for quantiles in (False, True):
    source = sources.FeatureSource(
      store,
      2.0,
      statistics=feature_statistics.statistics_of(
        store, ['a'], quantiles=quantiles
      ),
    )
    found = source.read('a', 0, 50)
    np.testing.assert_array_equal(found[np.isnan(rows[:50])], 0)
    assert np.all(found[~np.isnan(rows[:50])] != 0)
  # Two of three columns: at least one of the first two, for a second or more.
  lost = np.isnan(rows).sum(axis=1) >= 2
  times = (np.arange(len(rows)) + 0.5) / 2
  inside = np.zeros(len(rows), bool)
  for start, end in source.missing('a'):
    inside |= (times >= start) & (times < end)
  np.testing.assert_array_equal(inside, lost)


def test_a_source_without_gaps_misses_nothing(tmp_path):
  np.save(tmp_path / 'a.npy', np.zeros((4, 2), np.float32))
  source = sources.FeatureSource(feature_files.open_features(tmp_path), 2.0)
  assert source.missing('a').shape == (0, 2)
