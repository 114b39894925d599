"""First parameters of networks, without making the program that draws them fast."""

from collections.abc import Callable
from typing import Any

import jax


def drawn(init: Callable[..., Any], *args: Any) -> Any:
  """What a network's `init` returns, compiled quickly: it runs once.

  On CPUs the highest level of optimization takes four times as long to compile
  it (10 s of the demo), for the same numbers.

  Args:
    init: of a Flax module.
    args: its arguments.
  """
  if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args)):
    # Only its shapes are asked for.
    return init(*args)
  options = None
  if jax.default_backend() == 'cpu':
    options = {'xla_backend_optimization_level': 1}
  return jax.jit(init, compiler_options=options)(*args)
