import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features import variables
from cmsn_jax.features.backbones import resnet

_IMAGES = np.random.default_rng(0).normal(size=(1, 32, 32, 3))
_IMAGES = jnp.asarray(_IMAGES, jnp.float32)


def _network(blocks, preactivation=False):
  module = resnet.ResNet(
    (1, 1, blocks, 1), num_classes=None, width=4, preactivation=preactivation
  )
  shape = jax.ShapeDtypeStruct(_IMAGES.shape, jnp.float32)
  return module, variables.random(module, shape)


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='CPU compiler')
@pytest.mark.parametrize('preactivation', [False, True])
def test_a_deep_network_computes_each_sum_once(preactivation):
  """XLA's CPU backend recomputed all earlier blocks' sums in every block."""

  def additions(blocks):
    module, params = _network(blocks, preactivation)
    program = jax.jit(module.apply).lower(params, _IMAGES).compile()
    return program.as_text().count(' add(')

  few, more, many = (additions(blocks) for blocks in (4, 12, 20))
  assert many - more <= 1.2 * (more - few)


def test_sums_kept_apart_are_the_plain_ones(monkeypatch):
  module, params = _network(3)
  traced = []

  def backend():
    traced.append(0)
    return 'gpu'

  # A function each: of an equal one the first program would be taken again.
  found = jax.jit(lambda p: module.apply(p, _IMAGES))(params)
  monkeypatch.setattr(jax, 'default_backend', backend)
  plain = jax.jit(lambda p: module.apply(p, _IMAGES))(params)
  assert traced
  np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-6)
