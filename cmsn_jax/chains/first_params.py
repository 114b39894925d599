"""First parameters of networks, without making the program that draws them fast."""

import os
from collections.abc import Callable
from typing import Any

import jax

_LEVEL = 'xla_backend_optimization_level'


def drawn(init: Callable[..., Any], *args: Any) -> Any:
  """What a network's `init` returns, compiled quickly: it runs once.

  On CPUs the highest level of optimization takes four times as long to compile
  it (10 s of the demo), for the same numbers. A level in XLA_FLAGS wins.

  Args:
    init: of a Flax module.
    args: its arguments.
  """
  if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args)):
    # Only its shapes are asked for.
    return init(*args)
  options = None
  stated = _LEVEL in os.environ.get('XLA_FLAGS', '')
  if jax.default_backend() == 'cpu' and not stated:
    options = {_LEVEL: 1}
  return jax.jit(init, compiler_options=options)(*args)
