"""A network's variables: the shapes it needs, a random fill, a full check.

`jax.jit(module.init)` compiles the whole forward pass (minutes for ResNet-200
on a CPU); shapes alone come without compiling anything.
"""

import hashlib
import os
import pathlib
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util


def shapes(module: nn.Module, *inputs: Any) -> dict[str, Any]:
  """Returns the variables as shapes and dtypes; nothing is computed.

  Args:
    module: a Flax module.
    *inputs: its inputs; `jax.ShapeDtypeStruct` will do.
  """
  return jax.eval_shape(module.init, jax.random.key(0), *inputs)


def random(module: nn.Module, *inputs: Any, seed: int = 0) -> dict[str, Any]:
  """Returns random variables, the same on every backend.

  Kernels are normal with variance 2 / fan-in (ReLU networks keep the size of
  their activations; a quarter of the size for `conv3`), biases and means 0, scales and variances 1.

  Args:
    module: a Flax module with convolutions, dense layers, normalisations.
    *inputs: its inputs; `jax.ShapeDtypeStruct` will do.
    seed: of the random numbers.
  Raises:
    ValueError: when a leaf has an unknown name.
  """
  rng = np.random.default_rng(seed)
  flat = traverse_util.flatten_dict(shapes(module, *inputs))
  # In sorted order, so that the numbers do not depend on call order.
  return traverse_util.unflatten_dict(
    {keys: _fill(rng, keys, flat[keys].shape) for keys in sorted(flat)}
  )


def _fill(rng, keys, shape):
  leaf = keys[-1]
  if leaf == 'kernel':
    fan_in = int(np.prod(shape[:-1]))
    values = rng.standard_normal(shape, np.float32)
    # A ResNet's last convolution of a block: or 66 sums of them explode.
    gain = 0.25 if keys[-2] == 'conv3' else 1.0
    return values * np.float32(gain * np.sqrt(2 / fan_in))
  if leaf in ('bias', 'mean'):
    return np.zeros(shape, np.float32)
  if leaf in ('scale', 'var'):
    return np.ones(shape, np.float32)
  raise ValueError(
    f'no rule for a random {leaf!r} ({"/".join(keys)}); known are kernel, '
    'bias, mean, scale and var'
  )


def check(found: dict[str, Any], expected: dict[str, Any], name: str) -> None:
  """Checks that variables are exactly what a network needs.

  Args:
    found: nested dicts of arrays.
    expected: the same of shapes, from `shapes`.
    name: what the error calls `found`.
  Raises:
    ValueError: listing every missing, unknown, misshapen and non-finite array.
  """
  want = traverse_util.flatten_dict(expected, sep='/')
  have = traverse_util.flatten_dict(found, sep='/')
  problems = [f'missing: {key}' for key in sorted(set(want) - set(have))]
  problems += [f'unknown: {key}' for key in sorted(set(have) - set(want))]
  problems += [
    f'wrong shape: {key} is {tuple(have[key].shape)}, '
    f'expected {tuple(want[key].shape)}'
    for key in sorted(set(have) & set(want))
    if tuple(have[key].shape) != tuple(want[key].shape)
  ]
  problems += [
    f'not finite: {key} holds NaN or infinity'
    for key in sorted(have)
    if not np.isfinite(have[key]).all()
  ]
  if problems:
    raise ValueError(
      f'{name} does not fit the network ({len(problems)} of {len(want)} '
      'arrays):\n  ' + '\n  '.join(problems)
    )


def fingerprint(path: str | os.PathLike) -> str:
  """Returns a weight file's name and the start of its SHA-256."""
  path = pathlib.Path(path)
  with path.open('rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  return f'{path.name} sha256:{digest[:12]}'
