"""What to look at next, by hand."""

import numpy as np
import pytest

from cmsn_jax.files import proposal_files
from cmsn_jax.review import edits, inputs, ranking

Item = edits.Item


def _keys(found):
  return [ranked.key for ranked in found]


def test_the_unsure_come_first():
  items = {
    'p0': Item(0.0, 5.0, '', 0.98),
    'p1': Item(10.0, 15.0, '', 0.52),
    'p2': Item(20.0, 25.0, '', 0.1),
  }
  found = ranking.rank(items, [], 60.0)
  assert _keys(found) == ['p1', 'p2', 'p0']
  # (1 - .52) / .5, .1 / .5, (1 - .98) / .5
  np.testing.assert_allclose([r.gain for r in found], [0.96, 0.2, 0.04])
  assert {r.reason for r in found} == {ranking.UNSURE}
  # With another threshold others are near it.
  assert _keys(ranking.rank(items, [], 60.0, threshold=0.1))[0] == 'p2'


def test_members_that_disagree_come_before():
  items = {'p0': Item(0.0, 5.0, '', 0.5), 'p1': Item(10.0, 15.0, '', 0.3)}
  found = ranking.rank(items, [], 60.0, disagreement={'p1': 0.9})
  assert _keys(found) == ['p1', 'p0']
  assert found[0].reason == ranking.APART
  assert found[0].gain == pytest.approx(0.3 / 0.5 + 0.9)


def test_where_all_is_annotated_high_scores_were_missed():
  items = {
    'p0': Item(0.0, 5.0, '', 0.9),  # annotated
    'p1': Item(20.0, 25.0, '', 0.8),
    'p2': Item(40.0, 45.0, '', 0.5),
    'a0': Item(0.5, 5.0, 'rear', None, 'given', 'annotation'),
  }
  found = ranking.rank(items, [(0.0, 60.0)], 60.0)
  assert [(r.key, r.reason) for r in found] == [
    ('p1', ranking.MISSED), ('p2', ranking.MISSED),
  ]  # fmt: skip
  assert found[0].gain == pytest.approx(0.8)


def test_an_annotation_that_nothing_comes_near_is_strange():
  items = {
    'p0': Item(0.0, 5.0, '', 0.9),
    'a0': Item(0.0, 5.0, 'rear', None, 'given', 'annotation'),
    'a1': Item(30.0, 34.0, 'rear', None, 'given', 'annotation'),
    'a2': Item(2.0, 12.0, 'rear', None, 'given', 'annotation'),
  }
  found = ranking.rank(items, [(0.0, 60.0)], 60.0)
  assert [(r.key, r.reason) for r in found] == [
    ('a1', ranking.STRANGE), ('a2', ranking.STRANGE),
  ]  # fmt: skip
  # 3 s of the 12 that both cover.
  assert found[1].gain == pytest.approx(1 - 3 / 12)
  # Without any proposal in the recording that says nothing.
  del items['p0']
  assert ranking.rank(items, [(0.0, 60.0)], 60.0) == []


def test_one_look_at_a_place_is_enough():
  items = {
    'p0': Item(10.0, 20.0, '', 0.5),
    'p1': Item(11.0, 21.0, '', 0.49),
    'p2': Item(40.0, 50.0, '', 0.3),
  }
  found = ranking.rank(items, [], 60.0)
  assert _keys(found) == ['p0', 'p2', 'p1']
  # What was looked at before has nothing to tell either: .3 of it is new.
  found = ranking.rank({'p0': items['p0']}, [(13.0, 20.0)], 60.0)
  assert found[0].reason == ranking.MISSED
  found = ranking.rank({'p0': items['p0']}, [(16.0, 20.0)], 60.0)
  assert found[0].gain == pytest.approx(0.6, abs=0.02)


def test_what_is_decided_or_done_is_not_ranked():
  items = {
    'p0': Item(0.0, 5.0, '', 0.5, 'rejected'),
    'e1': Item(10.0, 15.0, '', None, 'accepted', 'person'),
    'p1': Item(30.0, 35.0, '', 0.5),
  }
  assert _keys(ranking.rank(items, [], 60.0)) == ['p1']
  assert ranking.rank(items, [], 60.0, done=True) == []
  assert ranking.rank({}, [], 60.0) == []


def test_scores_of_any_scale_are_ranked():
  np.testing.assert_allclose(
    ranking.probabilities([12.0, -3.0, 4.0]), [2.5 / 3, 0.5 / 3, 1.5 / 3]
  )
  np.testing.assert_array_equal(ranking.probabilities([0.0, 1.0]), [0.0, 1.0])
  assert ranking.probabilities([]).shape == (0,)


@pytest.mark.parametrize('threshold', [0.0, 1.0, -1.0])
def test_a_threshold_outside_is_an_error(threshold):
  with pytest.raises(ValueError, match='threshold must be within'):
    ranking.rank({}, [], 60.0, threshold=threshold)


def test_disagreement_by_hand():
  proposals = {
    'a': proposal_files.Proposals(
      np.array([[0.0, 10.0], [20.0, 30.0]]), np.array([0.8, 0.6])
    )
  }
  member = {
    'a': proposal_files.Proposals(
      np.array([[0.0, 10.0], [25.0, 30.0]]), np.array([0.8, 0.4])
    )
  }
  found = inputs.gather(proposals, members=(member,)).sources['a']
  # The second fits half: .6 against .2, twice the deviation of .2.
  assert found.disagreement == pytest.approx({'p0': 0.0, 'p1': 0.4})
  none = inputs.gather(proposals, members=({},)).sources['a']
  assert none.disagreement == pytest.approx({'p0': 0.8, 'p1': 0.6})


def test_many_proposals_are_ranked_at_once():
  rng = np.random.default_rng(0)
  starts = rng.uniform(0, 35_000, 36_000)
  items = {
    f'p{k}': Item(s, s + 4.0, '', score)
    for k, (s, score) in enumerate(zip(starts, rng.uniform(size=36_000)))
  }
  found = ranking.rank(items, [], 36_000.0)
  assert len(found) == 36_000
  gains = [r.gain for r in found[:500]]
  assert gains == sorted(gains, reverse=True) and gains[0] > 0.99
  seen = np.zeros(360_000, bool)
  for ranked in found[:500]:
    item = items[ranked.key]
    cells = seen[int(item.start * 10) : int(item.end * 10)]
    assert cells.mean() <= 0.55
    cells[:] = True
