"""Recall within reach after each step, by hand."""

import numpy as np
import pytest

from cmsn_jax.evaluation import step_recall

# Two videos, three instances.
_TRUE = {
  'a': np.array([[0.0, 10.0], [20.0, 30.0]]),
  'b': np.array([[0.0, 4.0]]),
}


def _steps():
  return step_recall.StepRecall(_TRUE)


def test_each_step_by_hand():
  steps = _steps()
  # tIoU .8 with the first, 0 with the second; in two pieces 1 with it.
  steps.note('a', 'candidates', np.array([[0.0, 8.0], [40.0, 50.0]]))
  steps.note('a', 'candidates', np.array([[20.0, 30.0]]))
  steps.note('b', 'candidates', np.array([[0.0, 3.0]]))  # .75
  steps.note('a', 'scored', np.array([[0.0, 8.0]]))
  found = steps.steps()
  assert [step.name for step in found] == ['candidates', 'scored']
  # .5 ... .75: all three; .8: two; above: the exact one.
  expected = np.array([3] * 6 + [2] + [1] * 3) / 3
  np.testing.assert_allclose(found[0].recall, expected)
  assert found[0].average == pytest.approx(23 / 30)
  assert found[0].per_video == 2.0
  # Then only the first is left, up to .8; nothing of b.
  np.testing.assert_allclose(found[1].recall, np.array([1] * 7 + [0] * 3) / 3)
  assert [step.lost_by for step in found] == ['', 'scores']
  rows = step_recall.to_json(found)['steps']
  assert rows[0]['lost'] is None
  assert rows[1]['lost'] == pytest.approx((23 - 7) / 30)


def test_ranked_proposals_are_cut():
  steps = _steps()
  spans = np.array([[50.0, 60.0], [0.0, 10.0], [20.0, 30.0]])
  steps.note_ranked('a', spans, tops=(1, 2))
  steps.note_ranked('b', np.zeros((0, 2)), tops=(1, 2))
  found = {step.name: step for step in steps.steps()}
  assert list(found) == ['kept', 'top_2', 'top_1']
  assert [step.average for step in found.values()] == pytest.approx(
    [2 / 3, 1 / 3, 0]
  )
  assert found['top_1'].lost_by == 'order'


def test_the_order_is_that_of_the_flow_and_what_is_lost_by_whom():
  steps = _steps()
  for name in ('kept', 'candidates', 'durations', 'scored', 'perfect_stages'):
    steps.note('a', name, _TRUE['a'])
  assert [(step.name, step.lost_by) for step in steps.steps()] == [
    ('durations', ''), ('perfect_stages', 'candidates'),
    ('candidates', 'stages'), ('scored', 'scores'), ('kept', 'NMS'),
  ]  # fmt: skip


def test_parts_join_to_the_whole():
  parts = [step_recall.StepRecall({k: v}) for k, v in _TRUE.items()]
  whole, joined = _steps(), _steps()
  for part, (video_id, spans) in zip(parts, _TRUE.items()):
    for one in (part, whole):
      one.note(video_id, 'candidates', spans[:1])
      one.note(video_id, 'kept', spans + 0.5)
    joined.join(part)
  assert joined.steps() == whole.steps()


def test_other_videos_are_not_counted_and_there_must_be_an_instance():
  steps = _steps()
  steps.note('c', 'kept', np.array([[0.0, 1.0]]))
  assert steps.steps() == []
  with pytest.raises(ValueError, match='has no segments'):
    step_recall.StepRecall({'a': np.zeros((0, 2))}).steps()


def test_the_table_has_a_line_a_step():
  steps = _steps()
  steps.note('a', 'candidates', _TRUE['a'])
  steps.note('b', 'candidates', _TRUE['b'])
  steps.note('a', 'kept', _TRUE['a'])
  lines = step_recall.table(steps.steps()).splitlines()
  assert lines[1].split() == [
    'candidates',
    '2',
    '1.000',
    '1.000',
    '1.000',
    '1.000',
  ]
  assert lines[2].split()[-3:] == ['0.667', '-0.333', 'NMS']
