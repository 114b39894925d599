"""Optimizers, learning-rate schedules and frozen parameters."""

import functools
import re
from collections.abc import Sequence

import flax.traverse_util
import jax
import optax
from absl import logging

_PATH_SEPARATOR = '/'
# The warm-up of a short run is at most this share of it.
_WARMUP_SHARE = 0.125


def schedule(
  name: str, learning_rate: float, *, warmup_steps: int, total_steps: int
) -> optax.Schedule:
  """Learning rate by step: constant, or half a cosine down to zero.

  Args:
    name: 'constant' or 'cosine'.
    learning_rate: its highest value.
    warmup_steps: linear growth from zero before it; at most an eighth of the
      run.
    total_steps: steps of the run.

  Raises:
    ValueError: on another name.
  """
  longest = int(total_steps * _WARMUP_SHARE)
  if warmup_steps > longest:
    logging.warning(
      'train.warmup_steps: %d of %d steps, as short as the run is', longest,
      total_steps,
    )  # fmt: skip
    warmup_steps = longest
  if name == 'constant':
    main = optax.constant_schedule(learning_rate)
  elif name == 'cosine':
    main = optax.cosine_decay_schedule(
      learning_rate, max(1, total_steps - warmup_steps)
    )
  else:
    raise ValueError(
      f"train.schedule must be 'constant' or 'cosine', got {name!r}"
    )
  if not warmup_steps:
    return main
  warmup = optax.linear_schedule(0.0, learning_rate, warmup_steps)
  return optax.join_schedules([warmup, main], [warmup_steps])


def create(
  name: str,
  learning_rate: optax.Schedule,
  *,
  weight_decay: float,
  momentum: float,
  clip_norm: float = 0.0,
  frozen: Sequence[str] = (),
  stacked_axes: int = 0,
) -> optax.GradientTransformation:
  """The optimizer of a run.

  The paper names none (Sec. 5.1). Weight decay is added to the gradient, as
  PyTorch's Adam and SGD do, of weights but not of biases; 'adamw' decouples
  it.

  Args:
    name: 'adam', 'adamw' or 'sgd'.
    learning_rate: by step.
    weight_decay: factor on weights of two or more axes.
    momentum: of 'sgd'.
    clip_norm: clip the global gradient norm; 0 does not.
    frozen: regular expressions searched in parameter paths
      ("extractor/conv1a/kernel"); what matches gets no update and no decay.
    stacked_axes: leading axes of every parameter that count several networks.

  Raises:
    ValueError: on another name.
  """
  parts = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
  decay = optax.add_decayed_weights(
    weight_decay, mask=functools.partial(_is_weight, stacked_axes)
  )
  if name == 'adam':
    parts += [decay, optax.scale_by_adam()]
  elif name == 'adamw':
    parts += [optax.scale_by_adam(), decay]
  elif name == 'sgd':
    parts += [decay, optax.trace(momentum)]
  else:
    raise ValueError(
      f"train.optimizer must be 'adam', 'adamw' or 'sgd', got {name!r}"
    )
  train = optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))
  if not frozen:
    return train
  return optax.partition(
    {'train': train, 'frozen': optax.set_to_zero()},
    lambda params: labels(params, frozen),
  )


def labels(params: dict, frozen: Sequence[str]) -> dict:
  """Labels each parameter 'train' or 'frozen'.

  Raises:
    ValueError: if an expression matches no parameter, or nothing is left.
  """
  flat = flax.traverse_util.flatten_dict(params, sep=_PATH_SEPARATOR)
  for pattern in frozen:
    if not any(re.search(pattern, path) for path in flat):
      raise ValueError(
        f'train.frozen: {pattern!r} matches no parameter; there are '
        + ', '.join(sorted(flat))
      )
  names = {
    path: 'frozen' if any(re.search(p, path) for p in frozen) else 'train'
    for path in flat
  }
  if 'train' not in names.values():
    raise ValueError(f'train.frozen {tuple(frozen)} leaves nothing to train')
  still = [path for path, label in names.items() if label == 'frozen']
  logging.log_first_n(
    logging.INFO,
    'frozen: %d of %d parameter arrays: %s',
    1,
    len(still),
    len(names),
    ', '.join(still),
  )
  return flax.traverse_util.unflatten_dict(names, sep=_PATH_SEPARATOR)


def _is_weight(stacked_axes, params):
  # A tree map passes over the places of parameters masked as frozen.
  return jax.tree.map(lambda value: value.ndim > 1 + stacked_axes, params)
