"""The least score with the best F1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.evaluation import operating_point


def _video(rows, instances):
  rows = np.array(rows, float).reshape(-1, 3)
  return operating_point.Video(
    rows[:, :2], rows[:, 2], np.array(instances, float).reshape(-1, 2)
  )


def test_by_hand():
  videos = [
    # Right, a second one of the same instance, right, wrong.
    _video(
      [[0, 10, 0.9], [0, 9, 0.8], [21, 30, 0.7], [60, 70, 0.2]],
      [[0, 10], [20, 30], [90, 95]],
    ),
    # An empty video: whatever is said of it is wrong.
    _video([[0, 5, 0.3]], []),
  ]
  found = operating_point.best_f1(videos)
  # 1 of 1: F1 2/4; 2 of 3: 4/6.
  assert found.kept == 3 and found.instances == 3
  assert found.precision == pytest.approx(2 / 3)
  assert found.recall == pytest.approx(2 / 3)
  assert found.f1 == pytest.approx(2 / 3)
  # Half way to the best one left out.
  assert found.min_score == pytest.approx((0.7 + 0.3) / 2)
  assert 'precision 0.667, recall 0.667' in str(found)
  assert 'at tIoU 0.5 (3 proposals, 3 instances)' in str(found)


def test_equal_scores_are_not_parted_and_all_may_be_kept():
  found = operating_point.best_f1(
    [_video([[0, 1, 0.5], [5, 6, 0.5]], [[0, 1], [5, 6]])]
  )
  assert (found.kept, found.min_score, found.f1) == (2, 0.5, 1.0)


def test_none_where_nothing_is_right():
  assert operating_point.best_f1([]) is None
  assert operating_point.best_f1([_video([], [[0, 1]])]) is None
  near = [_video([[0, 10, 0.5]], [[4, 10]])]
  assert operating_point.best_f1(near, 0.7) is None
  assert operating_point.best_f1(near, 0.6).kept == 1
  with pytest.raises(ValueError, match='tiou must be above 0'):
    operating_point.best_f1(near, 0.0)


_rows = st.lists(
  st.tuples(st.integers(0, 20), st.integers(1, 6), st.integers(0, 9)),
  max_size=12,
)
_true = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), max_size=5)


@given(st.lists(st.tuples(_rows, _true), max_size=3))
def test_no_other_cut_is_better(videos):
  made = [
    _video(
      [[s, s + d, p] for s, d, p in rows], [[s, s + d] for s, d in instances]
    )
    for rows, instances in videos
  ]
  found = operating_point.best_f1(made)
  best = max((_f1(made, least) for least in range(10)), default=0.0)
  assert (0.0 if found is None else found.f1) == pytest.approx(best)
  if found is not None:
    assert _f1(made, found.min_score) == pytest.approx(best)


def _f1(videos, least):
  """Loops: each proposal, best first, takes the instance it overlaps most."""
  right = kept = total = 0
  for video in videos:
    free = list(range(len(video.instances)))
    total += len(free)
    for k in np.argsort(-video.scores, kind='stable'):
      if video.scores[k] < least:
        continue
      kept += 1
      # Of equals the last, as the public evaluation has it.
      tious = [(_tiou(video.segments[k], video.instances[j]), j) for j in free]
      if tious and max(tious)[0] >= 0.5:
        right += 1
        free.remove(max(tious)[1])
  return 2 * right / (kept + total) if kept + total else 0.0


def _tiou(a, b):
  inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
  return inter / (a[1] - a[0] + b[1] - b[0] - inter)
