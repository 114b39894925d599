"""Settings for your own data, of each chain: custom.py and launch.compare.

A chain of `_OF_CHAIN` has a file here with `apply`, which turns the default
config into one of it.
"""

import ml_collections

from cmsn_jax.settings import bmn, default, paper, plus, smoke, tag

_OF_CHAIN = {
  'paper': paper.apply,
  'template': plus.apply,
  'bmn': bmn.apply,
  'tag': tag.apply,
}
# What one chain's config says to another: which data, and how they are judged.
_SHARED = ('data', 'evaluation', 'train.seed')


def names() -> tuple[str, ...]:
  """Chains that have settings of their own."""
  return tuple(_OF_CHAIN)


def of_chain(name: str) -> ml_collections.ConfigDict:
  """The settings of a chain, locked.

  Raises:
    ValueError: if there are none.
  """
  if name not in _OF_CHAIN:
    raise ValueError(
      f'no settings for the chain {name!r}; there are some for '
      f'{", ".join(_OF_CHAIN)}, and a chain of your own has those of its config '
      'file, as the chain of --config'
    )
  return _OF_CHAIN[name](default.get_config())


def custom(arg: str | None) -> ml_collections.ConfigDict:
  """The config of custom.py.

  Args:
    arg: a chain, 'template' without one; 'smoke' beside it, after a comma, or
      instead of it shrinks the run to seconds.

  Raises:
    ValueError: on anything else.
  """
  name, _, size = (arg or '').partition(',')
  if name not in _OF_CHAIN and not size:
    name, size = 'template', name
  if name not in _OF_CHAIN or size not in ('', 'smoke'):
    raise ValueError(
      f"the config argument must be 'smoke' or a chain ({', '.join(_OF_CHAIN)})"
      f", or both as in 'bmn,smoke', got {arg!r}"
    )
  return smoke.apply(of_chain(name), size)


def for_chain(
  config: ml_collections.ConfigDict, name: str, size: str = ''
) -> ml_collections.ConfigDict:
  """A config for the data of another one, and of another chain.

  The chain that `config` is of keeps its settings. Another has its own, with
  what `config` changes in `data`, `evaluation`, the seed, and in the section
  that is named like the chain.

  Args:
    config: left as it is.
    name: of the chain.
    size: 'smoke' if `config` was shrunk so.

  Raises:
    ValueError: if the chain has no settings.
  """
  usual = flat(default.get_config())
  if name == config.chain:
    own = config.copy_and_resolve_references()
    # What is set for other chains on the same command line is theirs.
    others = {one for one in _OF_CHAIN if one != name}
    back = {k: v for k, v in usual.items() if k.partition('.')[0] in others}
    own.update_from_flattened_dict(back)
    return own.lock()
  own = smoke.apply(of_chain(name), size)
  if config.chain in _OF_CHAIN:
    usual = flat(smoke.apply(of_chain(config.chain), size))
  sections = (*_SHARED, name)
  own.update_from_flattened_dict(
    {
      key: value
      for key, value in flat(config).items()
      if key in usual
      and value != usual[key]
      and any(key == s or key.startswith(f'{s}.') for s in sections)
    }
  )
  return own.lock()


def flat(config: ml_collections.ConfigDict, prefix: str = '') -> dict:
  """Keys with their sections, 'train.seed', and their values."""
  found = {}
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      found |= flat(value, f'{prefix}{key}.')
    else:
      found[prefix + key] = value
  return found
