"""Settings that follow from the training data, fixed before a run starts."""

import ml_collections
import numpy as np
from absl import logging

from cmsn_jax.candidates import template
from cmsn_jax.data import training_data

# Snippets: no window is shorter.
_MIN_WINDOW = 32
# Labels: free text, one for each instance, would widen the evaluator for nothing.
_MAX_ACTIONS = 300


def derive(
  config: ml_collections.ConfigDict, data: training_data.TrainingData
) -> ml_collections.ConfigDict:
  """The config with every setting that is left to the data filled in.

  The grid of candidate durations, the typical duration, the number of actions,
  and a window no longer than the longest training video needs. What the config
  states is kept.

  Args:
    config: left as it is.
    data: training videos and their rate.
  Returns:
    a new config, locked.
  """
  config = config.copy_and_resolve_references()
  settings = config.template
  segments = np.concatenate([data.grid_segments(name) for name in data.train])
  durations = segments[:, 1] - segments[:, 0]
  durations = durations[durations > 0]
  fps = data.source.feature_fps
  if not settings.typical_duration:
    settings.typical_duration = float(np.median(durations) * fps)
  if not settings.durations:
    grid = template.duration_grid(durations, fps)
    settings.durations = tuple(round(float(value), 4) for value in grid)
  _derive_actions(settings, actions(data))
  longest = max(data.source.num_snippets(name) for name in data.train)
  # A multiple of 32 keeps the shapes few.
  needed = max(_MIN_WINDOW, -(-longest // 32) * 32)
  if needed < config.windows.length:
    config.windows.length = needed
  logging.info(
    'from the training data: windows of %d snippets, %d durations of %.1f to '
    '%.1f snippets, median %.1f; %d actions told apart',
    config.windows.length, len(settings.durations), settings.durations[0],
    settings.durations[-1], settings.typical_duration, settings.num_actions,
  )  # fmt: skip
  return config.lock()


def actions(data: training_data.TrainingData) -> list[str]:
  """Labels of the training instances, sorted: action 1, 2, ..."""
  return sorted({label for v in data.train.values() for label in v.labels})


def _derive_actions(settings, names):
  if not settings.action_weight:
    settings.num_actions = 0
  elif settings.num_actions not in (0, len(names)):
    raise ValueError(
      f'config.template.num_actions is {settings.num_actions}, but the training '
      f'instances have {len(names)} labels; leave it 0, it is counted'
    )
  elif len(names) > _MAX_ACTIONS:
    logging.warning(
      'the training instances have %d labels, more than the %d that are told '
      'apart as actions: config.template.action_weight has no effect',
      len(names), _MAX_ACTIONS,
    )  # fmt: skip
    settings.action_weight, settings.num_actions = 0.0, 0
  else:
    settings.num_actions = len(names)
