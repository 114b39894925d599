import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cmsn_jax.training import optimizer


def _params(members=None):
  shape = (lambda *s: s) if members is None else (lambda *s: (members, *s))
  return {
    'dense': {'kernel': jnp.ones(shape(2, 3)), 'bias': jnp.ones(shape(3))},
    'norm': {'scale': jnp.ones(shape(3))},
  }


def _update(params, name='sgd', steps=1, grads=None, **options):
  options = {'weight_decay': 0.0, 'momentum': 0.0, **options}
  tx = optimizer.create(name, optax.constant_schedule(0.1), **options)
  state = tx.init(params)
  for _ in range(steps):
    given = grads or {
      k: {n: jnp.zeros_like(v) for n, v in p.items()} for k, p in params.items()
    }
    updates, state = tx.update(given, state, params)
    params = optax.apply_updates(params, updates)
  return params


def test_decay_by_hand():
  found = _update(_params(), weight_decay=0.5)
  # rate .1 x decay .5 of a weight of 1.
  np.testing.assert_allclose(found['dense']['kernel'], 0.95)
  np.testing.assert_array_equal(found['dense']['bias'], 1)
  np.testing.assert_array_equal(found['norm']['scale'], 1)


@pytest.mark.parametrize('name', ['sgd', 'adam', 'adamw'])
def test_of_stacked_networks_the_same_parameters_decay(name):
  one = _update(_params(), name, weight_decay=0.5)
  four = _update(_params(4), name, weight_decay=0.5, stacked_axes=1)
  for section, values in one.items():
    for key, value in values.items():
      stacked = four[section][key]
      assert stacked.shape == (4, *value.shape)
      np.testing.assert_allclose(stacked, np.stack([value] * 4), rtol=1e-6)


def test_momentum_by_hand():
  ones = {'w': {'kernel': jnp.ones((1, 1))}}
  found = _update(
    {'w': {'kernel': jnp.zeros((1, 1))}}, steps=3, momentum=0.9, grads=ones
  )
  # Velocities 1, 1.9, 2.71.
  np.testing.assert_allclose(
    found['w']['kernel'], -0.1 * (1 + 1.9 + 2.71), rtol=1e-6
  )


def test_adam_adds_the_decay_to_the_gradient_and_adamw_does_not():
  grads = {'w': {'kernel': jnp.full((1, 1), 1e-3)}}
  start = {'w': {'kernel': jnp.full((1, 1), 2.0)}}
  adam = _update(start, 'adam', weight_decay=0.1, grads=grads)
  adamw = _update(start, 'adamw', weight_decay=0.1, grads=grads)
  # Adam's first step is the sign of gradient and decay together: -rate.
  np.testing.assert_allclose(adam['w']['kernel'], 1.9, rtol=1e-4)
  np.testing.assert_allclose(
    adamw['w']['kernel'], 2 - 0.1 - 0.1 * 0.1 * 2, rtol=1e-4
  )


def test_labels_name_every_parameter():
  found = optimizer.labels(_params(), ('^dense/',))
  assert found == {
    'dense': {'kernel': 'frozen', 'bias': 'frozen'},
    'norm': {'scale': 'train'},
  }


@pytest.mark.parametrize('patterns', [('dens/',), ('^dense/', 'nothing')])
def test_a_pattern_without_effect_is_an_error(patterns):
  with pytest.raises(ValueError, match='matches no parameter; there are dense'):
    optimizer.labels(_params(), patterns)


def test_a_frozen_parameter_neither_moves_nor_decays():
  grads = {
    'dense': {'kernel': jnp.ones((2, 3)), 'bias': jnp.ones(3)},
    'norm': {'scale': jnp.ones(3)},
  }
  found = _update(
    _params(), weight_decay=0.5, grads=grads, frozen=('kernel',), steps=3
  )
  np.testing.assert_array_equal(found['dense']['kernel'], 1)
  assert np.all(found['dense']['bias'] < 1)


@pytest.mark.parametrize('total', [1, 2, 7, 8])
def test_a_schedule_of_a_tiny_run_is_finite(total):
  rate = optimizer.schedule('cosine', 1.0, warmup_steps=50, total_steps=total)
  values = [float(rate(step)) for step in range(total + 1)]
  assert np.isfinite(values).all() and max(values) <= 1.0
