"""The one place that knows how steps run on several devices and processes.

`jax.pmap` with a replicated state: leaving it for `jit` and `NamedSharding`
means changing this file only.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from cmsn_jax import processes

AXIS = 'devices'


def parallel_step(step: Callable, **static: Any) -> Callable:
  """Runs `step(state, batch, key, axis_name=...)` on every local device.

  State and key are replicated, the batch is split by `shard`; the old state's
  buffers are given to the new one.
  """
  return mapped(
    functools.partial(step, axis_name=AXIS, **static),
    in_axes=(None, 0, None),
    donate=(0,),
  )


def mapped(
  function: Callable,
  *,
  in_axes: tuple[int | None, ...],
  out_axes: int | None = None,
  donate: tuple[int, ...] = (),
) -> Callable:
  """Runs a function on every local device, within the axis `AXIS`.

  Args:
    function: of positional arguments.
    in_axes: of each argument 0, where a device gets its share as `shard` has
      it, or None, where it is the same on all.
    out_axes: likewise, of the result.
    donate: numbers of the arguments whose buffers are given to the result.
  """
  return jax.pmap(
    function,
    axis_name=AXIS,
    in_axes=in_axes,
    out_axes=out_axes,
    donate_argnums=donate,
  )


def replicate(state: Any) -> Any:
  """A copy of a state on all devices, lying as `parallel_step` returns it.

  Without it a step is compiled twice: for a state that was just made or read,
  and again for its own result, which lies on other devices.
  """
  ones = np.ones(jax.local_device_count(), np.float32)
  copy = mapped(lambda state, _: state, in_axes=(None, 0))
  return copy(state, ones)


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


def connect() -> None:
  """Opens the connections between processes, while all are at one place.

  Devices of CPU processes give up on each other when the others are not at
  their first common sum within half a minute, which compiling or reading can
  take on a busy machine; once connected, they wait for long. To be called
  once, right after `jax.distributed.initialize`.
  """
  if jax.process_count() == 1:
    return
  total = jax.pmap(lambda x: jax.lax.psum(x, AXIS), axis_name=AXIS)
  ones = np.ones(jax.local_device_count(), np.float32)
  processes.barrier('connect all devices')
  jax.block_until_ready(total(ones))
  processes.barrier('connect one device of each process')
  multihost_utils.sync_global_devices('connected')
