"""What the template chain takes from the training data, by hand."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.annotations import activitynet
from cmsn_jax.chains.template import derive
from cmsn_jax.data import sources, training_data
from cmsn_jax.settings import default, plus
from cmsn_jax.stages import dilated


class _Source:
  """Videos of so many snippets, and nothing in them."""

  snippet_shape = (3,)
  statistics = None

  def __init__(self, snippets, fps=10.0, clock=None):
    self.feature_fps = fps
    self._snippets = snippets
    if clock:
      self.clock = lambda video_id: clock

  def num_snippets(self, video_id):
    return self._snippets[video_id]


def _data(videos, snippets=6000, labels=None, **source):
  """Training data of videos with instances [start, end) in seconds."""
  train = {
    name: activitynet.Video(
      name,
      'training',
      600.0,
      np.array(segments, np.float64).reshape(-1, 2),
      tuple(labels or ['x'] * len(segments)),
    )
    for name, segments in videos.items()
  }
  lengths = snippets if isinstance(snippets, dict) else (
    dict.fromkeys(train, snippets)
  )  # fmt: skip
  return training_data.TrainingData(
    activitynet.Annotations('', train), train, {}, _Source(lengths, **source)
  )


def _lasting(*seconds, **options):
  """One video with instances of these durations."""
  starts = np.concatenate([[0.0], np.cumsum(seconds)[:-1]])
  segments = [[a, a + d] for a, d in zip(starts, seconds)]
  return _data({'v': segments}, **options)


def _config(length=96, batch=32, **template):
  config = plus.apply(default.get_config())
  config.windows.length = length
  config.train.batch_per_device = batch
  config.template.update(
    {'members': 2, 'dilations': (1, 2), 'proposals': 16, **template}
  )
  return config


def test_durations_are_of_all_videos_together():
  data = _data({'a': [[0, 1], [5, 7]], 'b': [[0, 4]], 'c': []})
  done = derive.derive(_config(), data)
  # 1, 2 and 4 s at 10 snippets a second.
  assert done.template.typical_duration == pytest.approx(20.0)
  found = done.template.durations
  assert found[0] == pytest.approx(10 + 0.02 * 10, abs=1e-3)
  assert found[-1] == pytest.approx(20 + 0.99 * 20, abs=1e-3)
  ratios = np.array(found[1:]) / np.array(found[:-1])
  assert ratios.max() <= 1.15 + 1e-3
  np.testing.assert_allclose(ratios, ratios[0], atol=1e-3)


def test_an_instance_of_no_duration_counts_for_nothing():
  with_it = derive.derive(_config(), _data({'v': [[0, 2], [3, 3], [5, 7]]}))
  without = derive.derive(_config(), _data({'v': [[0, 2], [5, 7]]}))
  assert with_it.template.durations == without.template.durations
  assert with_it.template.typical_duration == pytest.approx(20.0)


def test_durations_are_of_the_grid_and_not_of_the_video():
  # Every video was stretched to one number of rows: 2 s of it are 1 of the grid.
  clock = sources.Clock(0.0, 2.0)
  done = derive.derive(_config(), _lasting(4.0, clock=clock))
  assert done.template.typical_duration == pytest.approx(20.0)
  # When the first snippet begins is no matter of durations.
  clock = sources.Clock(0.7, 1.0)
  done = derive.derive(_config(), _lasting(4.0, clock=clock))
  assert done.template.typical_duration == pytest.approx(40.0)


@pytest.mark.parametrize(
  ('snippets', 'length', 'expected'),
  [(70, 256, 96), (96, 256, 96), (97, 256, 128), (3, 256, 32), (5000, 256, 256),
   (5000, 100, 100), (100, 128, 128)],
)  # fmt: skip
def test_windows_are_no_longer_than_the_longest_video(
  snippets, length, expected
):
  data = _data(
    {'long': [[0, 0.2]], 'short': [[0, 0.2]]},
    snippets={'long': snippets, 'short': 1},
  )
  assert derive.derive(_config(length), data).windows.length == expected


def test_a_grown_window_is_no_longer_than_the_video_either():
  # Twice 200 snippets, rounded up to 416; the video has 300, rounded up to 320.
  done = derive.derive(_config(), _lasting(20.0, snippets=300))
  assert done.windows.length == 320


@pytest.mark.parametrize(
  ('batch', 'members', 'window', 'expected', 'proposals'),
  [
    # 32 x 96 / (416 x 2) = 3.7 windows a member: 4.
    (32, 2, 416, 8, 64),
    (32, 4, 416, 8, 64),
    (64, 1, 416, 15, 68),
    # At least one a member: of as many snippets as a member had, 288,
    (12, 4, 288, 4, 48),
    # but a quarter longer than the instances, and never more than there were.
    (2, 2, 256, 2, 16),
    (4, 4, 256, 4, 16),
  ],
)
def test_a_step_of_longer_windows_has_fewer(
  batch, members, window, expected, proposals
):
  config = _config(batch=batch, members=members)
  done = derive.derive(config, _lasting(20.0))
  assert done.windows.length == window
  assert done.train.batch_per_device == expected
  assert done.template.proposals == proposals
  assert done.template.dilations == (1, 2, 4, 8, 16, 32, 64)


def test_a_few_outliers_are_not_worth_longer_windows(caplog):
  few = _lasting(*[1.0] * 198, 50.0, 50.0)
  with caplog.at_level('WARNING'):
    done = derive.derive(_config(), few)
  assert done.windows.length == 96 and done.template.dilations == (1, 2)
  # It is said of the two that no window holds.
  assert '2 of 200 training instances are longer than the window' in caplog.text
  # Of three in a hundred it is worth it.
  more = _lasting(*[1.0] * 97, *[50.0] * 3)
  assert derive.derive(_config(), more).windows.length > 96


def test_instances_as_long_as_the_window_leave_it():
  done = derive.derive(_config(), _lasting(9.6, 9.6))
  assert done.windows.length == 96
  assert done.train.batch_per_device == 32


@settings(max_examples=40)
@given(
  st.lists(st.floats(0.2, 120.0), min_size=1, max_size=20),
  st.sampled_from([32, 96, 256]),
  st.sampled_from([1, 2, 4]),
  st.sampled_from([4, 12, 32]),
)
def test_what_was_derived_holds_and_is_derived_again(
  seconds, length, members, batch
):
  config = _config(length, batch, members=members)
  before = config.to_json()
  data = _lasting(*seconds)
  done = derive.derive(config, data)
  assert config.to_json() == before and done.is_locked
  assert length <= done.windows.length <= config.template.max_window
  assert done.train.batch_per_device <= batch
  assert done.train.batch_per_device % members == 0
  # A step has about as many proposals as before.
  steps = done.train.batch_per_device * done.template.proposals
  assert abs(steps - batch * 16) <= done.train.batch_per_device / 2
  dilations = done.template.dilations
  assert dilations[:2] == (1, 2) and dilated.reach(dilations) <= 512
  assert all(b == 2 * a for a, b in zip(dilations, dilations[1:]))
  durations = np.array(done.template.durations)
  assert np.all(np.diff(durations) >= 0) and durations[0] >= 1.5 - 1e-3
  again = derive.derive(done, data)
  for key in ('durations', 'typical_duration', 'num_actions'):
    assert again.template[key] == done.template[key]


def test_actions_are_numbered_in_the_order_of_their_names():
  data = _data({'v': [[0, 1], [2, 3], [4, 5]]}, labels=['run', 'dig', 'run'])
  assert derive.actions(data) == ['dig', 'run']
  config = _config(action_weight=0.5)
  assert derive.derive(config, data).template.num_actions == 2
  # A resumed run states what it counted; another number is refused.
  config.template.num_actions = 2
  assert derive.derive(config, data).template.num_actions == 2
  config.template.num_actions = 3
  with pytest.raises(ValueError, match='num_actions is 3.* 2 labels; leave it'):
    derive.derive(config, data)


def test_of_free_text_the_weight_is_said_to_have_no_effect(caplog):
  names = [f'a note, number {k}' for k in range(301)]
  data = _data({'v': [[2 * k, 2 * k + 1] for k in range(301)]}, labels=names)
  with caplog.at_level('WARNING'):
    done = derive.derive(_config(action_weight=0.5), data)
  assert (done.template.num_actions, done.template.action_weight) == (0, 0.0)
  assert '301 labels, more than the 300' in caplog.text


@pytest.mark.parametrize(
  ('count', 'derived'),
  [(399, (4.7, 4.0, 0.8, 0.7, 9.0)), (400, (2.0, 1.3, 0.4, 1.0, 3.0))],
)
def test_few_instances_get_more_candidates_less_sure(count, derived):
  names = (
    'per_snippet', 'different_per_snippet', 'mend_per_snippet', 'temper',
    'honest_weight',
  )  # fmt: skip

  def settings(config):
    return tuple(config.template[name] for name in names)

  data = _lasting(*[1.0] * count)
  assert settings(derive.derive(_config(), data)) == derived
  # What is stated stays, and what is derived is not derived again.
  own = dict(zip(names, (3.0, 1.0, 0.3, 0.9, 2.0)))
  stated = derive.derive(_config(**own), data)
  for found in (stated, derive.derive(stated, data)):
    assert settings(found) == tuple(own.values())


@pytest.mark.parametrize(
  ('count', 'short', 'derived'),
  [
    (400, 40, (1.5, 1.5)), (400, 39, (1.0, 1.0)),
    (399, 40, (1.5, 1.0)), (399, 39, (1.0, 1.0)),
  ],
)  # fmt: skip
def test_snippets_are_slow_where_a_tenth_is_short(count, short, derived):
  # 7 and 20 snippets: there are ten a second.
  data = _lasting(*[0.7] * short, *[2.0] * (count - short))
  found = derive.derive(_config(), data).template
  assert (found.slow_stages, found.slow_features) == derived
  own = {'slow_stages': 1.2, 'slow_features': 1.0}
  found = derive.derive(_config(**own), data).template
  assert (found.slow_stages, found.slow_features) == (1.2, 1.0)
  own = {'slow_stages': 1.2}
  found = derive.derive(_config(**own), data).template
  assert found.slow_features == (1.0 if count < 400 else 1.2)


@pytest.mark.parametrize('count', [399, 400])
def test_of_a_total_that_is_stated_as_many_differ_as_of_a_derived_one(count):
  data = _lasting(*[1.0] * count)
  derived = derive.derive(_config(), data).template
  stated = derive.derive(_config(per_snippet=3.0), data).template
  assert stated.per_snippet == 3.0
  assert stated.different_per_snippet / 3.0 == pytest.approx(
    derived.different_per_snippet / derived.per_snippet, abs=1e-4
  )
  # None is a number too.
  none = {'different_per_snippet': 0.0, 'mend_per_snippet': 0.0}
  stated = derive.derive(_config(**none), data).template
  assert not stated.different_per_snippet and not stated.mend_per_snippet


@pytest.mark.parametrize(
  ('section', 'changes', 'derived'),
  [
    # Nobody is taught; one member alone; members that know the videos already.
    ('template', {'student_steps': 0}, (False, 1.0, 0)),
    ('template', {'members': 1}, (False, 1.0, 15)),
    ('train', {'init_from': 'runs/mine'}, (False, 1.0, 15)),
    ('template', {'cross_fit': False}, (False, 1.0, 15)),
    ('template', {}, (True, 9.0, 15)),
  ],
)
def test_members_leave_something_out_where_a_student_is_to_gain_by_it(
  section, changes, derived, caplog
):
  config = _config()
  config[section].update(changes)
  with caplog.at_level(logging.INFO):
    done = derive.derive(config, _lasting(*[1.0] * 10)).template
  assert (done.cross_fit, done.honest_weight, done.student_epochs) == derived
  assert ('init_from' in caplog.text) == (section == 'train')
