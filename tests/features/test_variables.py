"""Shapes, random fill and check of variable trees."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features import variables


class _Net(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = nn.Conv(64, (3, 3), name='conv')(x)
    x = nn.BatchNorm(use_running_average=True, name='bn')(x)
    return nn.Dense(7, name='fc')(x.mean((1, 2)))


_INPUT = jax.ShapeDtypeStruct((1, 8, 8, 16), jnp.float32)


def test_random_has_the_networks_form():
  made = variables.random(_Net(), _INPUT, seed=3)
  truth = _Net().init(jax.random.key(0), jnp.zeros(_INPUT.shape))
  shape = lambda tree: jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)
  assert shape(made) == shape(truth)
  assert made['params']['conv']['kernel'].std() == pytest.approx(
    np.sqrt(2 / (9 * 16)), rel=0.05
  )
  assert (made['batch_stats']['bn']['var'] == 1).all()
  again = variables.random(_Net(), _INPUT, seed=3)
  jax.tree.map(np.testing.assert_array_equal, made, again)
  other = variables.random(_Net(), _INPUT, seed=4)
  assert (
    other['params']['fc']['kernel'] != made['params']['fc']['kernel']
  ).any()


def test_check_lists_everything():
  expected = variables.shapes(_Net(), _INPUT)
  made = variables.random(_Net(), _INPUT)
  variables.check(made, expected, 'made')
  del made['batch_stats']['bn']['var']
  made['params']['fc']['kernel'] = np.zeros((7, 64))
  made['params']['fc']['bias'][2] = np.nan
  made['params']['extra'] = {'bias': np.zeros(1)}
  with pytest.raises(ValueError) as error:
    variables.check(made, expected, 'file.pth')
  text = str(error.value)
  for part in (
    'file.pth does not fit the network (4 of 8 arrays)',
    'missing: batch_stats/bn/var',
    'unknown: params/extra/bias',
    'wrong shape: params/fc/kernel is (7, 64), expected (64, 7)',
    'not finite: params/fc/bias',
  ):
    assert part in text


def test_unknown_leaf():
  class Odd(nn.Module):
    @nn.compact
    def __call__(self, x):
      return x * self.param('gain', nn.initializers.ones, ())

  with pytest.raises(ValueError, match="no rule for a random 'gain'"):
    variables.random(Odd(), _INPUT)


def test_fingerprint(tmp_path):
  path = tmp_path / 'w.pth'
  path.write_bytes(b'abc')
  # SHA-256 of 'abc' from FIPS 180-2.
  assert variables.fingerprint(path) == 'w.pth sha256:ba7816bf8f01'
