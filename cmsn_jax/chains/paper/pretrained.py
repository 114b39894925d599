"""Extractor weights made elsewhere, put into a run."""

from typing import Any

import flax.traverse_util
import ml_collections
from absl import logging

from cmsn_jax.features.weights import folders


def describe(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The config with mean, scale and channel order of its weight set.

  Raises:
    ValueError: if the weights are of another extractor or other widths.
  """
  if config.data.input != 'video' or not config.extractor.weights:
    return config
  found = folders.load(config.extractor.weights).description
  if found.get('backbone') != config.extractor.name:
    raise ValueError(
      f'{config.extractor.weights} holds weights of {found.get("backbone")!r}, '
      f'config.extractor.name is {config.extractor.name!r}'
    )
  config = config.copy_and_resolve_references()
  for key in ('mean', 'scale'):
    config.extractor[key] = tuple(float(x) for x in found[key])
  config.extractor.channel_order = found['channel_order']
  logging.info(
    'extractor weights %s: mean %s, scale %s, %s', config.extractor.weights,
    found['mean'], found['scale'], found['channel_order'],
  )  # fmt: skip
  return config.lock()


def insert(
  config: ml_collections.ConfigDict, params: dict[str, Any]
) -> dict[str, Any]:
  """Fresh parameters with the extractor's replaced by its weight set.

  Raises:
    ValueError: listing every layer that is missing, added or of another shape.
  """
  if config.data.input != 'video' or not config.extractor.weights:
    return params
  found = folders.load(config.extractor.weights).params
  wanted = _shapes(params['extractor'])
  given = _shapes(found)
  problems = [
    f'{name}: {given.get(name, "missing")}, expected {wanted.get(name, "none")}'
    for name in sorted(wanted.keys() | given.keys())
    if wanted.get(name) != given.get(name)
  ]
  if problems:
    raise ValueError(
      f'{config.extractor.weights} does not fit the extractor: '
      + '; '.join(problems)
    )
  return {**params, 'extractor': found}


def _shapes(tree):
  flat = flax.traverse_util.flatten_dict(tree, sep='/')
  return {name: tuple(value.shape) for name, value in flat.items()}
