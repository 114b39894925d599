import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cmsn_jax.features.backbones import pooling

WINDOWS = [(1, 2, 2), (2, 2, 2), (1, 1, 1)]


def reference(x, window):
  return nn.max_pool(jax.nn.relu(x), window, window)


@pytest.mark.parametrize('window', WINDOWS)
@pytest.mark.parametrize('shape', [(2, 4, 6, 4, 3), (1, 5, 7, 7, 2)])
def test_values_and_gradient_equal_relu_then_max_pool(window, shape):
  x = jax.random.normal(jax.random.key(0), shape)
  got, pullback = jax.vjp(lambda x: pooling.relu_max_pool(x, window), x)
  want, wanted = jax.vjp(lambda x: reference(x, window), x)
  np.testing.assert_array_equal(got, want)
  g = jax.random.normal(jax.random.key(1), got.shape)
  np.testing.assert_array_equal(pullback(g)[0], wanted(g)[0])


def test_gradient_goes_to_the_first_of_equal_values_and_to_no_negative():
  x = jnp.array([[2.0, 2.0], [1.0, 2.0]]).reshape(1, 1, 2, 2, 1)
  gradient = jax.grad(lambda x: pooling.relu_max_pool(x, (1, 2, 2)).sum())
  assert gradient(x).ravel().tolist() == [1, 0, 0, 0]
  assert gradient(-x).ravel().tolist() == [0, 0, 0, 0]
  assert gradient(0 * x).ravel().tolist() == [0, 0, 0, 0]


def test_bfloat16_stays_bfloat16():
  x = jnp.ones((1, 2, 2, 2, 1), jnp.bfloat16)
  loss = lambda x: pooling.relu_max_pool(x, (2, 2, 2)).sum()
  assert pooling.relu_max_pool(x, (2, 2, 2)).dtype == jnp.bfloat16
  assert jax.grad(loss)(x).dtype == jnp.bfloat16
