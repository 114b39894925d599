"""Stage labels: hand-computed, a slow reference, properties, real data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax import stage_names
from cmsn_jax.stages import targets


def _slow_label(time, instances):
  """The definition, read out loud for one moment."""
  inside = [(s, e) for s, e in instances if s <= time < e]
  if inside:
    s, e = min(inside, key=lambda i: (i[1] - i[0], -i[0]))
    third = (e - s) / 3
    if time < s + third:
      return stage_names.START
    return stage_names.CONFIRM if time < e - third else stage_names.END
  ready = [
    s - time for s, e in instances if e > s and s - (e - s) / 2 <= time < s
  ]
  follow = [
    time - e for s, e in instances if e > s and e <= time < e + (e - s) / 2
  ]
  if not ready and not follow:
    return stage_names.BACKGROUND
  near_ready = min(ready, default=np.inf)
  near_follow = min(follow, default=np.inf)
  return stage_names.READY if near_ready <= near_follow else stage_names.FOLLOW


def _slow(instances, num_snippets, fps):
  return [_slow_label((i + 0.5) / fps, instances) for i in range(num_snippets)]


def _array(instances):
  return np.array(instances, np.float64).reshape(-1, 2)


def test_one_instance_by_hand():
  # d = 6: Ready [3, 6), Start [6, 8), Confirm [8, 10), End [10, 12),
  # Follow [12, 15), one snippet a second.
  labels = targets.stage_labels(_array([[6, 12]]), 17, 1)
  assert labels.tolist() == [0] * 3 + [1] * 3 + [2, 2, 3, 3, 4, 4] + [5] * 3 + [
    0,
    0,
  ]
  assert labels.dtype == np.int32


def test_names_match_constants():
  assert stage_names.NAMES[stage_names.BACKGROUND] == 'Background'
  assert stage_names.NAMES[stage_names.CONFIRM] == 'Confirm'
  assert stage_names.NAMES[stage_names.FOLLOW] == 'Follow'


def test_context_of_two_instances_meets_at_the_nearer_boundary():
  # Follow of [0, 8) would reach 12, Ready of [12, 20) begins at 8: they meet
  # half way, at 10, where the snippets' centres are 9.5 and 10.5.
  labels = targets.stage_labels(_array([[0, 8], [12, 20]]), 20, 1)
  assert labels[8:12].tolist() == [5, 5, 1, 1]


def test_context_tie_is_ready():
  # The centre 4.5 is .5 from the end of one and from the start of the other.
  labels = targets.stage_labels(_array([[0, 4], [5, 9]]), 9, 1)
  assert labels[4] == stage_names.READY


def test_inside_beats_context_and_shorter_beats_longer():
  labels = targets.stage_labels(_array([[0, 12], [3, 6]]), 12, 1)
  assert labels.tolist() == [2, 2, 2, 2, 3, 4, 3, 3, 4, 4, 4, 4]
  touching = targets.stage_labels(_array([[0, 3], [3, 6]]), 6, 1)
  assert touching.tolist() == [2, 3, 4, 2, 3, 4]


def test_majority_rule():
  # Two samples a snippet, at .25 and .75. [1, 4): Ready [-.5, 1), Start
  # [1, 2), Confirm [2, 3), End [3, 4), Follow [4, 5.5).
  by_second = targets.stage_labels(
    _array([[1, 4]]), 6, 1, rule='majority', samples_per_snippet=2
  )
  assert by_second.tolist() == [1, 2, 3, 4, 5, 0]  # 5: a tie, the lower wins
  # [.5, 1.7): Start [.5, .9), Confirm [.9, 1.3), End [1.3, 1.7). With ten
  # samples snippet 0 is five Ready, four Start, one Confirm; its centre Start.
  instances = _array([[0.5, 1.7]])
  majority = targets.stage_labels(
    instances, 2, 1, rule='majority', samples_per_snippet=10
  )
  assert majority.tolist() == [stage_names.READY, stage_names.END]
  centre = targets.stage_labels(instances, 2, 1)
  assert centre.tolist() == [stage_names.START, stage_names.END]


@pytest.mark.parametrize(
  'instances, expected',
  [
    ([], [0, 0, 0]),
    ([[1.0, 1.0]], [0, 0, 0]),
    ([[-30.0, 60.0]], [3, 3, 3]),
    ([[100.0, 101.0]], [0, 0, 0]),
    ([[0.9, 1.1]], [0, 0, 0]),  # too short for any centre
  ],
)
def test_edges(instances, expected):
  assert targets.stage_labels(_array(instances), 3, 1).tolist() == expected


def test_no_snippets():
  assert targets.stage_labels(_array([[0, 1]]), 0, 5.0).shape == (0,)
  majority = targets.stage_labels(_array([[0, 1]]), 0, 5.0, rule='majority')
  assert majority.shape == (0,)


def test_errors_name_the_argument():
  good = _array([[0, 1]])
  with pytest.raises(ValueError, match="rule must be one of .* got 'mean'"):
    targets.stage_labels(good, 3, 1, rule='mean')
  with pytest.raises(ValueError, match='feature_fps must be a positive'):
    targets.stage_labels(good, 3, 0)
  with pytest.raises(ValueError, match='start <= end, got .* in row 1'):
    targets.stage_labels(_array([[0, 1], [3, 2]]), 3, 1)
  with pytest.raises(ValueError, match='num_snippets must be >= 0'):
    targets.stage_labels(good, -1, 1)
  with pytest.raises(ValueError, match='samples_per_snippet must be >= 1'):
    targets.stage_labels(good, 3, 1, rule='majority', samples_per_snippet=0)


# Multiples of 3/8 keep thirds and halves exact, so ties do happen.
_instances = st.lists(
  st.tuples(st.integers(-8, 60), st.integers(0, 30)).map(
    lambda p: (p[0] * 0.375, (p[0] + p[1]) * 0.375)
  ),
  max_size=8,
)


@settings(max_examples=200)
@given(_instances, st.sampled_from([1.0, 2.0, 3.125]))
def test_equals_the_slow_reference(instances, fps):
  fast = targets.stage_labels(_array(instances), 40, fps)
  assert fast.tolist() == _slow(instances, 40, fps)


@settings(max_examples=50)
@given(_instances, st.randoms())
def test_order_and_repetition_change_nothing(instances, random):
  shuffled = instances + instances[:2]
  random.shuffle(shuffled)
  np.testing.assert_array_equal(
    targets.stage_labels(_array(instances), 40, 2.0),
    targets.stage_labels(_array(shuffled), 40, 2.0),
  )


@settings(max_examples=50)
@given(_instances)
def test_majority_of_one_sample_is_centre(instances):
  np.testing.assert_array_equal(
    targets.stage_labels(_array(instances), 40, 2.0),
    targets.stage_labels(
      _array(instances), 40, 2.0, rule='majority', samples_per_snippet=1
    ),
  )


def test_input_is_not_changed():
  instances = _array([[3, 6], [0, 12]])
  before = instances.copy()
  targets.stage_labels(instances, 12, 1)
  np.testing.assert_array_equal(instances, before)


def test_actions_by_hand():
  # The shorter of two that overlap counts; centres decide; parts may be outside.
  instances = np.array([[-3.0, 1.6], [2.4, 8.0], [4.0, 6.5]])
  labels = targets.action_labels(instances, np.array([3, 1, 2]), 10)
  assert labels.tolist() == [3, 3, 1, 1, 2, 2, 1, 1, 0, 0]
  none = targets.action_labels(np.zeros((0, 2)), np.zeros(0, int), 3)
  assert none.tolist() == [0, 0, 0]
