import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.stages import dilated

DILATIONS = (1, 2, 4)


def make(total=40):
  model = dilated.DilatedEncoder(8, DILATIONS)
  inputs = jax.random.normal(jax.random.key(0), (2, total, 5))
  mask = jnp.ones((2, total), bool)
  return model, model.init(jax.random.key(1), inputs, mask), inputs, mask


def test_parameter_tree():
  _, params, _, _ = make()
  assert set(params['params']) == {
    'input', 'block_1', 'block_2', 'block_3', 'norm'
  }  # fmt: skip
  assert set(params['params']['block_1']) == {'norm', 'conv', 'dense'}


def test_padding_changes_no_valid_output():
  model, params, inputs, mask = make()
  short = model.apply(params, inputs[:, :25], mask[:, :25])
  padded = inputs.at[:, 25:].set(jnp.nan)
  masked = model.apply(params, padded, mask.at[:, 25:].set(False))
  np.testing.assert_allclose(masked[:, :25], short, atol=1e-5)
  np.testing.assert_array_equal(masked[:, 25:], 0)


def test_reach_is_exact():
  model, params, inputs, mask = make(60)
  reach = dilated.reach(DILATIONS)

  def at_30(x):
    return model.apply(params, x, mask)[0, 30, 0]

  seen = np.abs(np.asarray(jax.grad(at_30)(inputs)))[0].sum(axis=-1) > 0
  assert np.flatnonzero(seen).tolist() == list(
    range(30 - reach, 30 + reach + 1)
  )
