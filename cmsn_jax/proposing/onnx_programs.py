"""Functions of arrays as ONNX, by jax2onnx, sizes included that are symbolic.

jax2onnx translates what JAX has traced, primitive by primitive. It is given the
trace and not the function, since it takes the place of library functions while
it traces, some of which then lose symbolic sizes. What it (0.17.1) or ONNX
Runtime cannot say is rewritten first, in primitives that both know: see
`_RULES`.
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jax_core
import jax.numpy as jnp
from jax import lax

from cmsn_jax.proposing import onnx_runtime

SUFFIX = onnx_runtime.SUFFIX
REMEDY = "pip install 'cmsn_jax[onnx]'"
# Primitives that only hold another trace.
_CALLS = ('jit', 'pjit', 'closed_call', 'custom_jvp_call', 'custom_vjp_call',
          'custom_vjp_call_jaxpr', 'checkpoint', 'remat2')  # fmt: skip


def serialized(function: Callable[..., Any], specs: tuple[Any, ...]) -> bytes:
  """A function of arrays as the contents of an ONNX file.

  Args:
    function: of arrays; its result is an array, or a flat tuple of them.
    specs: `jax.ShapeDtypeStruct`s of them; each symbolic size must be one of
      their dimensions as it stands.

  Raises:
    ImportError: without jax2onnx.
    ValueError: where the function holds what cannot be said in ONNX; it names
      the primitive.
  """
  try:
    import jax2onnx
  except ImportError as error:
    raise ImportError(
      f'an ONNX export needs jax2onnx, which is not installed: {REMEDY}'
    ) from error
  closed, result = jax.make_jaxpr(function, return_shape=True)(*specs)
  parts = result if isinstance(result, tuple) else (result,)
  if not jax.tree_util.all_leaves(parts):
    raise ValueError(
      'a program for ONNX gives an array or a flat tuple of arrays, this one '
      f'{jax.tree.structure(result)}'
    )
  run = lambda *arrays: _evaluated(closed, arrays)
  try:
    with _quiet():
      model = jax2onnx.to_onnx(run, specs)
  except (NotImplementedError, jax.errors.ConcretizationTypeError) as error:
    raise ValueError(
      f'jax2onnx cannot translate this model: {error}'
    ) from error
  return model.SerializeToString()


@contextlib.contextmanager
def _quiet():
  """Without notes of its steps, and of types that a reader infers."""
  # jax2onnx speaks through the root logger, too.
  names = ('jax2onnx', 'onnx_ir', None)
  loggers = [logging.getLogger(name) for name in names]
  levels = [logger.level for logger in loggers]
  for logger in loggers:
    logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    for logger, level in zip(loggers, levels):
      logger.setLevel(level)


def _evaluated(closed: Any, arrays: Sequence[Any]) -> list[Any]:
  """What a trace computes, with rules in place of some primitives."""
  jaxpr = closed.jaxpr
  values = dict(zip(jaxpr.constvars, closed.consts))
  values |= dict(zip(jaxpr.invars, arrays))

  def value(one):
    return one.val if isinstance(one, jax_core.Literal) else values[one]

  for step in jaxpr.eqns:
    inputs = [value(one) for one in step.invars]
    name = step.primitive.name
    if name in _CALLS:
      outputs = _evaluated(_inner(step), inputs)
    elif name in _RULES:
      outputs = _RULES[name](step, *inputs)
    else:
      outputs = step.primitive.bind(*inputs, **step.params)
      if not step.primitive.multiple_results:
        outputs = [outputs]
    values |= dict(zip(step.outvars, outputs))
  return [value(one) for one in jaxpr.outvars]


def _inner(step):
  """The trace that a primitive holds."""
  for key in ('jaxpr', 'call_jaxpr', 'fun_jaxpr'):
    if key in step.params:
      found = step.params[key]
      return (
        found if hasattr(found, 'consts') else jax_core.ClosedJaxpr(found, ())
      )
  raise NotImplementedError(f'{step.primitive.name} without a trace')


def _rem(step, x, y):
  """jax2onnx 0.17.1 wants sizes that are numbers."""
  del step
  return [lax.sub(x, lax.mul(lax.div(x, y), y))]


def _pad(step, x, fill):
  """jax2onnx 0.17.1 wants sizes that are numbers."""
  return [_padded(x, fill, step.params['padding_config'])]


def _padded(x, fill, config):
  for axis, (before, after, between) in enumerate(config):
    if between or min(before, after) < 0:
      raise NotImplementedError(f'pad by {config}')
    parts = [x]
    for count, place in ((before, 0), (after, len(parts) + 1)):
      if count:
        shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
        parts.insert(place, lax.broadcast(fill, shape))
    x = lax.concatenate(parts, axis) if len(parts) > 1 else x
  return x


def _shift_left(step, x, y):
  """ONNX shifts unsigned numbers only."""
  del step
  factor = lax.exp2(lax.convert_element_type(y, jnp.float32))
  return [lax.mul(x, lax.convert_element_type(factor, x.dtype))]


def _scan(step, *inputs):
  """jax2onnx 0.17.1 scans ahead only: what goes back is turned round."""
  inner, back = step.params['jaxpr'].jaxpr, step.params['reverse']

  def turned(values, outer, within):
    # What is scanned over has one dimension more outside.
    return [
      lax.rev(value, (0,)) if back and o.aval.ndim > w.aval.ndim else value
      for value, o, w in zip(values, outer, within)
    ]

  inputs = turned(inputs, step.invars, inner.invars)
  outputs = step.primitive.bind(*inputs, **step.params | {'reverse': False})
  return turned(outputs, step.outvars, inner.outvars)


def _reduce_window_max(step, x):
  """ONNX Runtime pools up to three dimensions; here it is one at a time."""
  params = step.params
  if {*params['base_dilation'], *params['window_dilation']} != {1}:
    raise NotImplementedError('max pooling with dilation')
  low = jnp.array(-jnp.inf, x.dtype)
  for axis, (size, stride, around) in enumerate(
    zip(
      params['window_dimensions'], params['window_strides'], params['padding']
    )
  ):
    if size == stride == 1:
      continue
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (*around, 0)
    x = _padded(x, low, config)
    last = (x.shape[axis] - size) // stride * stride
    places = (
      lax.slice_in_dim(x, start, start + last + 1, stride, axis)
      for start in range(size)
    )
    x = functools.reduce(lax.max, places)
  return [x]


_RULES = {
  'rem': _rem,
  'pad': _pad,
  'shift_left': _shift_left,
  'scan': _scan,
  'reduce_window_max': _reduce_window_max,
}
