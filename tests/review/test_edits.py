"""What reviewers do: by hand, and as properties of any sequence of actions."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.review import edits


def _recording():
  return edits.Recording(
    {
      'p0': edits.Item(10.0, 20.0, 'rear', 0.9),
      'p1': edits.Item(30.0, 40.0, '', 0.4),
      'a0': edits.Item(50.0, 60.0, 'rear', None, 'given', 'annotation'),
    }
  )


def _act(recording, name, number=1, **more):
  return recording.act({'action': name, 'by': 'Ada', **more}, number)


def test_accepting_and_rejecting_say_who():
  recording = _recording()
  patch = _act(recording, 'accept', item='p0')
  assert patch['p0'][1] == edits.Item(
    10.0, 20.0, 'rear', 0.9, 'accepted', 'proposal', 'Ada'
  )
  _act(recording, 'reject', items=['p1', 'a0'])
  assert [recording.items[k].status for k in ('p0', 'p1', 'a0')] == [
    'accepted', 'rejected', 'rejected',
  ]  # fmt: skip


def test_reopening_gives_back_what_it_was():
  recording = _recording()
  for key in ('p0', 'a0'):
    _act(recording, 'reject', item=key)
    _act(recording, 'reopen', item=key)
  assert recording.items == _recording().items


def test_a_moved_border_and_a_name_accept():
  recording = _recording()
  _act(recording, 'change', item='p1', segment=[29, 41.5])
  assert recording.items['p1'][:2] == (29.0, 41.5)
  assert recording.items['p1'].status == 'accepted'
  _act(recording, 'label', item='p0', label='  groom ')
  assert recording.items['p0'][2] == 'groom'
  assert recording.items['p0'].status == 'accepted'


def test_split_makes_two_of_one():
  recording = _recording()
  _act(recording, 'split', 7, item='p0', at=12.5)
  assert 'p0' not in recording.items
  assert recording.items['e7'][:3] == (10.0, 12.5, 'rear')
  assert recording.items['e7b'][:3] == (12.5, 20.0, 'rear')


def test_merge_makes_one_of_several():
  recording = _recording()
  _act(recording, 'merge', 3, items=['p1', 'p0'])
  made = recording.items['e3']
  assert made == edits.Item(
    10.0, 40.0, 'rear', 0.9, 'accepted', 'person', 'Ada'
  )
  assert set(recording.items) == {'e3', 'a0'}


def test_a_new_one_has_no_score():
  recording = _recording()
  _act(recording, 'add', 5, segment=[1, 2], label='rear')
  assert recording.items['e5'].score is None
  assert recording.items['e5'].source == 'person'


def test_done_is_undone_too():
  recording = _recording()
  assert _act(recording, 'done') == {'#done': (False, True)}
  assert _act(recording, 'undo') == {'#done': (True, False)}
  assert not recording.done


def test_seen_adds_up_and_is_not_undone():
  recording = _recording()
  _act(recording, 'accept', item='p0')
  _act(recording, 'seen', segments=[[5, 8], [1, 2]])
  _act(recording, 'seen', segments=[[7, 9]])
  assert recording.seen == [(1.0, 2.0), (5.0, 9.0)]
  _act(recording, 'undo')
  assert recording.items['p0'].status == 'open'
  assert recording.seen == [(1.0, 2.0), (5.0, 9.0)]


def test_a_look_that_somebody_says_is_undone():
  recording = _recording()
  _act(recording, 'seen', segments=[[0, 1]])
  _act(recording, 'look', segments=[[5, 8]])
  _act(recording, 'look', segments=[[7, 9]])
  assert recording.marked == ((5.0, 9.0),)
  _act(recording, 'undo')
  assert recording.marked == ((5.0, 8.0),)
  _act(recording, 'undo')
  assert recording.marked == () and recording.seen == [(0.0, 1.0)]
  _act(recording, 'redo')
  assert recording.marked == ((5.0, 8.0),)


def test_all_that_are_chosen_get_the_label():
  recording = _recording()
  patch = _act(recording, 'label', items=['p0', 'p1'], label='hop')
  assert set(patch) == {'p0', 'p1'}
  assert {recording.items[key].label for key in patch} == {'hop'}


def test_a_new_action_ends_what_could_be_redone():
  recording = _recording()
  _act(recording, 'accept', item='p0')
  _act(recording, 'undo')
  assert recording.can_redo
  _act(recording, 'reject', item='p0')
  assert not recording.can_redo
  with pytest.raises(edits.ActionError, match='nothing to redo'):
    _act(recording, 'redo')


def test_what_changes_nothing_is_no_step_to_undo():
  recording = _recording()
  _act(recording, 'done', done=False)
  assert not recording.can_undo


@pytest.mark.parametrize(
  'action, message',
  [
    ({'action': 'drop'}, "unknown action 'drop'"),
    ({'action': ['accept']}, 'unknown action'),
    ({}, 'unknown action None'),
    ({'action': 'accept', 'item': 'p9'}, "no segment 'p9'"),
    ({'action': 'accept'}, 'no segment None'),
    ({'action': 'accept', 'items': 'p0'}, '"items" must be a list'),
    ({'action': 'change', 'item': 'p0', 'segment': [3, 3]}, 'no length'),
    ({'action': 'change', 'item': 'p0', 'segment': [-3, 3]}, 'from 0 on'),
    ({'action': 'change', 'item': 'p0', 'segment': 'ab'}, 'expected \\[start'),
    ({'action': 'add', 'segment': [0, float('nan')]}, 'finite'),
    ({'action': 'split', 'item': 'p0', 'at': 20.0}, 'not inside'),
    ({'action': 'split', 'item': 'p0', 'at': True}, '"at" must be a time'),
    ({'action': 'merge', 'items': ['p0', 'p0']}, 'two segments'),
    ({'action': 'label', 'item': 'p0', 'label': 7}, '"label" must be a text'),
    ({'action': 'accept', 'item': 'p0', 'by': 'x' * 81}, '"by" must be a name'),
    ({'action': 'done', 'done': 'yes'}, '"done" must be'),
    ({'action': 'seen', 'segments': []}, '"seen" needs "segments"'),
    ({'action': 'look', 'segments': 3}, '"look" needs "segments"'),
    ({'action': 'undo'}, 'nothing to undo'),
  ],
)
def test_what_cannot_be_done_changes_nothing(action, message):
  recording = _recording()
  with pytest.raises(edits.ActionError, match=message):
    recording.act(action, 1)
  assert recording == _recording()


def test_spans_by_hand():
  assert edits.union([(5, 6), (0, 1), (1, 2)]) == [(0, 2), (5, 6)]
  assert edits.union([(0, 1), (1.5, 2)], gap=0.5) == [(0, 2)]
  assert edits.complement([(1, 2), (4, 12)], 10.0) == [(0.0, 1), (2, 4)]
  assert edits.complement([], 3.0) == [(0.0, 3.0)]
  assert edits.complement([(0, 3)], 3.0) == []


_times = st.floats(0, 100)
_keys = st.sampled_from(['p0', 'p1', 'a0', 'e1', 'e2', 'e2b', 'e5'])
_actions = st.one_of(
  st.fixed_dictionaries(
    {'action': st.sampled_from(['accept', 'reject', 'reopen']), 'item': _keys}
  ),
  st.fixed_dictionaries(
    {
      'action': st.just('change'),
      'item': _keys,
      'segment': st.tuples(_times, _times),
    }
  ),
  st.fixed_dictionaries(
    {'action': st.just('label'), 'item': _keys, 'label': st.text(max_size=3)}
  ),
  st.fixed_dictionaries(
    {'action': st.just('add'), 'segment': st.tuples(_times, _times)}
  ),
  st.fixed_dictionaries(
    {'action': st.just('split'), 'item': _keys, 'at': _times}
  ),
  st.fixed_dictionaries(
    {'action': st.just('merge'), 'items': st.lists(_keys, max_size=3)}
  ),
  st.fixed_dictionaries({'action': st.just('done'), 'done': st.booleans()}),
  st.fixed_dictionaries(
    {
      'action': st.sampled_from(['seen', 'look']),
      'segments': st.lists(st.tuples(_times, _times), max_size=2),
    }
  ),
  st.fixed_dictionaries({'action': st.sampled_from(['undo', 'redo'])}),
)


def _run(actions):
  """The recording after those of the actions that can be done, and these."""
  recording, done = _recording(), []
  for action in actions:
    try:
      recording.act(action, len(done) + 1)
    except edits.ActionError:
      continue
    done.append(action)
  return recording, done


@settings(max_examples=150)
@given(st.lists(_actions, max_size=25))
def test_the_same_actions_give_the_same_recording(actions):
  recording, done = _run(actions)
  # As a journal keeps them.
  again, _ = _run(json.loads(json.dumps(done)))
  assert again == recording
  for item in recording.items.values():
    assert 0 <= item.start < item.end
    assert item.status in edits.STATUSES


@settings(max_examples=150)
@given(st.lists(_actions, max_size=25))
def test_undoing_all_gives_the_beginning_and_redoing_all_the_end(actions):
  recording, _ = _run(actions)
  end, done = dict(recording.items), recording.done
  # What was undone by the actions themselves is no part of the end.
  steps = 0
  while recording.can_undo:
    recording.act({'action': 'undo'}, 0)
    steps += 1
  assert recording.items == _recording().items and not recording.done
  assert recording.marked == ()
  for _ in range(steps):
    recording.act({'action': 'redo'}, 0)
  assert (recording.items, recording.done) == (end, done)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_union_and_complement_share_out_all_time(pairs):
  spans = [(a, b) for a, b in pairs if a < b]
  inside = edits.union(spans)
  outside = edits.complement(spans, 30.0)
  for half in range(60):
    time = half / 2 + 0.25
    covered = any(a <= time < b for a, b in spans)
    assert covered == any(a <= time < b for a, b in inside)
    assert covered != any(a <= time < b for a, b in outside)
