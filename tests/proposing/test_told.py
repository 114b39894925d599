"""What a stream tells of one look after another."""

import numpy as np
import pytest

from cmsn_jax.files import proposal_files
from cmsn_jax.proposing import told as told_lib


def _proposals(*rows):
  rows = np.array(rows, np.float64).reshape(-1, 3)
  return proposal_files.Proposals(rows[:, :2], rows[:, 2])


def _told(told, line, *rows):
  found = told.fresh(_proposals(*rows), line)
  return [tuple(row) for row in np.c_[found.segments, found.scores].tolist()]


def test_one_whose_end_moves_over_the_line_is_told_once():
  told = told_lib.Told(back_sec=0.5, reach_sec=20.0)
  # Just behind the line in the first look, just before it in the second.
  assert _told(told, 10.0, (6.0, 10.1, 0.8)) == []
  assert _told(told, 11.0, (6.0, 9.9, 0.8)) == [(6.0, 9.9, 0.8)]
  # Told, it may move again, and even be a little better.
  assert _told(told, 12.0, (6.0, 11.1, 0.8), (6.0, 10.8, 0.82)) == []
  # Further back than what is looked at nobody is told, told before or not.
  assert _told(told, 13.0, (2.0, 11.4, 0.9)) == []


def test_a_poor_one_nearby_does_not_stand_for_the_good_one():
  told = told_lib.Told(back_sec=0.5, reach_sec=20.0)
  assert _told(told, 10.0, (6.0, 9.9, 0.05)) == [(6.0, 9.9, 0.05)]
  # The two overlap by .975; half of .05 is all that the first can take away.
  assert _told(told, 11.0, (6.0, 10.0, 0.8)) == [(6.0, 10.0, 0.8)]
  # And the other way about, the good one covers the poor one.
  assert _told(told, 12.0, (6.0, 10.6, 0.05), (11.0, 11.5, 0.01)) == [
    (11.0, 11.5, 0.01)
  ]


def test_what_cannot_overlap_what_comes_is_forgotten():
  told = told_lib.Told(back_sec=0.5, reach_sec=5.0)
  for second in range(1, 100):
    _told(told, float(second), (second - 0.5, second - 0.1, 0.3))
    assert len(told.recent.scores) <= 6
  assert told.line_sec == 99.0
  # The end of a recording: all that is left.
  assert len(_told(told, np.inf, (98.0, 99.5, 0.2), (99.0, 200.0, 0.1))) == 2


@pytest.mark.parametrize('told_score, adds', [(0.3, True), (0.5, False)])
def test_adds_weighs_scores_by_what_is_covered(told_score, adds):
  # A copy covers all: of .8, .3 leaves more than half, .5 does not.
  same = np.array([[1.0, 2.0]])
  found = told_lib.adds(same, np.array([0.8]), same, np.array([told_score]))
  assert found.tolist() == [adds]
  # One of no score covers, and takes, nothing.
  nothing = np.zeros(1)
  assert told_lib.adds(np.array([[2.0, 3.0]]), nothing, same, nothing).all()
  assert not told_lib.adds(same, nothing, same, nothing).any()
  apart = np.array([[2.0, 3.0]])
  assert told_lib.adds(apart, np.array([0.1]), same, np.array([0.9])).all()


def test_labels_are_told_with_their_proposals():
  told = told_lib.Told(back_sec=0.5, reach_sec=20.0)
  parts = []
  for line, score, label in ((5.0, 0.2, 'a'), (9.0, 0.8, 'b')):
    segment, half = np.array([[line - 2, line - 1]]), np.array([score / 2])
    found = proposal_files.Proposals(segment, 2 * half, (label,), half)
    parts.append(told.fresh(found, line))
  both = told_lib.joined(parts)
  assert tuple(both.labels) == ('b', 'a')
  assert both.label_scores.tolist() == [0.4, 0.1]
  assert told_lib.joined([]).labels is None
