"""The one place that knows how steps run on several devices and processes.

`jax.pmap` with a replicated state: leaving it for `jit` and `NamedSharding`
means changing this file only.
"""

import contextlib
import functools
import io
import itertools
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

AXIS = 'devices'
# How long a process waits for the others: one may decode all videos first.
_PATIENCE_MS = 24 * 3600 * 1000
_barriers = itertools.count()


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
  barrier('connect all devices')
  jax.block_until_ready(total(ones))
  barrier('connect one device of each process')
  multihost_utils.sync_global_devices('connected')


def barrier(name: str) -> None:
  """Waits, for up to a day, until all processes are here.

  It goes through the coordinator and not through the devices.
  """
  if jax.process_count() > 1:
    wait = multihost.get_barrier_sync_fn()
    # Names may be used once only; all processes count alike.
    key = f'cmsn_jax {next(_barriers)}: {name}'
    wait(key=key, timeout_ms=_PATIENCE_MS)


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
  """Lets process 0 through, and the others once it is done.

  For what makes files that all read.
  """
  if jax.process_index():
    barrier('process 0 is done')
  yield
  if jax.process_index() == 0:
    barrier('process 0 is done')


def gather(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The arrays of all processes, in every process.

  Args:
    arrays: any shapes; no two processes use a name twice.
  """
  if jax.process_count() == 1:
    return arrays
  file = io.BytesIO()
  np.savez(file, **arrays)
  content = np.frombuffer(file.getvalue(), np.uint8)
  barrier('gather')
  sizes = multihost_utils.process_allgather(np.int32(len(content)))
  # Powers of two, so that few programs are compiled.
  room = 1 << int(sizes.max() - 1).bit_length()
  padded = np.pad(content, (0, room - len(content)))
  united = {}
  for part, size in zip(
    multihost_utils.process_allgather(padded), sizes, strict=True
  ):
    with np.load(io.BytesIO(part[:size].tobytes())) as found:
      united.update({name: found[name] for name in found.files})
  return united


def require_same(value: int, what: str) -> None:
  """Checks that all processes have the same value.

  Raises:
    RuntimeError: if not.
  """
  found = gather({str(jax.process_index()): np.array(value)})
  if len({int(x) for x in found.values()}) > 1:
    raise RuntimeError(
      f'the processes disagree on {what}: '
      + ', '.join(f'process {k} has {int(v)}' for k, v in found.items())
      + '; does every process see the same --workdir and data?'
    )
