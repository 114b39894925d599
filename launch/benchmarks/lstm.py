"""Suite 'lstm': the two-layer bidirectional LSTM beside torch and flax.

All sides hold the same weights and get the same input. On CPU the times are
CPU seconds (wall times of a shared machine say little, and torch runs on one
thread as it spins on more); on an accelerator they are wall seconds. Runs are
interleaved; the ratio is the median over the pairs.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.stages import bilstm

from . import interleaved, limits

_WIDTH = 512
_CPU_SIZES = ((1, 96), (1, 768), (16, 96))
_ACCELERATOR_SIZES = ((1, 96), (1, 768), (16, 96), (16, 768))


def run_lstm(quick: bool = False) -> list[dict]:
  """Rows of forward and forward + backward at each batch x snippets.

  Args:
    quick: one size and few repetitions.
  Returns:
    rows `{suite, work, ours_s, alternative, alternative_s, ratio, note}`.
  """
  sizes = _CPU_SIZES if limits.on_cpu() else _ACCELERATOR_SIZES
  if quick:
    sizes = sizes[:1]
  rows = []
  for b, t in sizes:
    rows += run_size(b, t, _WIDTH, repeats=3 if quick else 7)
  if not quick:
    rows += run_size(1, 96, _WIDTH, repeats=5, alternative='flax nn.RNN')
  return rows


def run_size(
  b: int, t: int, width: int, *, repeats: int, alternative: str = 'torch'
) -> list[dict]:
  """The two rows of one size against one alternative.

  Args:
    b: sequences, all of full length.
    t: snippets.
    width: of the input and of a direction.
    repeats: interleaved pairs.
    alternative: 'torch' or 'flax nn.RNN'.
  Returns:
    a row for forward and one for forward + backward; the alternative's
    figures are None, with the reason in `note`, where it is not installed.
  """
  net = bilstm.BiLSTM(width, 2, 0.0)
  inputs = np.random.default_rng(0).normal(size=(b, t, width))
  inputs = jnp.asarray(inputs, jnp.float32)
  lengths = jnp.full((b,), t, jnp.int32)
  params = jax.jit(net.init)(jax.random.key(0), inputs, lengths)
  apply = lambda p, x: net.apply(p, x, lengths)
  ours = _jax_runs(apply, params, inputs)
  if alternative == 'torch':
    theirs, reason = _torch_runs(params, inputs)
  else:
    theirs, reason = _jax_runs(_flax_apply, params, inputs), ''
  floor = _products_alone(params, inputs)
  rows = []
  for i, work in enumerate(('forward', 'forward + backward')):
    row = interleaved.compare(
      'lstm',
      ours[i],
      theirs and theirs[i],
      repeats,
      floor=None if i else floor,
    )
    row['work'] = f'BiLSTM 2 x {width}, {b} x {t}, {work}'
    row['alternative'] = alternative if theirs else f'{alternative}: {reason}'
    # A layer's two directions: width (then 2 x width) + width inputs, 4 gates.
    products = 2 * b * t * 2 * 4 * width * (2 * width + 3 * width)
    rate = limits.share((1, 3)[i] * products / row['ours_s'])
    row['note'] = '; '.join(n for n in (reason, row['note'], rate) if n)
    rows.append(row)
  return rows


def _jax_runs(apply, params, inputs) -> tuple[Callable, Callable]:
  forward = jax.jit(apply)
  backward = jax.jit(
    jax.grad(lambda p, x: jnp.sum(apply(p, x) ** 2), argnums=(0, 1))
  )
  return (
    lambda: jax.block_until_ready(forward(params, inputs)),
    lambda: jax.block_until_ready(backward(params, inputs)),
  )


def _torch_runs(params, inputs):
  """(forward, forward + backward) of torch's LSTM, or (None, the reason)."""
  torch, device, reason = limits.torch_here()
  if reason:
    return None, reason
  net = torch_copy(params).to(device)
  x = torch.tensor(np.asarray(inputs), device=device, requires_grad=True)

  def wait(value):
    if device == 'cuda':
      torch.cuda.synchronize()
    return value

  def forward():
    with torch.no_grad():
      return wait(net(x)[0])

  def backward():
    net.zero_grad(set_to_none=True)
    x.grad = None
    net(x)[0].square().sum().backward()
    return wait(x.grad)

  return (forward, backward), ''


def torch_copy(params):
  """Torch's nn.LSTM (batch first) with the weights of a `BiLSTM`."""
  import torch

  params = params['params']
  layers = len(params) // 2
  d, hidden = params['forward_0']['input_kernel'].shape
  net = torch.nn.LSTM(
    d, hidden // 4, layers, batch_first=True, bidirectional=True
  )
  with torch.no_grad():
    for i in range(layers):
      for name, suffix in (('forward', ''), ('backward', '_reverse')):
        source = params[f'{name}_{i}']
        for part, value in (
          ('weight_ih', source['input_kernel'].T),
          ('weight_hh', source['recurrent_kernel'].T),
          ('bias_ih', source['bias']),
          ('bias_hh', 0 * source['bias']),
        ):
          target = getattr(net, f'{part}_l{i}{suffix}')
          target.copy_(torch.tensor(np.asarray(value)))
  return net


def _flax_apply(params, inputs):
  """The same network of flax's own parts, on our parameters."""
  outputs = inputs
  for i in range(len(params['params']) // 2):
    both = []
    for name in ('forward', 'backward'):
      source = params['params'][f'{name}_{i}']
      cell = {}
      for gate, kernel, recurrent, bias in zip(
        'ifgo',
        jnp.split(source['input_kernel'], 4, axis=1),
        jnp.split(source['recurrent_kernel'], 4, axis=1),
        jnp.split(source['bias'], 4),
      ):
        cell[f'i{gate}'] = {'kernel': kernel}
        cell[f'h{gate}'] = {'kernel': recurrent, 'bias': bias}
      rnn = nn.RNN(
        nn.OptimizedLSTMCell(source['bias'].shape[0] // 4),
        reverse=name == 'backward',
        keep_order=True,
      )
      both.append(rnn.apply({'params': {'cell': cell}}, outputs))
    outputs = jnp.concatenate(both, axis=-1)
  return outputs


def _products_alone(params, inputs) -> Callable:
  """The forward pass's matrix products in their order, and nothing else."""

  def direction(x, source):
    projected = x @ source['input_kernel']
    width = source['recurrent_kernel'].shape[0]

    def step(hidden, projected_t):
      gates = projected_t + hidden @ source['recurrent_kernel']
      return gates[:, :width] * 0.1, gates[:, :width]

    zeros = jnp.zeros((x.shape[1], width))
    return jax.lax.scan(step, zeros, projected)[1]

  def run(params, x):
    x = jnp.swapaxes(x, 0, 1)
    for i in range(len(params['params']) // 2):
      names = (f'forward_{i}', f'backward_{i}')
      x = jnp.concatenate(
        [direction(x, params['params'][name]) for name in names], axis=-1
      )
    return x

  compiled = jax.jit(run)
  return lambda: jax.block_until_ready(compiled(params, inputs))
