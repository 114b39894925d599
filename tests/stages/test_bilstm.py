import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.stages import bilstm

D, H = 5, 4


def _inputs(lengths=(9, 9), t=9, seed=0, d=D):
  x = np.random.default_rng(seed).normal(size=(len(lengths), t, d))
  return jnp.asarray(x, jnp.float32), jnp.asarray(lengths, jnp.int32)


def _network(num_layers=2, dropout=0.0, **kwargs):
  """A network with random parameters, biases too."""
  net = bilstm.BiLSTM(H, num_layers, dropout, **kwargs)
  shapes = jax.eval_shape(net.init, jax.random.key(3), *_inputs())
  rng = np.random.default_rng(4)
  draw = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)
  return net, jax.tree.map(draw, shapes)


# Modules are hashable: equal ones share a compiled program between tests.
@functools.partial(jax.jit, static_argnums=0, static_argnames='train')
def _apply(net, params, x, lengths, train=False, rngs=None):
  return net.apply(params, x, lengths, train=train, rngs=rngs)


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _slow_direction(x, p):
  """The textbook loop, in float64, over one sequence."""
  hidden, cell, out = np.zeros(H), np.zeros(H), []
  for x_t in x:
    gates = (
      x_t @ np.asarray(p['input_kernel'], np.float64)
      + hidden @ np.asarray(p['recurrent_kernel'], np.float64)
      + np.asarray(p['bias'], np.float64)
    )
    i, f, g, o = np.split(gates, 4)
    cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
    hidden = _sigmoid(o) * np.tanh(cell)
    out.append(hidden)
  return np.stack(out)


def _slow(x, length, params):
  out = np.zeros((len(x), 2 * H))
  if length == 0:
    return out
  x = np.asarray(x, np.float64)[:length]
  for i in range(len(params['params']) // 2):
    p = params['params']
    ahead = _slow_direction(x, p[f'forward_{i}'])
    back = _slow_direction(x[::-1], p[f'backward_{i}'])[::-1]
    x = np.concatenate([ahead, back], -1)
  out[:length] = x
  return out


def test_parameter_tree():
  net = bilstm.BiLSTM(H, 2, 0.0)
  shapes = jax.eval_shape(net.init, jax.random.key(0), *_inputs())
  shapes = jax.tree.map(jnp.shape, shapes)
  layer = lambda d: {
    'input_kernel': (d, 4 * H),
    'recurrent_kernel': (H, 4 * H),
    'bias': (4 * H,),
  }
  assert shapes['params'] == {
    'forward_0': layer(D),
    'backward_0': layer(D),
    'forward_1': layer(2 * H),
    'backward_1': layer(2 * H),
  }


def test_recurrent_kernel_starts_orthogonal_per_gate():
  net = bilstm.LSTM(H)
  mask = jnp.ones((2, 1), bool)
  params = net.init(jax.random.key(0), jnp.ones((2, 1, D)), mask)
  kernel = params['params']['recurrent_kernel']
  for gate in np.split(np.asarray(kernel), 4, axis=1):
    np.testing.assert_allclose(gate.T @ gate, np.eye(H), atol=1e-5)


def test_against_the_textbook_loop_at_any_lengths():
  net, params = _network()
  lengths = (9, 1, 0, 5)
  x, lengths_array = _inputs(lengths)
  got = _apply(net, params, x, lengths_array)
  for row, length in enumerate(lengths):
    np.testing.assert_allclose(
      got[row], _slow(x[row], length, params), atol=1e-5
    )
    np.testing.assert_array_equal(got[row, length:], 0)


def test_gradient_is_the_slope():
  net, params = _network(num_layers=1)
  x, lengths = _inputs((4, 2), t=4)
  weight = np.random.default_rng(1).normal(size=(2, 4, 2 * H))

  def slow(p, x):
    out = [_slow(row, n, p) for row, n in zip(x, (4, 2))]
    return np.sum(np.stack(out) * weight)

  def loss(p, x):
    out = net.apply(p, x, lengths)
    return jnp.sum(out * jnp.asarray(weight, jnp.float32))

  grads, x_grad = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, x)
  base = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
  for direction in ('forward_0', 'backward_0'):
    for name, value in base['params'][direction].items():
      got = np.asarray(grads['params'][direction][name])
      for index in list(np.ndindex(*value.shape))[::5]:
        ends = []
        for sign in (1, -1):
          moved = value.copy()
          moved[index] += sign * 1e-6
          p = {**base['params'], direction: dict(base['params'][direction])}
          p[direction][name] = moved
          ends.append(slow({'params': p}, x))
        slope = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(got[index], slope, atol=1e-4)
  x = np.asarray(x, np.float64)
  for index in np.ndindex(*x.shape):
    step = np.zeros_like(x)
    step[index] = 1e-6
    slope = (slow(base, x + step) - slow(base, x - step)) / 2e-6
    np.testing.assert_allclose(x_grad[index], slope, atol=1e-4)


def _flax_direction(p):
  """Our parameters in the names of nn.OptimizedLSTMCell."""
  cell = {}
  for source, target, bias in (
    ('input_kernel', 'i', None),
    ('recurrent_kernel', 'h', p['bias']),
  ):
    kernels = jnp.split(p[source], 4, axis=1)
    biases = [None] * 4 if bias is None else jnp.split(bias, 4)
    for gate, kernel, b in zip('ifgo', kernels, biases):
      cell[target + gate] = {'kernel': kernel}
      if b is not None:
        cell[target + gate]['bias'] = b
  return {'params': cell}


def _flax_bilstm(params, x, lengths):
  for i in range(len(params['params']) // 2):
    outs = []
    for name, reverse in (('forward', False), ('backward', True)):
      rnn = nn.RNN(
        nn.OptimizedLSTMCell(H), reverse=reverse, keep_order=True, name='rnn'
      )
      cell = _flax_direction(params['params'][f'{name}_{i}'])['params']
      outs.append(rnn.apply({'params': {'cell': cell}}, x, seq_lengths=lengths))
    x = jnp.concatenate(outs, -1)
    x = jnp.where(
      jnp.arange(x.shape[1])[None, :, None] < lengths[:, None, None], x, 0
    )
  return x


def test_equals_flax_with_gradients():
  net, params = _network(num_layers=1)
  x, lengths = _inputs((9, 4, 7))
  weight = jax.random.normal(jax.random.key(9), (3, 9, 2 * H))
  ours = lambda p, x: jnp.sum(net.apply(p, x, lengths) * weight)
  theirs = lambda p, x: jnp.sum(_flax_bilstm(p, x, lengths) * weight)
  np.testing.assert_allclose(
    _apply(net, params, x, lengths),
    jax.jit(_flax_bilstm)(params, x, lengths),
    atol=1e-5,
  )
  got = jax.jit(jax.grad(ours, argnums=(0, 1)))(params, x)
  want = jax.jit(jax.grad(theirs, argnums=(0, 1)))(params, x)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_equals_torch_with_gradients():
  torch = pytest.importorskip('torch')
  torch.set_num_threads(1)
  d, h, t = 24, 32, 40
  net = bilstm.BiLSTM(h, 2, 0.0)
  lengths = [40, 13, 28]
  x, lengths_array = _inputs(lengths, t, d=d)
  theirs = torch.nn.LSTM(d, h, 2, batch_first=True, bidirectional=True)
  params = {}
  for i in range(2):
    for name, suffix in (('forward', ''), ('backward', '_reverse')):
      take = lambda part: getattr(theirs, f'{part}_l{i}{suffix}').detach()  # noqa: B023
      params[f'{name}_{i}'] = {
        'input_kernel': jnp.asarray(take('weight_ih').numpy().T),
        'recurrent_kernel': jnp.asarray(take('weight_hh').numpy().T),
        'bias': jnp.asarray((take('bias_ih') + take('bias_hh')).numpy()),
      }
  x_torch = torch.tensor(np.asarray(x), requires_grad=True)
  packed = torch.nn.utils.rnn.pack_padded_sequence(
    x_torch, lengths, batch_first=True, enforce_sorted=False
  )
  out, _ = torch.nn.utils.rnn.pad_packed_sequence(
    theirs(packed)[0], batch_first=True, total_length=t
  )
  got = _apply(net, {'params': params}, x, lengths_array)
  np.testing.assert_allclose(got, out.detach().numpy(), atol=1e-5)

  weight = np.random.default_rng(2).normal(size=got.shape).astype(np.float32)
  (out * torch.tensor(weight)).sum().backward()
  loss = lambda p, x: jnp.sum(
    net.apply({'params': p}, x, lengths_array) * weight
  )
  grads, x_grad = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, x)
  np.testing.assert_allclose(x_grad, x_torch.grad.numpy(), atol=1e-5)
  for i in range(2):
    for name, suffix in (('forward', ''), ('backward', '_reverse')):
      ours = grads[f'{name}_{i}']
      for part, key in (
        ('weight_ih', 'input_kernel'),
        ('weight_hh', 'recurrent_kernel'),
        ('bias_ih', 'bias'),
      ):
        want = getattr(theirs, f'{part}_l{i}{suffix}').grad.numpy().T
        # Sums of some hundred terms; 1e-5 of their size.
        np.testing.assert_allclose(
          ours[key], want, atol=1e-5 * max(1, np.abs(want).max())
        )


def test_mirror():
  net, params = _network()
  x, lengths = _inputs((9, 9))
  swapped = {}
  for key, value in params['params'].items():
    name, i = key.split('_')
    other = 'backward' if name == 'forward' else 'forward'
    if i != '0':
      # The layer below now puts the directions the other way round.
      kernel = value['input_kernel']
      value = {
        **value,
        'input_kernel': jnp.concatenate([kernel[H:], kernel[:H]]),
      }
    swapped[f'{other}_{i}'] = value
  ahead = _apply(net, params, x, lengths)
  mirrored = _apply(net, {'params': swapped}, x[:, ::-1], lengths)[:, ::-1]
  want = jnp.concatenate([ahead[..., H:], ahead[..., :H]], -1)
  np.testing.assert_allclose(mirrored, want, atol=1e-6)


def test_padding_changes_nothing():
  net, params = _network()
  x, lengths = _inputs((4, 6))

  @jax.jit
  def run(params, x):
    loss = lambda p, x: jnp.sum(net.apply(p, x, lengths) ** 2)
    grads, x_grad = jax.grad(loss, argnums=(0, 1))(params, x)
    return net.apply(params, x, lengths), grads, x_grad

  valid = jnp.arange(9)[None, :, None] < lengths[:, None, None]
  want, got = run(params, x), run(params, jnp.where(valid, x, 1e6))
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), got, want)
  np.testing.assert_array_equal(jnp.where(valid, 0, got[2]), 0)
  # More padding changes nothing either.
  short = _apply(net, params, x[:, :6], lengths)
  np.testing.assert_allclose(want[0][:, :6], short, atol=1e-6)


def test_long_padding_keeps_gradients_finite():
  net, params = _network(num_layers=1)
  params = jax.tree.map(lambda a: 20 * a, params)
  x, lengths = _inputs((2, 300), t=300)
  loss = lambda p: jnp.sum(net.apply(p, x, lengths)[0])
  grads = jax.jit(jax.grad(loss))(params)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize('rows', [1, 8])
def test_rows_of_a_batch_are_independent(rows):
  net, params = _network(num_layers=1)
  x, lengths = _inputs((9,) * rows)
  together = _apply(net, params, x, lengths)
  alone = _apply(net, params, x[-1:], lengths[-1:])
  np.testing.assert_allclose(together[-1:], alone, atol=1e-6)


def test_bfloat16_keeps_float32_parameters():
  net, params = _network(num_layers=1, dtype=jnp.bfloat16)
  x, lengths = _inputs((9, 5))
  out = _apply(net, params, x, lengths)
  assert out.dtype == jnp.bfloat16
  exact = _apply(bilstm.BiLSTM(H, 1, 0.0), params, x, lengths)
  np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.05)
  loss = lambda p: jnp.sum(net.apply(p, x, lengths).astype(jnp.float32))
  grads = jax.jit(jax.grad(loss))(params)
  assert all(g.dtype == jnp.float32 for g in jax.tree.leaves(grads))


def test_dropout_lies_between_layers_only():
  x, lengths = _inputs()
  key = {'dropout': jax.random.key(1)}
  single, params = _network(num_layers=1, dropout=0.5)
  np.testing.assert_array_equal(
    _apply(single, params, x, lengths, train=True, rngs=key),
    _apply(single, params, x, lengths),
  )
  double, params = _network(num_layers=2, dropout=0.5)
  plain = _apply(double, params, x, lengths)
  dropped = _apply(double, params, x, lengths, train=True, rngs=key)
  assert np.abs(plain - dropped).max() > 1e-3


def test_vmap_over_parameters():
  net, params = _network(num_layers=1)
  x, lengths = _inputs((9, 5))
  stacked = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
  both = jax.jit(jax.vmap(lambda p: net.apply(p, x, lengths)))(stacked)
  np.testing.assert_allclose(
    both[0], _apply(net, params, x, lengths), atol=1e-6
  )
