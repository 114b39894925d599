"""The one place that knows how steps run on several devices.

`jax.pmap` with a replicated state: leaving it for `jit` and `NamedSharding`
means changing this file only.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

AXIS = 'devices'


def parallel_step(step: Callable, **static) -> Callable:
  """Runs `step(state, batch, key, axis_name=...)` on every local device.

  State and key are replicated, the batch is split by `shard`; the old state's
  buffers are given to the new one.
  """
  return jax.pmap(
    functools.partial(step, axis_name=AXIS, **static),
    axis_name=AXIS,
    in_axes=(None, 0, None),
    out_axes=None,
    donate_argnums=0,
  )


def shard(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Splits axis 0 of every array over the local devices: [devices, b, ...].

  Raises:
    ValueError: if the batch cannot be split evenly.
  """
  count = jax.local_device_count()
  size = len(next(iter(batch.values())))
  if size % count:
    raise ValueError(
      f'the batch of a process must be divisible by its {count} devices, got '
      f'{size}'
    )
  return {
    name: array.reshape(count, size // count, *array.shape[1:])
    for name, array in batch.items()
  }
