"""Networks that tests call bare are one program each, as they are in use.

Called as they stand, every operation of every shape is a program of its own:
half of what the tests of a network took went into compiling hundreds of them. A
second call of an equal module is not traced again: what a test changes in between
is not seen, unless it compiles its own function of the module.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np


@contextlib.contextmanager
def compiled() -> Iterator[None]:
  """`init` and `apply` of Flax modules are compiled while it is entered."""
  plain = {name: getattr(nn.Module, name) for name in ('init', 'apply')}
  try:
    for name, call in plain.items():
      setattr(nn.Module, name, _whole(call))
    yield
  finally:
    for name, call in plain.items():
      setattr(nn.Module, name, call)


def _whole(plain: Callable) -> Callable:
  @functools.partial(jax.jit, static_argnums=(0, 1))
  def program(module, words, args, kwargs):
    return plain(module, *args, **dict(words), **kwargs)

  @functools.wraps(plain)
  def call(module: nn.Module, *args: Any, **kwargs: Any):
    words = {k: v for k, v in kwargs.items() if not _arrays(v)}
    static = module, tuple(sorted(words.items()))
    if not (_arrays(args) and _hashable(static)):
      return plain(module, *args, **kwargs)
    rest = {k: v for k, v in kwargs.items() if k not in words}
    return program(*static, args, rest)

  return call


def _arrays(tree):
  """Whether it holds arrays with numbers, and nothing else."""
  return all(
    isinstance(leaf, np.ndarray | jax.Array)
    and not isinstance(leaf, jax.core.Tracer)
    for leaf in jax.tree.leaves(tree)
  )


def _hashable(value):
  try:
    hash(value)
  except TypeError:
    return False
  return True
