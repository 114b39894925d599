"""What a predictor asks of the device that computes, by JAX.

`host` has the same names without JAX; an ONNX export brings that along under
this module's name.
"""

from collections.abc import Callable
from typing import Any

import jax


def put(tree: Any) -> Any:
  """Arrays of a tree on the device."""
  return jax.device_put(tree)


def fetch(tree: Any) -> Any:
  """Arrays of a tree as numpy arrays; waits for them."""
  return jax.device_get(tree)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
  """A pure function of arrays, compiled for each of their shapes."""
  return jax.jit(function)
