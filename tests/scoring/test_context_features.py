import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.scoring import context_features


def slow_mean(features, low, high):
  """Overlap of the bin with every snippet, one by one."""
  total = np.zeros(features.shape[1])
  for i, row in enumerate(features):
    total += max(0.0, min(high, i + 1) - max(low, i)) * row
  return total / (high - low)


def slow_pool(features, segments, inner, context, border):
  out = []
  for s, e in segments:
    d = e - s
    edges = [
      *((s - d / 2 + i * d / 2 / context, s - d / 2 + (i + 1) * d / 2 / context)
        for i in range(context)),
      *((s + i * d / inner, s + (i + 1) * d / inner) for i in range(inner)),
      *((e + i * d / 2 / context, e + (i + 1) * d / 2 / context)
        for i in range(context)),
      (s - border, s), (s, s + border), (e - border, e), (e, e + border),
    ]  # fmt: skip
    out.append([slow_mean(features, low, high) for low, high in edges])
  return np.array(out)


@pytest.mark.parametrize(
  ('inner', 'context', 'length'),
  [(8, 2, 30), (3, 1, 32), (8, 2, 1), (8, 2, 161)],
)
def test_equals_slow_reference(inner, context, length):
  rng = np.random.default_rng(0)
  features = rng.normal(size=(length, 5)).astype(np.float32)
  start = rng.uniform(0, max(length - 5, 1), 12)
  segments = np.stack([start, start + rng.uniform(0.6, 14, 12)], axis=1)
  pooled = jax.jit(
    lambda f, s: context_features.context_pool(
      f, s, inner_bins=inner, context_bins=context, border=1.5
    )
  )(features, segments.astype(np.float32))
  assert pooled.shape == (12, context_features.num_bins(inner, context), 5)
  expected = slow_pool(features, segments, inner, context, 1.5)
  np.testing.assert_allclose(pooled, expected, atol=2e-4)


def test_hand_computed_bins():
  # A ramp: the mean over [a, b) with whole snippets is (a + b - 1) / 2.
  features = jnp.arange(20.0)[:, None]
  pooled = context_features.context_pool(
    features, jnp.array([[8.0, 12.0]]), inner_bins=2, context_bins=1,
    border=2.0,
  )  # fmt: skip
  np.testing.assert_allclose(
    pooled[0, :, 0], [6.5, 8.5, 10.5, 12.5, 6.5, 8.5, 10.5, 12.5]
  )


def test_outside_counts_zero():
  pooled = context_features.context_pool(
    jnp.ones((10, 1)), jnp.array([[0.0, 4.0]]), inner_bins=1, context_bins=1,
    border=2.0,
  )  # fmt: skip
  np.testing.assert_allclose(pooled[0, :, 0], [0, 1, 1, 0, 1, 1, 1], atol=1e-6)


def test_gradient_reaches_the_features_of_the_bins_only():
  features = jnp.ones((40, 2))
  segments = jnp.array([[10.0, 20.0]])

  def total(x):
    return context_features.context_pool(x, segments).sum()

  gradient = np.asarray(jax.grad(total)(features))
  assert np.all(gradient[6:24] > 0)
  np.testing.assert_allclose(gradient[:5], 0, atol=1e-5)
  np.testing.assert_allclose(gradient[25:], 0, atol=1e-5)


def test_inner_bins_are_those_between_the_contexts():
  rng = np.random.default_rng(0)
  features = jnp.asarray(rng.normal(size=(30, 3)), jnp.float32)
  segments = jnp.array([[2.5, 9.25], [0.0, 30.0], [-3.0, 4.0], [28.0, 33.0]])
  whole = context_features.context_pool(
    features, segments, inner_bins=5, context_bins=2
  )
  found = context_features.inner_pool(features, segments, 5)
  np.testing.assert_allclose(found, whole[:, 2:7], atol=1e-5)
