"""Floating-point operations of a JAX function, from its jaxpr.

XLA's own cost analysis counts the body of a loop once, which for a recurrent
network leaves out nearly all of its steps.
"""

import math
from collections.abc import Callable
from typing import Any

import jax


def count(function: Callable[..., Any], *specs: Any) -> int:
  """Operations of matrix products and convolutions, two a multiply-add.

  The steps of a `scan` all count; of a `cond` its costliest branch; of a
  `while_loop`, whose steps are not known beforehand, one. What is done to each
  element (additions, activations, pooling) does not count.

  Args:
    function: to be traced.
    *specs: its arguments, arrays or `jax.ShapeDtypeStruct`s, in any tree.
  """
  return _of(jax.make_jaxpr(function)(*specs).jaxpr)


def _of(jaxpr):
  return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation):
  name = equation.primitive.name
  if name == 'dot_general':
    return 2 * _size(equation.outvars[0]) * _contracted(equation)
  if name == 'conv_general_dilated':
    kernel = equation.invars[1].aval.shape
    out_channels = kernel[equation.params['dimension_numbers'].rhs_spec[0]]
    each = math.prod(kernel) // out_channels
    return 2 * _size(equation.outvars[0]) * each
  inner = [_of(jaxpr) for jaxpr in _inner(equation.params)]
  if name == 'scan':
    return equation.params['length'] * sum(inner)
  return max(inner, default=0) if name == 'cond' else sum(inner)


def _contracted(equation):
  (axes, _), _ = equation.params['dimension_numbers']
  return math.prod(equation.invars[0].aval.shape[axis] for axis in axes)


def _size(variable):
  return math.prod(variable.aval.shape)


def _inner(params):
  """Jaxprs among an equation's parameters, closed or not."""
  for value in params.values():
    for item in value if isinstance(value, (tuple, list)) else (value,):
      item = getattr(item, 'jaxpr', item)
      if hasattr(item, 'eqns'):
        yield item
