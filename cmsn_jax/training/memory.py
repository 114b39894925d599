"""How much memory there was, and what to turn where a step does not fit."""

import pathlib
import resource
import sys

import ml_collections

from cmsn_jax.chains import registry


class OutOfMemoryError(RuntimeError):
  """A training step needs more memory than there is."""


def peak_bytes() -> int:
  """Peak of this process's memory."""
  try:
    status = pathlib.Path('/proc/self/status').read_text()
    return 1024 * int(status.partition('VmHWM:')[2].split()[0])
  except (OSError, IndexError):
    # Elsewhere; where there is /proc, it would begin with the parent's peak.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but bytes on macOS.
    return peak if sys.platform == 'darwin' else peak * 1024


def is_out_of_memory(error: BaseException) -> bool:
  """Whether an error of numpy, JAX or XLA says that memory ran out."""
  return isinstance(error, MemoryError) or (
    type(error).__name__ in ('XlaRuntimeError', 'JaxRuntimeError')
    and ('RESOURCE_EXHAUSTED' in str(error) or 'Out of memory' in str(error))
  )


def explained(
  config: ml_collections.ConfigDict, error: BaseException
) -> OutOfMemoryError:
  """The error with the keys to turn, and values that the chain accepts.

  Args:
    config: of the run.
    error: what ran out of memory.
  """
  train, length = config.train, config.windows.length
  smaller = _smaller_batch(config)
  if smaller is None:
    advice = (
      f'a step holds {train.batch_per_device} windows already: try '
      f'--config.windows.length={max(2, length // 2)} in place of {length}'
    )
  else:
    batch, parts = smaller
    advice = (
      f'--config.train.batch_per_device={batch} '
      f'--config.train.accumulate={parts} takes as many windows a step '
      f'({train.batch_per_device * train.accumulate} a device) in smaller parts'
      f'; or a shorter --config.windows.length (now {length}), or less of what '
      f'the section {config.chain!r} of the config says of members, widths and '
      'proposals'
    )
  first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
  return OutOfMemoryError(
    f'out of memory in a training step ({first}): {advice}'
  )


def _smaller_batch(config):
  """(windows a device, accumulated parts) of the same step; None: there is none."""
  chain = registry.load(config.chain)
  batch, parts = config.train.batch_per_device, config.train.accumulate
  for smaller in range(batch // 2, 0, -1):
    if batch % smaller:
      continue
    other = config.copy_and_resolve_references()
    other.train.batch_per_device = smaller
    if not chain.problems(other):
      return smaller, parts * (batch // smaller)
  return None
