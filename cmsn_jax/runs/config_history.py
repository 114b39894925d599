"""What became of config keys since runs were first saved.

Every saved config, of a run or of an export, is read through `current`: the
changes are applied in their order to whatever an older version wrote.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

_MISSING = object()


class RemovedKeyError(ValueError):
  """A saved config has a value of a key that is no more."""


class Added(NamedTuple):
  """A key that came later; older runs did what `value` says."""

  key: str
  value: Any


class Moved(NamedTuple):
  """A key, or a whole section, with another name."""

  key: str
  new: str
  convert: Callable[[Any], Any] = lambda value: value


class Removed(NamedTuple):
  """A key that is no more: only runs that had left it alone go on."""

  key: str
  value: Any


class Multiplied(NamedTuple):
  """A key that is no more, by whose value others were multiplied."""

  key: str
  others: tuple[str, ...]


_CHAINS = {'stage_runs': 'paper', 'stage_template': 'template'}

# Until a chain had a name of its own.
_BEFORE_CHAINS = (
  Added('proposals.decoder', 'argmax'),
  Added('data.normal_scores', False),
  Added('joint.action_weight', 0.0),
  Added('joint.num_actions', 0),
  Added('joint.clear_weight', 0.0),
  Added('joint.clear_reach', 4.0),
  Added('joint.border_error', 0.0),
  Added('joint.calibration', []),
  Added('data.feature_window', 0.0),
  Added('data.feature_stride', 0.0),
  Added('data.feature_offset', 0.0),
  Added('data.rescaled', False),
  Added('data.feature_key', ''),
  Moved('proposals.generator', 'chain', lambda name: _CHAINS.get(name, name)),
  Moved('joint.calibration', 'calibration.given'),
  Moved('joint', 'template'),
  Removed('data.per_video_features', False),
  Removed('evaluator.high_tiou', 0.6),
  Removed('evaluator.low_tiou', 0.2),
  Removed('stages.class_balance', 0.0),
  Removed('stages.label_smoothing', 0.0),
  Removed('template.inner_bins', 8),
  Removed('template.context_bins', 2),
  Removed('template.border', 2.0),
  Removed('template.context_weight', 0.5),
  Removed('template.duration_ratio', 1.15),
  Removed('template.clear_reach', 4.0),
)
# Since then, in order.
_SINCE = (
  Added('train.checkpoint_every_sec', 60.0),
  Added('template.most_per_snippet', 0.2),
  Added('template.most_at_least', 400),
  Added('template.different_per_snippet', 0.0),
  Added('template.max_window', 4096),
  Added('train.init_from', ''),
  Added('template.label_weight', 0.0),
  Added('template.label_hidden', 64),
  Added('template.label_names', []),
  Added('calibration.labels', []),
  Added('stages.action_weight', 0.0),
  Added('stages.label_names', []),
  Added('data.fill_gaps_sec', 0.0),
  Added('template.student_steps', 0),
  Added('template.student_windows', 16),
  Added('data.train_share', 1.0),
  Multiplied(
    'template.breadth',
    (
      'template.per_snippet',
      'template.different_per_snippet',
      'template.mend_per_snippet',
    ),
  ),
  Added('template.temper', 1.0),
  Added('template.doubt_snippets', 0.0),
  Added('template.cross_fit', False),
  Added('template.honest_weight', 1.0),
  Added('template.student_epochs', 0),
  Added('template.clear_candidates', 0.0),
  Added('template.slow_stages', 1.0),
  Added('bmn.samples', 32),
  Added('bmn.context', 0.25),
  Added('bmn.shrink', 1),
  Added('bmn.durations', []),
  Added('bmn.max_durations', 32),
  Added('bmn.max_window', 128),
  Added('bmn.steps', 200),
  Added('bmn.evaluations', 1),
  Added('bmn.per_snippet', 4.0),
  Added('template.slow_features', 1.0),
)
# Of classifiers of clips.
_OF_CLASSIFIERS = (Added('train.checkpoint_every_sec', 60.0),)


def current(values: dict[str, Any]) -> dict[str, Any]:
  """A saved config as this version would have saved it.

  Args:
    values: plain JSON values; left as they are.

  Raises:
    RemovedKeyError: naming a key that is no more and whose value cannot be
      forgotten.
  """
  values = json.loads(json.dumps(values))
  if 'proposals' not in values:
    for change in _OF_CLASSIFIERS:
      _apply(values, change)
    return values
  if 'chain' not in values:
    for change in _BEFORE_CHAINS:
      _apply(values, change)
    values['calibration'].setdefault('fit', values['chain'] == 'template')
  for change in _SINCE:
    _apply(values, change)
  return values


def current_key(key: str, value: str) -> tuple[str, str]:
  """What `config.key = value` of an older version is called now.

  Args:
    key: 'joint.steps', say; one that never changed stays as it is.
    value: its text.

  Raises:
    RemovedKeyError: if the key is no more.
  """
  for change in _BEFORE_CHAINS:
    if isinstance(change, Moved) and f'{key}.'.startswith(f'{change.key}.'):
      key, value = change.new + key[len(change.key) :], change.convert(value)
    elif isinstance(change, Removed) and change.key == key:
      raise RemovedKeyError(
        f'config.{key} is no more; only {change.value!r} is still done'
      )
  for change in _SINCE:
    if isinstance(change, Multiplied) and change.key == key:
      raise RemovedKeyError(
        f'config.{key} is no more; state what it multiplied: '
        + ', '.join(change.others)
      )
  return key, value


def _apply(values, change):
  if isinstance(change, Added):
    if _get(values, change.key) is _MISSING:
      _set(values, change.key, change.value)
    return
  found = _pop(values, change.key)
  if found is _MISSING:
    return
  if isinstance(change, Moved):
    _set(values, change.new, change.convert(found))
  elif isinstance(change, Multiplied):
    for other in change.others:
      # Of a config that was saved as it was given, nothing is derived yet.
      _set(values, other, _get(values, other) * (found or 1.0))
  elif found != change.value:
    raise RemovedKeyError(
      f'this run was made with config.{change.key} = {found!r}, a key that is '
      f'no more (only {change.value!r} is still done); use the version that '
      'made it, or train anew'
    )


def _get(values, key):
  for part in key.split('.'):
    if not isinstance(values, dict) or part not in values:
      return _MISSING
    values = values[part]
  return values


def _set(values, key, value):
  *sections, last = key.split('.')
  for part in sections:
    values = values.setdefault(part, {})
  values[last] = value


def _pop(values, key):
  *sections, last = key.split('.')
  for part in sections:
    values = values.get(part, {})
  return values.pop(last, _MISSING)
