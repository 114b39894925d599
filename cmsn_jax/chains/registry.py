"""Where a name becomes a chain; there is no list."""

import importlib
import pathlib
from typing import Any

import ml_collections

from cmsn_jax.chains import prediction, protocol

_NAMES = (
  'READS', 'AT_INFERENCE', 'phases', 'problems', 'derive', 'networks',
  'predictor', 'phase', 'programs',
)  # fmt: skip


def names() -> list[str]:
  """Chains that are here, sorted."""
  here = pathlib.Path(__file__).parent
  return sorted(path.parent.name for path in here.glob('*/chain.py'))


def load(name: str) -> protocol.Chain:
  """The chain that `config.chain` names.

  Args:
    name: 'paper' is `cmsn_jax/chains/paper/chain.py`; a name with a dot is an
      import path of your own.

  Raises:
    ValueError: if there is no such module, or it lacks a name that
      `protocol.Chain` has.
  """
  if not all(part.isidentifier() for part in name.split('.')):
    raise ValueError(
      f'config.chain must be one of {", ".join(names())}, or an import path, got '
      f'{name!r}'
    )
  path = name if '.' in name else f'cmsn_jax.chains.{name}.chain'
  try:
    found = importlib.import_module(path)
  except ModuleNotFoundError as error:
    # Something that the chain itself imports is another fault.
    if not error.name or not f'{path}.'.startswith(f'{error.name}.'):
      raise
    raise ValueError(
      f'config.chain: no chain {name!r}; give {", ".join(names())}, or an import '
      "path such as 'my_package.my_chain', and start the command where it can "
      'be imported'
    ) from None
  missing = [key for key in _NAMES if not hasattr(found, key)]
  if missing:
    raise ValueError(
      f'config.chain: {path} ({found.__file__}) is no chain, it has no '
      f'{", ".join(missing)}; docs/your_own_chain.md says what it must have'
    )
  return found


def predictor(
  config: ml_collections.ConfigDict, params: dict[str, Any]
) -> prediction.Predictor:
  """Who proposes as a config says.

  Args:
    config: of a run.
    params: the bundle that a phase kept; {}: to be given by `with_params`.

  Raises:
    ValueError: see `load`.
  """
  chain = load(config.chain)
  return chain.predictor(config, chain.networks(config), params)
