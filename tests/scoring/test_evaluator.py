import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.scoring import evaluator


def _network(**kwargs):
  net = evaluator.Evaluator(hidden=8, **kwargs)
  rois = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3)), 'float32')
  return net, net.init(jax.random.key(1), rois), rois


def test_parameter_tree_is_the_checkpoint_contract():
  _, params, _ = _network()
  assert jax.tree.map(jnp.shape, params['params']) == {
    'fc_1': {'kernel': (12, 8), 'bias': (8,)},
    'fc_2': {'kernel': (8, 8), 'bias': (8,)},
    'score': {'kernel': (8, 1), 'bias': (1,)},
  }
  assert evaluator.Evaluator().hidden == 2048


def test_against_numpy():
  net, params, rois = _network()
  hidden = np.asarray(rois).reshape(5, 12)
  for name in ('fc_1', 'fc_2'):
    layer = jax.tree.map(np.asarray, params['params'][name])
    hidden = np.maximum(hidden @ layer['kernel'] + layer['bias'], 0)
  layer = jax.tree.map(np.asarray, params['params']['score'])
  want = (hidden @ layer['kernel'] + layer['bias'])[:, 0]
  np.testing.assert_allclose(net.apply(params, rois), want, atol=1e-5)


def test_any_leading_axes_and_none():
  net, params, rois = _network()
  batched = net.apply(params, jnp.stack([rois, rois]))
  assert batched.shape == (2, 5)
  np.testing.assert_allclose(batched[1], net.apply(params, rois), atol=1e-6)
  assert net.apply(params, rois[:0]).shape == (0,)


def test_dropout_and_dtype():
  net, params, rois = _network(dtype=jnp.bfloat16)
  plain = net.apply(params, rois)
  dropped = net.apply(
    params, rois, train=True, rngs={'dropout': jax.random.key(2)}
  )
  assert plain.dtype == jnp.float32
  assert np.abs(plain - dropped).max() > 1e-3
