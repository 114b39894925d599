import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains import first_params


def test_they_are_those_of_init_to_the_last_bit(monkeypatch):
  # The level that users have: the tests' own flags state another one.
  monkeypatch.setenv('XLA_FLAGS', '')
  model, inputs = nn.Dense(5), jnp.ones((1, 3))
  found = first_params.drawn(model.init, jax.random.key(3), inputs)['params']
  fast = {'xla_backend_optimization_level': 3}
  expected = jax.jit(model.init, compiler_options=fast)(
    jax.random.key(3), inputs
  )['params']
  assert set(found) == {'kernel', 'bias'}
  for name, value in found.items():
    np.testing.assert_array_equal(value, expected[name])


def test_shapes_cost_no_drawing():
  shapes = jax.eval_shape(
    lambda: first_params.drawn(
      nn.Dense(5).init, jax.random.key(3), jnp.ones((1, 3))
    )
  )
  assert shapes['params']['kernel'].shape == (3, 5)
