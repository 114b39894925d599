import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.scoring import roi_pooling

_pool = jax.jit(roi_pooling.roi_max_pool, static_argnums=3)


def _slow(features, starts, ends, num_bins):
  """One bin at a time, borders in exact integers."""
  out = np.zeros((len(starts), num_bins, features.shape[1]), features.dtype)
  for n, (start, end) in enumerate(zip(starts, ends)):
    length = end - start + 1
    for k in range(num_bins):
      first = start + (k * length) // num_bins
      last = start + ((k + 1) * length + num_bins - 1) // num_bins
      out[n, k] = features[first:last].max(axis=0)
  return out


def _pairs(t):
  starts, ends = np.triu_indices(t)
  return starts.astype(np.int32), ends.astype(np.int32)


def test_by_hand():
  features = jnp.array([[5.0], [1.0], [4.0], [2.0], [9.0], [3.0]])
  # 6 snippets in 4 bins: 0-1, 1-2, 3-4, 4-5.
  got = _pool(features, jnp.array([0]), jnp.array([5]), 4)
  np.testing.assert_array_equal(got[0, :, 0], [5, 4, 9, 9])
  # 2 snippets in 4 bins: 0, 0, 1, 1.
  got = _pool(features, jnp.array([1]), jnp.array([2]), 4)
  np.testing.assert_array_equal(got[0, :, 0], [1, 1, 4, 4])


@pytest.mark.parametrize('t', [1, 2, 3, 17])
@pytest.mark.parametrize('num_bins', [1, 3, 4])
def test_every_pair_against_the_loop(t, num_bins):
  features = np.random.default_rng(t).normal(size=(t, 3)).astype(np.float32)
  starts, ends = _pairs(t)
  got = _pool(
    jnp.asarray(features), jnp.asarray(starts), jnp.asarray(ends), num_bins
  )
  np.testing.assert_array_equal(got, _slow(features, starts, ends, num_bins))


def test_bins_cover_the_proposal_without_gaps():
  starts, ends = _pairs(23)
  first, last = roi_pooling.bin_borders(
    jnp.asarray(starts), jnp.asarray(ends), 4
  )
  first, last = np.asarray(first), np.asarray(last)
  assert (first <= last).all()
  np.testing.assert_array_equal(first[:, 0], starts)
  np.testing.assert_array_equal(last[:, -1], ends)
  assert (first[:, 1:] <= last[:, :-1] + 1).all()
  assert (np.diff(first, axis=1) >= 0).all()


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_long_sequences_with_ties_and_infinities(seed):
  rng = np.random.default_rng(seed)
  t, n = 700, 40
  features = rng.integers(-3, 3, (t, 4)).astype(np.float32)
  features[rng.random((t, 4)) < 0.1] = -np.inf
  starts = rng.integers(0, t, n)
  ends = np.minimum(starts + rng.integers(0, t, n), t - 1)
  got = _pool(
    jnp.asarray(features),
    jnp.asarray(starts, jnp.int32),
    jnp.asarray(ends, jnp.int32),
    4,
  )
  np.testing.assert_array_equal(got, _slow(features, starts, ends, 4))


def test_parts_of_the_channels_give_the_same(monkeypatch):
  rng = np.random.default_rng(0)
  features = jnp.asarray(rng.normal(size=(50, 7)), jnp.float32)
  starts, ends = map(jnp.asarray, _pairs(50))
  want = roi_pooling.roi_max_pool(features, starts, ends)
  monkeypatch.setattr(roi_pooling, '_MAX_TABLE_ENTRIES', 500)
  got = roi_pooling.roi_max_pool(features, starts, ends)
  np.testing.assert_array_equal(got, want)


def test_gradient_goes_to_the_maximum():
  rng = np.random.default_rng(3)
  features = rng.permutation(30 * 2).reshape(30, 2).astype(np.float32)
  starts, ends = _pairs(30)
  weight = rng.normal(size=(len(starts), 4, 2)).astype(np.float32)
  grads = jax.grad(
    lambda x: jnp.sum(
      roi_pooling.roi_max_pool(x, jnp.asarray(starts), jnp.asarray(ends))
      * weight
    )
  )(jnp.asarray(features))
  want = np.zeros_like(features)
  for n, (start, end) in enumerate(zip(starts, ends)):
    length = end - start + 1
    for k in range(4):
      first = start + (k * length) // 4
      last = start + ((k + 1) * length + 3) // 4
      for c in range(2):
        best = first + features[first:last, c].argmax()
        want[best, c] += weight[n, k, c]
  np.testing.assert_allclose(grads, want, atol=1e-4)


def test_ties_share_the_gradient():
  grads = jax.grad(
    lambda x: roi_pooling.roi_max_pool(
      x, jnp.array([0]), jnp.array([6]), 1
    ).sum()
  )(jnp.ones((7, 1)))
  assert (grads >= 0).all()
  np.testing.assert_allclose(grads.sum(), 1, rtol=1e-6)


def test_indices_beyond_the_features_are_clamped():
  features = jnp.arange(5.0)[:, None]
  got = _pool(features, jnp.array([-4, 3, 2]), jnp.array([1, 99, 0]), 4)
  want = _slow(np.asarray(features), [0, 3, 2], [1, 4, 2], 4)
  np.testing.assert_array_equal(got, want)


def test_batch_is_each_sequence_alone():
  rng = np.random.default_rng(5)
  features = jnp.asarray(rng.normal(size=(3, 12, 4)), jnp.float32)
  starts = jnp.asarray(rng.integers(0, 6, (3, 8)), jnp.int32)
  ends = starts + jnp.asarray(rng.integers(0, 6, (3, 8)), jnp.int32)
  got = jax.jit(roi_pooling.roi_max_pool_batch)(features, starts, ends)
  for row in range(3):
    want = _pool(features[row], starts[row], ends[row], 4)
    np.testing.assert_array_equal(got[row], want)


def test_no_proposals():
  none = jnp.zeros((0,), jnp.int32)
  assert _pool(jnp.ones((5, 3)), none, none, 4).shape == (0, 4, 3)


def test_bad_sizes_are_named():
  one = jnp.array([0])
  with pytest.raises(ValueError, match='num_bins=0'):
    roi_pooling.roi_max_pool(jnp.ones((5, 3)), one, one, 0)
  with pytest.raises(ValueError, match=r'\(0, 3\)'):
    roi_pooling.roi_max_pool(jnp.ones((0, 3)), one, one)
