"""What to turn where a training step does not fit into memory."""

import ml_collections

from cmsn_jax.chains import registry
from cmsn_jax.settings import recipes


class OutOfMemoryError(RuntimeError):
  """A training step needs more memory than there is."""


def is_out_of_memory(error: BaseException) -> bool:
  """Whether an error of numpy, JAX or XLA says that memory ran out."""
  return isinstance(error, MemoryError) or (
    type(error).__name__ in ('XlaRuntimeError', 'JaxRuntimeError')
    and ('RESOURCE_EXHAUSTED' in str(error) or 'Out of memory' in str(error))
  )


def explained(
  config: ml_collections.ConfigDict,
  error: BaseException,
  key: str = 'train.batch_per_device',
) -> OutOfMemoryError:
  """The error with the keys to turn, and values that the chain accepts.

  Args:
    config: of the run.
    error: what ran out of memory.
    key: see `protocol.Phase.windows_key`.
  """
  length = config.windows.length
  windows = recipes.flat(config)[key]
  smaller = _smaller_batch(config, key)
  if smaller is None:
    advice = (
      f'a step holds {windows} windows already: try '
      f'{_shorter(config)} in place of windows of {length}'
    )
  else:
    flags = ' '.join(f'--config.{name}={n}' for name, n in smaller.items())
    advice = (
      f'{flags} takes as many windows a step '
      f'({windows * config.train.accumulate} a device) in smaller '
      f'parts; or a shorter --config.windows.length (now {length}), or less of '
      f'what the section {config.chain!r} of the config says of members, widths '
      'and proposals'
    )
  first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
  return OutOfMemoryError(
    f'out of memory in a training step ({first}): {advice}'
  )


def _smaller_batch(config, key):
  """Keys of the same step in more parts, with their values; None: there are none.

  Parts are of all phases: each has its windows divided by as much.
  """
  chain = registry.load(config.chain)
  train, own = config.train, recipes.flat(config)[key]
  batch = train.batch_per_device
  for smaller in range(batch // 2, 0, -1):
    parts = batch // smaller
    if batch % smaller or own % parts:
      continue
    found = {
      'train.batch_per_device': smaller,
      'train.accumulate': train.accumulate * parts,
      key: own // parts,
    }
    other = config.copy_and_resolve_references()
    other.update_from_flattened_dict(found)
    if not chain.problems(other):
      return found
  return None


def _shorter(config):
  """Flags that halve the window, also where it was made to fit the data."""
  half = max(2, config.windows.length // 2)
  flags = [f'--config.windows.length={half}']
  section = config[config.chain] if config.chain in config else {}
  if 'max_window' in section and section.max_window:
    flags += [
      f'--config.{config.chain}.max_window={half}',
      f'--config.train.batch_per_device={config.train.batch_per_device}',
    ]
  return ' '.join(flags)
