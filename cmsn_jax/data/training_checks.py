"""What of the training data cannot be learned, said before a run starts."""

import numpy as np
from absl import logging

from cmsn_jax.data import training_data

# Snippets: an instance of fewer has no room for Start, Confirm and End.
_STAGES = 3.0


def tell(data: training_data.TrainingData) -> list[str]:
  """Warns of instances too short for the rate, and of constant features.

  Args:
    data: training videos and their rate.
  Returns:
    what was said.
  """
  durations = _durations(data)
  lines = [
    *_too_short(durations, data.source.feature_fps, data.pool),
    *_constant(data),
    *_wild(data),
  ]
  for line in lines:
    logging.warning('%s', line)
  return lines


def tell_longer(
  data: training_data.TrainingData, window: int, key: str
) -> list[str]:
  """Warns of training instances that no window holds.

  Args:
    data: training videos and their rate.
    window: snippets a window.
    key: of the config, which makes windows longer.
  Returns:
    what was said.
  """
  snippets = _durations(data) * data.source.feature_fps
  longer = snippets[snippets > window]
  if not len(longer):
    return []
  line = (
    f'{len(longer)} of {len(snippets)} training instances are longer than the '
    f'window of {window} snippets (up to {longer.max():.0f}, '
    f'{longer.max() / data.source.feature_fps:.4g} s): they are never seen '
    f'whole, and will hardly be found. A larger {key} holds them; so '
    f'does a lower rate (config.data.pool, now {data.pool})'
  )
  logging.warning('%s', line)
  return [line]


def tell_labels(data: training_data.TrainingData) -> list[str]:
  """Warns of labels that only held-out videos have.

  Args:
    data: training and held-out videos.
  Returns:
    what was said.
  """
  known = set(training_data.label_names(data))
  held_out = [x for v in data.held_out.values() for x in v.labels]
  new = [label for label in held_out if label not in known]
  if not new:
    return []
  names = sorted(set(new))
  shown = ', '.join(map(repr, names[:5])) + (' ...' if len(names) > 5 else '')
  line = (
    f'{len(new)} of {len(held_out)} held-out instances have a label that no '
    f'training video has ({shown}): it cannot be learned, and lowers mAP and '
    'label_accuracy there'
  )
  logging.warning('%s', line)
  return [line]


def _durations(data):
  found = [v.segments[:, 1] - v.segments[:, 0] for v in data.train.values()]
  return np.concatenate(found) if found else np.zeros(0)


def _too_short(durations, fps, pool):
  snippets = durations * fps
  if not len(snippets):
    return []
  remedy = (
    f'a lower config.data.pool (now {pool})'
    if pool > 1
    else 'features at a higher rate'
  )
  median = float(np.median(snippets))
  lines = []
  below = int(np.sum(snippets < 1))
  if below:
    lines.append(
      f'{below} of {len(snippets)} training instances are shorter than a '
      f'snippet of {1 / fps:.4g} s (median {np.median(durations):.4g} s): they '
      f'cannot be told apart, nor their borders be found; take {remedy}'
    )
  short = int(np.sum(snippets < _STAGES))
  if short > len(snippets) / 2:
    lines.append(
      f'{short} of {len(snippets)} training instances span fewer than '
      f'{_STAGES:.0f} snippets, too few for a start, a middle and an end: at '
      f'{fps:.4g} snippets a second their median has {median:.2g}; take '
      f'{remedy}, about {max(8.0, _STAGES) / np.median(durations):.3g} snippets '
      'a second'
    )
  return lines


def _constant(data):
  statistics = getattr(data.source, 'statistics', None)
  constant = getattr(statistics, 'constant', ())
  if not len(constant):
    return []
  total = len(statistics.mean)
  return [
    f'{len(constant)} of {total} features never change within a training video '
    f'({_columns(constant)}): '
    + (
      'there is nothing to learn from; look at the files'
      if len(constant) == total
      else 'they tell nothing'
    )
  ]


def _wild(data):
  statistics = getattr(data.source, 'statistics', None)
  wild = getattr(statistics, 'wild', ())
  if not len(wild):
    return []
  return [
    f'{len(wild)} of {len(statistics.mean)} features have single values so far '
    f'out that the others are one value beside them ({_columns(wild)}, deviation '
    f'{statistics.std[wild[0]]:.3g}): look for errors in the files; '
    'config.data.normal_scores=True takes ranks in place of values'
  ]


def _columns(places):
  shown = ', '.join(map(str, places[:10]))
  return f'columns {shown}{" ..." if len(places) > 10 else ""} from 0'
