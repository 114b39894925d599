"""Window and durations that follow from the training data."""

import ml_collections
import numpy as np
from absl import logging

from cmsn_jax.data import training_checks, training_data

# Snippets: no window is shorter, and all are a multiple.
_MIN_WINDOW = 32
_MULTIPLE = 32
# Instances that the durations hold; a few outliers are not worth the memory.
_COVERED = 0.99
# Windows to the longest duration: half of those that hold its start hold it.
_ROOM = 2.0


def derive(
  config: ml_collections.ConfigDict, data: training_data.TrainingData
) -> ml_collections.ConfigDict:
  """The config with window and durations filled in, where it has none.

  The longest duration is that of the longest instances, the window twice as
  long, `bmn.max_window` at most. The map holds every duration, or where these
  are more than `bmn.max_durations` every short one and long ones in growing
  steps: window x durations is what memory and time grow with.

  Returns:
    a new config, locked.
  """
  config = config.copy_and_resolve_references()
  settings = config.bmn
  segments = np.concatenate([data.grid_segments(name) for name in data.train])
  lengths = (segments[:, 1] - segments[:, 0]) * data.source.feature_fps
  lengths = lengths[lengths > 0]
  derived = bool(settings.max_window and not settings.durations)
  if derived:
    long = float(np.quantile(lengths, _COVERED))
    longest = max(data.source.num_snippets(name) for name in data.train)
    wanted = min(_ROOM * long, longest, settings.max_window)
    wanted = max(_MIN_WINDOW, -(-wanted // _MULTIPLE) * _MULTIPLE)
    config.windows.length = int(min(wanted, settings.max_window))
  if not settings.durations:
    longest = min(int(np.ceil(lengths.max())), config.windows.length)
    settings.durations = duration_grid(longest, settings.max_durations)
  key = 'config.windows.length'
  if derived:
    bound = config.windows.length >= settings.max_window
    key = 'config.bmn.max_window' if bound else f'{key} with bmn.max_window=0'
  training_checks.tell_longer(data, config.windows.length, key)
  logging.info(
    'from the training data: windows of %d snippets, %d durations up to %d',
    config.windows.length, len(settings.durations), settings.durations[-1],
  )  # fmt: skip
  return config.lock()


def duration_grid(longest: int, most: int) -> tuple[int, ...]:
  """Whole numbers from 1 to `longest`: all, or `most` in growing steps.

  Args:
    longest: of the durations, in snippets, at least 1.
    most: how many there are at most, at least 2.
  """
  if longest <= most:
    return tuple(range(1, longest + 1))
  low, high = 1.0, float(longest)
  # The least ratio between neighbours with which `most` of them suffice.
  for _ in range(50):
    ratio = (low + high) / 2
    low, high = (
      (ratio, high) if len(_grid(longest, ratio)) > most else (low, ratio)
    )
  return _grid(longest, high)


def _grid(longest, ratio):
  found = [1]
  while found[-1] < longest:
    found.append(min(longest, max(found[-1] + 1, round(found[-1] * ratio))))
  return tuple(found)
