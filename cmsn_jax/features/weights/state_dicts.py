"""State dicts of PyTorch → parameter trees, by rules of names and axes."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

# PyTorch's axes -> ours, by number of axes: Conv3d, Conv2d, Conv1d, Linear.
_AXES = {5: (2, 3, 4, 1, 0), 4: (2, 3, 1, 0), 3: (2, 1, 0), 2: (1, 0)}


@dataclasses.dataclass(frozen=True)
class Rule:
  """Where entries of a state dict go.

  Attributes:
    pattern: regular expression of the whole name.
    target: path in the tree with `/`; may use the pattern's groups as in
      `re.Match.expand`. None: the entry is left out on purpose.
  """

  pattern: str
  target: str | None


def map_parameters(
  state: Mapping[str, np.ndarray],
  template: Mapping[str, Any],
  rules: Sequence[Rule],
  *,
  name: str,
) -> tuple[dict[str, Any], tuple[str, ...]]:
  """Returns a parameter tree made of a state dict, every entry accounted for.

  Arrays whose path ends in `kernel` are transposed from PyTorch's axes (output
  first) to ours (output last).

  Args:
    state: arrays by name, in PyTorch's layout.
    template: tree of anything with a `shape`, in our layout.
    rules: the first one whose pattern matches an entry's name decides.
    name: what errors call the state dict.
  Returns:
    (tree of float32 arrays with the template's structure, names of the entries
    that a rule left out).
  Raises:
    ValueError: listing every missing, unknown, doubly given, misshapen or
      non-finite array.
  """
  wanted = traverse_util.flatten_dict(dict(template), sep='/')
  found, ignored, problems, sources = {}, [], [], {}
  for key, array in state.items():
    known, target = _apply_rules(key, rules)
    if known and target is None:
      ignored.append(key)
    elif not known or target not in wanted:
      problems.append(f'unknown: {key} {tuple(array.shape)}')
    elif target in found:
      problems.append(f'given twice: {target} by {sources[target]} and {key}')
    else:
      found[target] = _to_our_axes(target, array)
      sources[target] = key
      problems += _array_problems(
        target, key, found[target], wanted[target].shape
      )
  for target in wanted:
    if target not in found:
      shape = tuple(wanted[target].shape)
      problems.append(f'missing: {target} {shape}')
  if problems:
    raise ValueError(
      f'{name} does not fit the network, {len(problems)} problems:\n  '
      + '\n  '.join(problems)
    )
  ordered = {target: found[target] for target in wanted}
  return traverse_util.unflatten_dict(ordered, sep='/'), tuple(ignored)


def _apply_rules(key, rules):
  """Returns (whether a rule matches, the target it gives)."""
  for rule in rules:
    match = re.fullmatch(rule.pattern, key)
    if match:
      return True, rule.target and match.expand(rule.target)
  return False, None


def _to_our_axes(target, array):
  array = np.asarray(array)
  if target.rsplit('/', 1)[-1] == 'kernel' and array.ndim in _AXES:
    array = array.transpose(_AXES[array.ndim])
  return np.ascontiguousarray(array, np.float32)


def _array_problems(target, key, array, shape):
  if array.shape != tuple(shape):
    return [
      f'wrong shape: {key} becomes {target} {array.shape}, expected '
      f'{tuple(shape)}'
    ]
  if not np.isfinite(array).all():
    return [f'not finite: {key} holds NaN or infinity']
  return []
