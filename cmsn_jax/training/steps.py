"""The train state and one pure step of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

Params = Any
# (params, batch, key) -> (mean loss, (weight of that mean, metrics)).  The
# weight (its valid snippets, say) makes means over devices and accumulated
# batches exact: the same global batch gives the same gradient however split.
# That of one of several members takes its number too, as `index`.
LossFn = Callable[
  [Params, dict, jax.Array], tuple[jax.Array, tuple[jax.Array, dict]]
]
# A loss of several means, each over something else, has no one weight. It takes
# the counts of the global batch as a fourth argument, divides its own sums by
# them, and returns weight 1: its parts add up to the loss.
CountsFn = Callable[[dict], Any]


class TrainState(flax.struct.PyTreeNode):
  """All that changes from step to step."""

  step: jax.typing.ArrayLike
  params: Params
  opt_state: optax.OptState
  # Moving average of `params`; the same tree, or None where it is off.
  ema: Params | None

  @property
  def eval_params(self) -> Params:
    """The parameters to evaluate and to keep."""
    return self.params if self.ema is None else self.ema


class StepMetrics(NamedTuple):
  """What a step reports, averaged over the global batch."""

  loss: jax.typing.ArrayLike
  grad_norm: jax.typing.ArrayLike
  extra: dict


def create_state(
  params: Params, tx: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
  """The state before the first step."""
  average = jax.tree.map(jnp.array, params) if ema else None
  # As one program: one for each shape of a parameter takes longer to compile.
  moments = jax.jit(tx.init)(params)
  return TrainState(jnp.zeros((), jnp.int32), params, moments, average)


class Sums(NamedTuple):
  """What an update needs of a batch; of a larger one, the sums of its parts'.

  Attributes:
    weight: of the batch, see `LossFn`.
    loss: times the weight, like the others.
    metrics: by name.
    grads: like the parameters.
  """

  weight: jax.Array
  loss: jax.Array
  metrics: dict
  grads: Params


def train_step(
  state: TrainState,
  batch: dict,
  key: jax.Array,
  *,
  loss_fn: LossFn,
  tx: optax.GradientTransformation,
  accumulate: int = 1,
  ema_decay: float = 0.0,
  counts_fn: CountsFn | None = None,
  axis_name: str | None = None,
) -> tuple[TrainState, StepMetrics]:
  """One update from a batch.

  Args:
    state: before the step.
    batch: this device's share, every array [accumulate * b, ...].
    key: of the run; the step and the device are folded in.
    loss_fn: see `LossFn`.
    tx: the optimizer.
    accumulate: parts whose gradients are averaged before the update.
    ema_decay: of the parameters' moving average.
    counts_fn: see `CountsFn`; None: the loss is one mean, with its weight.
    axis_name: pmap axis over which gradients are averaged; None: one device.

  Returns:
    the state after the step, and its metrics.
  """
  sums = gradients(
    state.params, state.step, batch, key, loss_fn=loss_fn,
    accumulate=accumulate, counts_fn=counts_fn, axis_name=axis_name,
  )  # fmt: skip
  return update(
    state, sums, tx=tx, ema_decay=ema_decay, counted=counts_fn is not None,
    axis_name=axis_name,
  )  # fmt: skip


def gradients(
  params: Params,
  step: jax.typing.ArrayLike,
  batch: dict,
  key: jax.Array,
  *,
  loss_fn: LossFn,
  accumulate: int = 1,
  counts_fn: CountsFn | None = None,
  axis_name: str | None = None,
) -> Sums:
  """The first half of a step: what this device's share of a batch says.

  Args:
    params: to differentiate by.
    step: number of the step.
    batch: see `train_step`, like what follows.
    key: of the run.
    loss_fn: of `params`.
    accumulate: parts.
    counts_fn: see `CountsFn`.
    axis_name: of the devices; only counts are summed over them.
  """
  if counts_fn is not None:
    counts = counts_fn(batch)
    if axis_name is not None:
      counts = jax.lax.psum(counts, axis_name)
    loss_fn = _of_counts(loss_fn, counts)

  def part(batch, key):
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (weight, metrics)), grads = grad_fn(params, batch, key)
    weight = weight.astype(jnp.float32)
    found = jax.tree.map(
      lambda x: x * weight.astype(x.dtype), (loss, metrics, grads)
    )
    return Sums(weight, *found)

  key = device_key(key, step, axis_name)
  if accumulate == 1:
    return part(batch, key)
  parts, keys = in_parts(batch, key, accumulate)
  shapes = jax.eval_shape(part, jax.tree.map(lambda x: x[0], parts), keys[0])
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

  def add(total, inputs):
    return jax.tree.map(jnp.add, total, part(*inputs)), None

  return jax.lax.scan(add, zeros, (parts, keys))[0]


def update(
  state: TrainState,
  sums: Sums,
  *,
  tx: optax.GradientTransformation,
  ema_decay: float = 0.0,
  counted: bool = False,
  axis_name: str | None = None,
) -> tuple[TrainState, StepMetrics]:
  """The second half of a step: from what all devices say to the next state.

  Args:
    state: before the step.
    sums: this device's, see `gradients`.
    tx: the optimizer.
    ema_decay: of the parameters' moving average.
    counted: the loss took counts, so that its weight says nothing.
    axis_name: pmap axis to sum over; None: one device.
  """
  if axis_name is not None:
    sums = jax.lax.psum(sums, axis_name)
  weight, *found = sums
  # A batch without a single valid entry changes nothing.
  scale = jnp.where(weight > 0, 1.0 / jnp.maximum(weight, 1e-9), 0.0)
  if counted:
    scale = jnp.ones(())
  loss, metrics, grads = jax.tree.map(
    lambda x: x * scale.astype(x.dtype), found
  )
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  ema = state.ema
  if ema is not None:
    # A short run's average must not remember its first random values.
    decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
    ema = jax.tree.map(lambda a, p: a * decay + p * (1 - decay), ema, params)
  state = TrainState(state.step + 1, params, opt_state, ema)
  return state, StepMetrics(loss, optax.global_norm(grads), metrics)


def device_key(
  key: jax.Array, step: jax.typing.ArrayLike, axis_name: str | None
) -> jax.Array:
  """The run's key with the step, and the device of several, folded in."""
  key = jax.random.fold_in(key, step)
  if axis_name is not None:
    key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
  return key


def in_parts(
  batch: dict, key: jax.Array, accumulate: int
) -> tuple[dict, jax.Array]:
  """A batch [accumulate * b, ...] as [accumulate, b, ...], and a key a part."""
  parts = jax.tree.map(
    lambda x: x.reshape(accumulate, x.shape[0] // accumulate, *x.shape[1:]),
    batch,
  )
  return parts, jax.random.split(key, accumulate)


def _of_counts(loss_fn, counts):
  return lambda params, batch, key: loss_fn(params, batch, key, counts)
