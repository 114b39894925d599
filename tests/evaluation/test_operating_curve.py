"""Precision, recall and confusion at a least score, by hand."""

import numpy as np
import pytest

from cmsn_jax.evaluation import operating_curve, operating_point

_REAR, _GROOM = 0, 1


def _videos():
  """Scores .9 .8 .7 .6 .5; right, wrong, right (other label), double, right."""
  first = operating_point.Video(
    np.array([[0.0, 10.0], [50.0, 60.0], [0.5, 10.0]]),
    np.array([0.9, 0.8, 0.6]),
    np.array([[0.0, 10.0], [80.0, 90.0]]),
  )
  second = operating_point.Video(
    np.array([[20.0, 30.0], [41.0, 50.0]]),
    np.array([0.7, 0.5]),
    np.array([[20.0, 30.0], [40.0, 50.0]]),
  )
  labels = [
    operating_curve.Labels(
      np.array([_REAR, _GROOM, _REAR]), np.array([_REAR, _GROOM])
    ),
    operating_curve.Labels(
      np.array([_GROOM, _GROOM]), np.array([_REAR, _GROOM])
    ),
  ]
  return [first, second], labels


def test_counts_at_each_score_by_hand():
  videos, labels = _videos()
  found = operating_curve.curve(videos, 0.5, labels)
  assert found.min_scores.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5]
  assert found.kept.tolist() == [1, 2, 3, 4, 5]
  assert found.right.tolist() == [1, 1, 2, 2, 3]
  assert found.named.tolist() == [1, 1, 1, 1, 2]
  nothing = operating_curve.NOTHING
  assert found.confusion.tolist() == [
    [0, _REAR, _REAR, 1],
    [1, nothing, _GROOM, 1],
    [2, _REAR, _GROOM, 1],
    [3, nothing, _REAR, 1],
    [4, _GROOM, _GROOM, 1],
  ]


def test_a_higher_tiou_is_met_by_fewer():
  videos, _ = _videos()
  found = operating_curve.curve(videos, 0.95)
  assert found.right.tolist() == [1, 1, 2, 2, 2]
  assert not found.named.any() and not len(found.confusion)


def test_where_nobody_looked_wrong_ones_do_not_count():
  videos, labels = _videos()
  counted = [np.array([False, False, False]), np.array([True, True])]
  found = operating_curve.curve(videos, 0.5, labels, counted)
  # The wrong one at .8, and the double at .6; the right one at .9 stays.
  assert found.kept.tolist() == [1, 1, 2, 2, 3]
  assert found.right.tolist() == [1, 1, 2, 2, 3]
  assert operating_curve.NOTHING not in found.confusion[:, 1]


def test_the_best_f1_is_on_the_curve():
  videos, _ = _videos()
  best = operating_point.best_f1(videos, 0.5)
  found = operating_curve.curve(videos, 0.5)
  f1 = 2 * found.right / (found.kept + 4)
  assert best.f1 == pytest.approx(f1.max())
  assert best.kept == found.kept[f1.argmax()]


def test_few_steps_keep_whole_groups_of_equal_scores_and_the_end():
  rng = np.random.default_rng(0)
  starts = rng.uniform(0, 1000, 3000)
  scores = rng.integers(1, 900, 3000) / 1000.0
  video = operating_point.Video(
    np.stack([starts, starts + 3], axis=1), scores, np.array([[3.0, 6.0]])
  )
  labels = operating_curve.Labels(rng.integers(0, 2, 3000), np.array([1]))
  found = operating_curve.curve([video], 0.5, [labels], steps=50)
  assert 20 < len(found.kept) <= 51
  assert found.kept[-1] == 3000
  for score, kept in zip(found.min_scores, found.kept):
    assert kept == (scores >= score).sum()
  # All that is kept is in the confusion, once.
  assert found.confusion[:, 3].sum() == 3000


@pytest.mark.parametrize('tiou', [0, -1, 1.5])
def test_a_tiou_that_cannot_be(tiou):
  with pytest.raises(ValueError, match='tiou must be above 0'):
    operating_curve.curve([], tiou)


def test_no_proposals_at_all():
  empty = operating_point.Video(
    np.zeros((0, 2)), np.zeros(0), np.array([[0.0, 1.0]])
  )
  found = operating_curve.curve([empty], 0.5)
  assert not len(found.kept)
