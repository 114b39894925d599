"""Settings that follow from the training data, fixed before a run starts."""

import ml_collections
import numpy as np
from absl import logging

from cmsn_jax.candidates import template
from cmsn_jax.data import training_checks, training_data
from cmsn_jax.stages import dilated

# Snippets: no window is shorter.
_MIN_WINDOW = 32
# A multiple of 32 keeps the shapes few.
_MULTIPLE = 32
# Windows grow where more than a hundredth of the instances is longer than they
# are: a few outliers are not worth windows that seldom hold them.
_COVERED = 0.99
# Windows to the longest instance: randomly placed, half of them hold it whole.
_ROOM = 2.0
# Less of it where that makes steps longer: a step has a window a member at least.
_LEAST_ROOM = 1.25
# Snippets to either side that a grown encoder sees at most: a quarter of the
# piece that is encoded in one call, so that half of each is new.
_MAX_REACH = 512
# Training instances: below, they are soon known by heart, and many candidates are
# worth their time.
_FEW_INSTANCES = 400
# Where at least this share of the training instances is below so many snippets,
# networks see the snippets played so many times as slowly.
_SHARE, _SHORT, _SLOWNESS = 0.1, 8.0, 1.5


def derive(
  config: ml_collections.ConfigDict, data: training_data.TrainingData
) -> ml_collections.ConfigDict:
  """The config with every setting that is left to the data filled in.

  The grid of candidate durations, the typical duration, how many candidates are
  scored, how slowly networks see the snippets, how sure of them to be and whom the
  student believes where instances are few, the number of actions, a window that
  holds the long instances (`_grow`) and is no longer than the longest training
  video needs. What the config states is kept, but for what a student is taught
  where there is none, or where no member can leave a part out (`_derive_student`).

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
  few = len(durations) < _FEW_INSTANCES
  _derive_candidates(settings, few)
  _derive_slowness(settings, durations * fps, few)
  if not settings.temper:
    settings.temper = 0.7 if few else 1.0
  _derive_student(config, few)
  _derive_actions(settings, actions(data))
  if settings.label_names:
    training_checks.tell_labels(data)
  _grow(config, durations * fps)
  longest = max(data.source.num_snippets(name) for name in data.train)
  needed = max(_MIN_WINDOW, _rounded(longest))
  if needed < config.windows.length:
    config.windows.length = needed
  # Windows that did not grow, for a few outliers, grow by their own key only.
  grew = config.windows.length >= settings.max_window > 0
  training_checks.tell_longer(
    data,
    config.windows.length,
    'config.template.max_window' if grew else 'config.windows.length',
  )
  logging.info(
    'from the training data: windows of %d snippets, %d durations of %.1f to '
    '%.1f snippets, median %.1f; %d actions told apart',
    config.windows.length, len(settings.durations), settings.durations[0],
    settings.durations[-1], settings.typical_duration, settings.num_actions,
  )  # fmt: skip
  return config.lock()


def _grow(config, durations):
  """Wider windows and a wider view where instances are longer than windows.

  A step keeps its snippets and proposals, hence about its time and memory: of
  windows that are k times as long there are k times fewer, at least one a
  member, each with k times the proposals. A wider view costs more blocks.

  Args:
    config: changed.
    durations: of the training instances, in snippets.
  """
  settings, length = config.template, config.windows.length
  if np.quantile(durations, _COVERED) <= length:
    return
  long = float(np.quantile(durations, 0.995))
  batch, members = config.train.batch_per_device, settings.members
  one_each = batch * length // members // _MULTIPLE * _MULTIPLE
  most = max(one_each, _rounded(_LEAST_ROOM * long))
  grown = min(_rounded(_ROOM * long), most, settings.max_window)
  if grown <= length:
    return
  fewer = max(1, round(batch * length / (grown * members))) * members
  config.windows.length = grown
  if fewer < batch:
    config.train.batch_per_device = fewer
    settings.proposals = round(settings.proposals * batch / fewer)
    settings.student_windows = max(
      1, round(settings.student_windows * fewer / batch)
    )
  dilations = list(settings.dilations)
  # A third of an instance is one stage: as far the next border may be.
  while dilated.reach(dilations) < long / 3:
    if dilated.reach([*dilations, 2 * dilations[-1]]) > _MAX_REACH:
      break
    dilations.append(2 * dilations[-1])
  settings.dilations = tuple(dilations)
  logging.info(
    'more than %.0f %% of the training instances are longer than the window of '
    '%d snippets: windows of %d, %d instead of %d a step and device with %d '
    'proposals each, dilations %s (config.template.max_window=0 leaves them)',
    100 * (1 - _COVERED), length, grown, config.train.batch_per_device, batch,
    settings.proposals, settings.dilations,
  )  # fmt: skip


def _derive_candidates(settings, few):
  """How many the evaluator scores, a snippet."""
  total, different, mended = (4.7, 4.0, 0.8) if few else (2.0, 1.3, 0.4)
  if settings.mend_per_snippet < 0:
    settings.mend_per_snippet = mended
  if not settings.per_snippet:
    settings.per_snippet = total
  if settings.different_per_snippet < 0:
    share = settings.per_snippet / total
    settings.different_per_snippet = round(share * different, 4)


def _derive_slowness(settings, durations, few):
  """How slowly networks see the snippets: see `settings.default`."""
  short = np.mean(durations < _SHORT) >= _SHARE
  if not settings.slow_stages:
    settings.slow_stages = _SLOWNESS if short else 1.0
  if not settings.slow_features:
    settings.slow_features = 1.0 if few else settings.slow_stages
  if (settings.slow_stages, settings.slow_features) != (1, 1):
    logging.info(
      'proposing plays snippets %g times as slowly to tell their stages, %g times '
      'for the features of proposals',
      settings.slow_stages, settings.slow_features,
    )  # fmt: skip


def _derive_student(config, few):
  """Whether members leave something out, and how much the student believes it."""
  settings = config.template
  if not settings.student_steps:
    # There is nobody to be taught.
    settings.cross_fit, settings.student_epochs = False, 0
  if settings.members < 2:
    settings.cross_fit = False
  if config.train.init_from and settings.cross_fit:
    logging.info(
      'train.init_from: members begin with what an earlier run has seen, so that '
      'none leaves a part of the training videos out (template.cross_fit)'
    )
    settings.cross_fit = False
  if not settings.cross_fit:
    settings.honest_weight = 1.0
  elif not settings.honest_weight:
    settings.honest_weight = 9.0 if few else 3.0


def _rounded(snippets):
  return int(-(-snippets // _MULTIPLE) * _MULTIPLE)


actions = training_data.label_names


def _derive_actions(settings, names):
  if not settings.action_weight:
    settings.num_actions = 0
  elif settings.num_actions not in (0, len(names)):
    raise ValueError(
      f'config.template.num_actions is {settings.num_actions}, but the training '
      f'instances have {len(names)} labels; leave it 0, it is counted'
    )
  elif len(names) > training_data.MAX_LABELS:
    logging.warning(
      'the training instances have %d labels, more than the %d that are told '
      'apart: proposals get no labels, and config.template.action_weight has no '
      'effect; give several the same name in the annotations',
      len(names), training_data.MAX_LABELS,
    )  # fmt: skip
    settings.action_weight, settings.num_actions = 0.0, 0
  else:
    settings.num_actions = len(names)
  # Proposals are given those labels that snippets are told apart by.
  if not settings.num_actions:
    settings.label_weight = 0.0
  settings.label_names = tuple(names) if settings.label_weight else ()
