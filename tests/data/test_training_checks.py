import dataclasses
import types

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.data import sources, training_checks, training_data


def _data(durations, fps, *, pool=1, statistics=None):
  start = np.arange(len(durations)) * 1000.0
  segments = np.stack([start, start + durations], axis=1)
  video = activitynet.Video(
    'a', 'training', 1e6, segments, ('x',) * len(segments)
  )
  source = types.SimpleNamespace(feature_fps=fps, statistics=statistics)
  return training_data.TrainingData(
    activitynet.Annotations('', {}), {'a': video}, {}, source, pool
  )


def test_instances_below_a_snippet_and_below_three_are_counted():
  durations = np.array([0.1, 0.15, 0.3, 0.5, 9.0])
  lines = training_checks.tell(_data(durations, 5.0))
  assert lines[0].startswith(
    '2 of 5 training instances are shorter than a snippet of 0.2 s'
  )
  assert '4 of 5 training instances span fewer than 3 snippets' in lines[1]
  assert 'features at a higher rate' in lines[1]
  # 8 snippets to the median of .3 s.
  assert 'about 26.7 snippets a second' in lines[1]
  (line, _) = training_checks.tell(_data(durations, 5.0, pool=4))
  assert 'lower config.data.pool (now 4)' in line
  assert training_checks.tell(_data(np.array([0.5, 2, 3, 9]), 5.0)) == []


@pytest.mark.parametrize(
  ('constant', 'said'),
  [((1,), 'they tell nothing'), ((0, 1), 'nothing to learn from')],
)
def test_constant_features_are_named(constant, said):
  statistics = sources.Statistics(np.zeros(2), np.ones(2), constant=constant)
  (line,) = training_checks.tell(
    _data(np.array([3.0]), 5.0, statistics=statistics)
  )
  assert f'{len(constant)} of 2 features never change' in line
  assert said in line


def test_wild_features_are_named():
  statistics = sources.Statistics(np.zeros(3), np.array([1, 1, 6e8]), wild=(2,))
  (line,) = training_checks.tell(
    _data(np.array([3.0]), 5.0, statistics=statistics)
  )
  assert line.startswith('1 of 3 features have single values so far out')
  assert 'columns 2 from 0, deviation 6e+08' in line


def test_instances_longer_than_the_window_are_counted():
  data = _data(np.array([2.0, 3.0, 300.0]), 5.0)
  (line,) = training_checks.tell_longer(data, 96, 'config.windows.length')
  assert line.startswith('1 of 3 training instances are longer than the window')
  assert 'up to 1500, 300 s' in line and 'config.windows.length' in line
  assert training_checks.tell_longer(data, 1500, 'x') == []


def test_labels_of_held_out_videos_alone_are_named():
  data = _data(np.array([2.0, 3.0]), 5.0)
  rows = np.array([[0.0, 2.0], [4.0, 6.0], [8.0, 9.0]])
  other = activitynet.Video('b', 'validation', 9.0, rows, ('x', 'new', 'new'))
  (line,) = training_checks.tell_labels(
    dataclasses.replace(data, held_out={'b': other})
  )
  assert line.startswith('2 of 3 held-out instances have a label that no')
  assert "('new')" in line
  assert training_checks.tell_labels(data) == []
