import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.scoring import losses


def test_by_hand():
  pred = jnp.array([0.0, 1.0, 3.0, -2.0])
  target = jnp.array([0.5, 0.0, 0.0, 0.0])
  mask = jnp.ones(4, bool)
  # .125, .5 (where both pieces meet), 2.5, 1.5
  np.testing.assert_allclose(losses.smooth_l1(pred, target, mask), 4.625 / 4)
  got = losses.smooth_l1(pred, target, mask, beta=2.0)
  np.testing.assert_allclose(got, (0.0625 + 0.25 + 2 + 1) / 4)


def test_gradient_is_clipped_error():
  error = jnp.array([-3.0, -0.4, 0.0, 0.4, 3.0])
  grads = jax.grad(losses.smooth_l1)(error, jnp.zeros(5), jnp.ones(5, bool))
  np.testing.assert_allclose(grads * 5, [-1, -0.4, 0, 0.4, 1], rtol=1e-6)


def test_a_mask_is_a_deletion_even_of_nan():
  rng = np.random.default_rng(0)
  pred, target = rng.normal(size=(2, 3, 4)).astype(np.float32)
  mask = rng.random((3, 4)) < 0.5
  loss = jax.jit(jax.value_and_grad(losses.smooth_l1))
  rubbish = jnp.where(mask, pred, jnp.nan)
  got, grads = loss(rubbish, jnp.asarray(target), jnp.asarray(mask))
  want, _ = loss(
    jnp.asarray(pred[mask]),
    jnp.asarray(target[mask]),
    jnp.ones(mask.sum(), bool),
  )
  np.testing.assert_allclose(got, want, rtol=1e-6)
  assert np.isfinite(grads).all()
  np.testing.assert_array_equal(grads[~mask], 0)


def test_nothing_valid_gives_zero():
  loss, grads = jax.value_and_grad(losses.smooth_l1)(
    jnp.ones(3), jnp.zeros(3), jnp.zeros(3, bool)
  )
  assert loss == 0
  np.testing.assert_array_equal(grads, 0)


def test_result_is_float32():
  half = jnp.ones(3, jnp.bfloat16)
  assert losses.smooth_l1(half, half, half > 0).dtype == jnp.float32


def test_beta_must_be_positive():
  with pytest.raises(ValueError, match='got 0'):
    losses.smooth_l1(jnp.ones(1), jnp.ones(1), jnp.ones(1, bool), beta=0.0)
