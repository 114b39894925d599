"""Masked bidirectional LSTM, by scan.

The input projection of all steps is one matmul before the scan and the
weights' gradient one matmul after it, so a step costs one small product with
the recurrent weights. Padding needs no work inside the scan: its gates are
set beforehand so that the state is exactly 0 there, and the backward
direction starts afresh at each sequence's own end.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# A sigmoid of it is exactly 0 in float32.
_SHUT = -1e4


def _unroll() -> int:
  # One step of the loop is the fastest on CPU, and compiles the fastest;
  # accelerators pay for each turn of the loop.
  return 1 if jax.default_backend() == 'cpu' else 4


def _gate_scale(width: int) -> Array:
  """Per gate, a with sigmoid(x) = tanh(x/2)/2 + 1/2 = a·tanh(a·x) + 1 − a."""
  quarter = jnp.ones((1, width), jnp.float32)
  return jnp.concatenate([0.5 * quarter] * 2 + [quarter, 0.5 * quarter], -1)


def _scan_forward(projected, kernel, reverse, keep):
  """Runs the recurrence over time-major projected inputs.

  Returns the hidden states and, if `keep`, the cells and the activated gates.
  """
  _, b, width = projected.shape
  scale = _gate_scale(width // 4)

  def step(carry, projected_t):
    hidden, cell = carry
    gates = projected_t + jnp.matmul(
      hidden.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32
    )
    # The barrier keeps XLA from computing each tanh once per use.
    active = jax.lax.optimization_barrier(
      jnp.tanh(gates * scale) * scale + (1 - scale)
    )
    i, f, g, o = jnp.split(active, 4, axis=-1)
    cell = f * cell + i * g
    hidden = o * jnp.tanh(cell)
    return (hidden, cell), ((hidden, cell, active) if keep else hidden)

  zeros = jnp.zeros((b, width // 4), jnp.float32)
  _, outputs = jax.lax.scan(
    step, (zeros, zeros), projected, reverse=reverse, unroll=_unroll()
  )
  return outputs


def _previous(states: Array, reverse: bool) -> Array:
  """The state before each step: shifted by one, 0 at the first step."""
  zeros = jnp.zeros_like(states[:1])
  if reverse:
    return jnp.concatenate([states[1:], zeros])
  return jnp.concatenate([zeros, states[:-1]])


def _recurrence_forward(projected, kernel, reverse):
  hidden, cell, active = _scan_forward(projected, kernel, reverse, keep=True)
  return hidden, (kernel, hidden, cell, active)


def _scan_backward(reverse, residuals, d_outputs):
  """Gradient of the gates' inputs, from the last step to the first."""
  kernel, hidden, cell, active = residuals
  b = hidden.shape[1]
  transposed = kernel.T

  def times_kernel(d_gates):
    d_gates = d_gates.astype(kernel.dtype)
    # XLA's CPU backend multiplies one row by a transposed matrix faster in
    # place than transposed beforehand (1.15 times); from two rows on it is
    # the other way round (2 times).
    if b == 1:
      return jax.lax.dot_general(
        d_gates,
        kernel,
        (((1,), (1,)), ((), ())),
        preferred_element_type=jnp.float32,
      )
    return jnp.matmul(d_gates, transposed, preferred_element_type=jnp.float32)

  def step(carry, inputs):
    d_hidden, d_cell = carry
    d_output, cell_t, cell_before, active_t = inputs
    i, f, g, o = jnp.split(active_t, 4, axis=-1)
    d_hidden = d_hidden + d_output
    tanh_cell = jnp.tanh(cell_t)
    d_cell = d_cell + d_hidden * o * (1 - tanh_cell * tanh_cell)
    d_gates = [
      d_cell * g * i * (1 - i),
      d_cell * cell_before * f * (1 - f),
      d_cell * i * (1 - g * g),
      d_hidden * tanh_cell * o * (1 - o),
    ]
    d_gates = jax.lax.optimization_barrier(jnp.concatenate(d_gates, axis=-1))
    return (times_kernel(d_gates), d_cell * f), d_gates

  zeros = jnp.zeros(hidden.shape[1:], jnp.float32)
  inputs = (d_outputs, cell, _previous(cell, reverse), active)
  return jax.lax.scan(
    step, (zeros, zeros), inputs, reverse=not reverse, unroll=_unroll()
  )[1]


def _recurrence_backward(reverse, residuals, d_outputs):
  kernel, hidden, _, _ = residuals
  d_gates = _scan_backward(reverse, residuals, d_outputs)
  # The point of the custom gradient: one product over all steps, where
  # differentiating the scan would add up an outer product a step.
  width = hidden.shape[-1]
  before = _previous(hidden, reverse).reshape(-1, width)
  d_kernel = jnp.matmul(
    before.T.astype(kernel.dtype),
    d_gates.reshape(-1, 4 * width).astype(kernel.dtype),
    preferred_element_type=jnp.float32,
  )
  return d_gates, d_kernel.astype(kernel.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _recurrence(projected, kernel, reverse):
  return _scan_forward(projected, kernel, reverse, keep=False)


_recurrence.defvjp(_recurrence_forward, _recurrence_backward)


def _per_gate_orthogonal(key, shape, dtype):
  make = nn.initializers.orthogonal()
  keys = jax.random.split(key, 4)
  gate = (shape[0], shape[1] // 4)
  return jnp.concatenate([make(k, gate, dtype) for k in keys], axis=-1)


class LSTM(nn.Module):
  """One direction of one layer, over time-major inputs.

  Parameters, gates in the order input, forget, cell, output: `input_kernel`
  [d, 4·hidden], `recurrent_kernel` [hidden, 4·hidden], `bias` [4·hidden].

  Attributes:
    hidden: width of the state.
    reverse: run from the last snippet to the first.
    dtype: of the products; state and gates are float32.
  """

  hidden: int
  reverse: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, inputs: Float[Array, 't b d'], mask: Bool[Array, 't b']
  ) -> Float[Array, 't b h']:
    width = 4 * self.hidden
    input_kernel = self.param(
      'input_kernel',
      nn.initializers.lecun_normal(),
      (inputs.shape[-1], width),
      jnp.float32,
    )
    recurrent_kernel = self.param(
      'recurrent_kernel',
      _per_gate_orthogonal,
      (self.hidden, width),
      jnp.float32,
    )
    bias = self.param('bias', nn.initializers.zeros, (width,), jnp.float32)
    projected = jnp.matmul(
      inputs.astype(self.dtype),
      input_kernel.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    projected = projected + bias[None, None, :]
    # At padding: input and forget gate shut, cell input 0. The state is then
    # exactly 0, and no gradient passes.
    shut = jnp.where(jnp.arange(width) < 2 * self.hidden, _SHUT, 0.0)
    projected = jnp.where(mask[:, :, None], projected, shut[None, None, :])
    kernel = recurrent_kernel.astype(self.dtype)
    return _recurrence(projected, kernel, self.reverse).astype(self.dtype)


class BiLSTM(nn.Module):
  """Stacked bidirectional LSTM over sequences of any lengths.

  Layer i has the submodules `forward_i` and `backward_i` (see `LSTM`); its
  output is [forward, backward], as in torch and flax.

  Attributes:
    hidden: width of a direction.
    num_layers: layers.
    dropout: rate between layers, none after the last.
    dtype: of the products and outputs; parameters, state and gates are
      float32.
  """

  hidden: int = 512
  num_layers: int = 2
  dropout: float = 0.5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    inputs: Float[Array, 'b t d'],
    lengths: Int[Array, ' b'],
    *,
    train: bool = False,
  ) -> Float[Array, 'b t two_h']:
    """Returns the last layer's outputs; 0 at and after each length.

    Args:
      inputs: [b, t, d]; what stands at or after a sequence's length is never
        used (it must be finite).
      lengths: valid snippets of each sequence, 0 to t, [b].
      train: apply dropout, which needs the rng `dropout`.
    Returns:
      [b, t, 2·hidden], of the module's dtype.
    """
    t = inputs.shape[1]
    mask = jnp.arange(t)[:, None] < lengths[None, :]
    outputs = jnp.swapaxes(inputs, 0, 1)
    for i in range(self.num_layers):
      if i:
        outputs = nn.Dropout(self.dropout, name=f'dropout_{i}')(
          outputs, deterministic=not train
        )
      ahead = LSTM(self.hidden, False, self.dtype, name=f'forward_{i}')
      back = LSTM(self.hidden, True, self.dtype, name=f'backward_{i}')
      outputs = jnp.concatenate(
        [ahead(outputs, mask), back(outputs, mask)], axis=-1
      )
    return jnp.swapaxes(outputs, 0, 1)
