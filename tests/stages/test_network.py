import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.stages import cosine_margin, network

SHAPES = {'features': (7,), 'maps': (3, 2, 4)}


def _network(input_kind='features', head='cosine', **kwargs):
  """A small network with random parameters, biases too."""
  settings = dict(width=6, lstm_width=4, lstm_layers=1) | kwargs
  net = network.StageNetwork(input_kind=input_kind, head=head, **settings)
  inputs, mask = _inputs(input_kind)
  shapes = jax.eval_shape(net.init, jax.random.key(0), inputs, mask)
  rng = np.random.default_rng(1)
  draw = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)
  return net, jax.tree.map(draw, shapes)


def _inputs(input_kind='features', lengths=(8, 5), t=8, seed=2):
  shape = (len(lengths), t, *SHAPES[input_kind])
  inputs = np.random.default_rng(seed).normal(size=shape)
  mask = np.arange(t)[None] < np.array(lengths)[:, None]
  return jnp.asarray(inputs, jnp.float32), jnp.asarray(mask)


# Modules are hashable: equal ones share a compiled program between tests.
@functools.partial(jax.jit, static_argnums=0, static_argnames='train')
def _apply(net, params, inputs, mask, train=False, rngs=None):
  return net.apply(params, inputs, mask, train=train, rngs=rngs)


def test_parameter_tree_is_the_checkpoint_contract():
  inputs, mask = _inputs()
  net = network.StageNetwork(width=6, lstm_width=4, lstm_layers=2)
  params = jax.eval_shape(net.init, jax.random.key(0), inputs, mask)['params']
  assert sorted(params) == ['bilstm', 'classifier', 'conv']
  assert jax.tree.map(jnp.shape, params['conv']) == {
    'kernel': (3, 7, 6),
    'bias': (6,),
  }
  assert jax.tree.map(jnp.shape, params['classifier']) == {'kernel': (8, 6)}
  assert sorted(params['bilstm']) == [
    'backward_0',
    'backward_1',
    'forward_0',
    'forward_1',
  ]
  _, maps = _network('maps', head='linear')
  assert sorted(maps['params']) == ['bilstm', 'classifier', 'conv_1', 'conv_2']
  assert maps['params']['conv_1']['kernel'].shape == (3, 3, 3, 4, 6)
  assert sorted(maps['params']['classifier']) == ['bias', 'kernel']


def test_default_sizes_are_the_papers():
  net = network.StageNetwork()
  assert (net.width, net.lstm_width, net.lstm_layers) == (512, 512, 2)
  assert (net.dropout, net.head) == (0.5, 'cosine')


@pytest.mark.parametrize('input_kind', ['features', 'maps'])
def test_shapes_and_dtypes(input_kind):
  net, params = _network(input_kind)
  out = _apply(net, params, *_inputs(input_kind))
  assert out.hidden.shape == (2, 8, 6)
  assert out.embedding.shape == (2, 8, 8)
  assert out.scores.shape == (2, 8, 6)
  assert out.scores.dtype == jnp.float32


def test_convolution_against_numpy():
  net, params = _network()
  inputs, mask = _inputs(lengths=(8, 8))
  kernel = np.asarray(params['params']['conv']['kernel'])
  bias = np.asarray(params['params']['conv']['bias'])
  padded = np.pad(np.asarray(inputs), ((0, 0), (1, 1), (0, 0)))
  want = np.stack(
    [
      np.einsum('bkd,kdw->bw', padded[:, i : i + 3], kernel) + bias
      for i in range(8)
    ],
    axis=1,
  )
  got = _apply(net, params, inputs, mask).hidden
  np.testing.assert_allclose(got, np.maximum(want, 0), atol=1e-5)


def test_maps_against_numpy():
  net, params = _network('maps')
  inputs, mask = _inputs('maps', lengths=(4,), t=4)
  x = np.asarray(inputs[0], np.float64)
  for name in ('conv_1', 'conv_2'):
    kernel = np.asarray(params['params'][name]['kernel'], np.float64)
    padded = np.pad(x, ((1, 1), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((*x.shape[:3], kernel.shape[-1]))
    for f, h, w in np.ndindex(*x.shape[:3]):
      part = padded[f : f + 3, h : h + 3, w : w + 3]
      out[f, h, w] = np.einsum('fhwc,fhwcd->d', part, kernel)
    x = np.maximum(out + np.asarray(params['params'][name]['bias']), 0)
  got = _apply(net, params, inputs, mask).hidden
  np.testing.assert_allclose(got[0], x.max(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_scores_are_cosines_of_the_embedding():
  net, params = _network()
  out = _apply(net, params, *_inputs(lengths=(8, 8)))
  kernel = np.asarray(params['params']['classifier']['kernel'])
  embedding = np.asarray(out.embedding)
  want = embedding @ kernel
  want /= np.linalg.norm(embedding, axis=-1, keepdims=True)
  want /= np.linalg.norm(kernel, axis=0)
  np.testing.assert_allclose(out.scores, want, atol=1e-5)
  # The length of a direction means nothing.
  longer = jax.tree.map(jnp.copy, params)
  longer['params']['classifier']['kernel'] = 3.0 * kernel
  again = _apply(net, longer, *_inputs(lengths=(8, 8)))
  np.testing.assert_allclose(again.scores, out.scores, atol=1e-6)


def test_linear_head():
  net, params = _network(head='linear')
  out = _apply(net, params, *_inputs(lengths=(8, 8)))
  head = jax.tree.map(np.asarray, params['params']['classifier'])
  want = np.asarray(out.embedding) @ head['kernel'] + head['bias']
  np.testing.assert_allclose(out.scores, want, atol=1e-5)


@pytest.mark.parametrize('input_kind', ['features', 'maps'])
def test_padding_never_changes_a_valid_output(input_kind):
  net, params = _network(input_kind)
  lengths = (8, 5, 1)
  inputs, mask = _inputs(input_kind, lengths)
  wide = mask.reshape(*mask.shape, *[1] * (inputs.ndim - 2))
  want = _apply(net, params, inputs, mask)
  rubbish = _apply(net, params, jnp.where(wide, inputs, jnp.nan), mask)
  assert want.actions is None
  want = [x for x in want if x is not None]
  for a, b in zip(want, rubbish):
    np.testing.assert_array_equal(a, b)
  for row, length in enumerate(lengths[1:], 1):
    alone = _apply(
      net, params, inputs[row : row + 1, :length], mask[row : row + 1, :length]
    )
    for a, b in zip(want, alone):
      np.testing.assert_allclose(a[row, :length], b[0], atol=2e-6)
      np.testing.assert_array_equal(a[row, length:], 0)


def test_padding_never_changes_a_gradient():
  net, params = _network()
  inputs, mask = _inputs()
  labels = jnp.ones(mask.shape, jnp.int32)

  def loss(params, inputs, mask, labels):
    scores = net.apply(params, inputs, mask).scores
    return cosine_margin.stage_loss(scores, labels, mask, kind='vmcl_arc')

  grad = jax.jit(jax.grad(loss))
  rubbish = jnp.where(mask[..., None], inputs, jnp.nan)
  got = grad(params, rubbish, mask, jnp.where(mask, labels, -1))
  want = grad(params, inputs, mask, labels)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert np.isfinite(a).all()


def test_an_all_padded_row_is_zero_and_has_finite_gradients():
  net, params = _network()
  inputs, mask = _inputs(lengths=(8, 0))
  out = _apply(net, params, inputs, mask)
  np.testing.assert_array_equal(out.scores[1], 0)
  grads = jax.jit(
    jax.grad(lambda p: jnp.sum(net.apply(p, inputs, mask).scores))
  )(params)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_reduced_precision_keeps_float32_scores_and_parameters():
  net, params = _network(dtype=jnp.bfloat16)
  inputs, mask = _inputs()
  out = _apply(net, params, inputs.astype(jnp.float16), mask)
  assert out.hidden.dtype == out.embedding.dtype == jnp.bfloat16
  assert out.scores.dtype == jnp.float32
  exact, _ = _network()
  want = _apply(exact, params, inputs, mask)
  np.testing.assert_allclose(out.scores, want.scores, atol=0.1)


def test_dropout_needs_train():
  net, params = _network(lstm_layers=2)
  args = (params, *_inputs())
  rngs = {'dropout': jax.random.key(5)}
  plain = _apply(net, *args)
  dropped = _apply(net, *args, train=True, rngs=rngs)
  again = _apply(net, *args, train=True, rngs=rngs)
  assert np.abs(plain.scores - dropped.scores).max() > 1e-3
  np.testing.assert_array_equal(dropped.scores, again.scores)
  np.testing.assert_array_equal(plain.hidden, dropped.hidden)


def test_bad_arguments_are_named():
  inputs, mask = _inputs()
  key = jax.random.key(0)
  with pytest.raises(ValueError, match="got 'sine'"):
    network.StageNetwork(head='sine').init(key, inputs, mask)
  with pytest.raises(ValueError, match="got 'video'"):
    network.StageNetwork(input_kind='video').init(key, inputs, mask)
  with pytest.raises(ValueError, match=r'\[b, t, h, w, c\].*\(2, 8, 7\)'):
    network.StageNetwork(input_kind='maps').init(key, inputs, mask)
