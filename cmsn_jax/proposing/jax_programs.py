"""Programs of `jax.export`: for CPU, CUDA and TPU, of any batch and length."""

import pathlib
from typing import Any

import jax
import jax.export

SUFFIX = '.jaxexport'
PLATFORMS = ('cpu', 'cuda', 'tpu')


def serialized(function: Any, specs: tuple[Any, ...]) -> bytes:
  """A function of arrays as a file's contents.

  Args:
    function: of arrays.
    specs: `jax.ShapeDtypeStruct`s of them, sizes may be symbolic.
  """
  export = jax.export.export(jax.jit(function), platforms=PLATFORMS)
  return bytes(export(*specs).serialize())


def read(path: pathlib.Path) -> Any:
  """The program of a file, with a method `call` of its arrays."""
  return jax.export.deserialize(bytearray(path.read_bytes()))
