"""What the processes of one run say to each other, and where they wait."""

import contextlib
import io
import itertools
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

# How long a process waits for the others: one may decode all videos first.
_PATIENCE_MS = 24 * 3600 * 1000
_barriers = itertools.count()


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
