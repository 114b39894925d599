"""The simulated annotator, by hand."""

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.files import proposal_files
from cmsn_jax.review import inputs, output, session
from launch.benchmarks import correcting


def _proposals(*rows):
  rows = np.array(rows)
  return proposal_files.Proposals(rows[:, :2], rows[:, 2])


@pytest.fixture
def truth():
  segments = np.array(
    [[10.0, 14.0], [15.0, 18.0], [17.5, 25.0], [40.0, 44.0], [60.0, 62.0]]
  )
  labels = ('a', 'b', 'a', 'b', 'a')
  return {'r': activitynet.Video('r', 'training', 100.0, segments, labels)}


def _opened(tmp_path, *rows):
  found = inputs.gather({'r': _proposals(*rows)})
  return session.Session(found, tmp_path / 'c.json')


def test_a_segment_becomes_the_instance_it_fits_best(tmp_path, truth):
  opened = _opened(tmp_path, [9.0, 16.0, 0.8], [30.0, 100.0, 0.1])
  # Half a length on either side is looked at, [8, 16]: the second one shows,
  # and of what it covers the third.
  assert correcting.correct(opened, 'r', 'p0', truth) == (True, 2)
  assert [item[:3] for item in output.kept(opened.recordings['r'])] == [
    (10.0, 14.0, 'a'), (15.0, 18.0, 'b'), (17.5, 25.0, 'a'),
  ]  # fmt: skip
  entry = opened.document()['database']['r']
  assert entry['ignore'] == [[0.0, 8.0], [25.0, 100.0]]
  opened.close()


def test_nothing_there_is_rejected(tmp_path, truth):
  opened = _opened(tmp_path, [50.0, 56.0, 0.8], [10.0, 100.0, 0.1])
  assert correcting.correct(opened, 'r', 'p0', truth) == (False, 0)
  assert opened.recordings['r'].items['p0'].status == 'rejected'
  entry = opened.document()['database']['r']
  assert entry['annotations'] == []
  assert entry['ignore'] == [[0.0, 47.0], [59.0, 100.0]]
  opened.close()


def test_what_is_annotated_already_is_not_annotated_twice(tmp_path, truth):
  opened = _opened(tmp_path, [40.0, 43.0, 0.8], [39.0, 44.0, 0.5], [0, 99, 0.1])
  assert correcting.correct(opened, 'r', 'p0', truth) == (True, 0)
  assert correcting.correct(opened, 'r', 'p1', truth) == (False, 0)
  assert len(output.kept(opened.recordings['r'])) == 1
  opened.close()


def test_random_ones_are_open_proposals(tmp_path):
  opened = _opened(tmp_path, [1, 2, 0.8], [3, 4, 0.5], [5, 6, 0.4])
  opened.act(
    'w', {'recording': 'r', 'action': 'reject', 'item': 'p1', 'by': ''}
  )
  choose = correcting._any_of(np.random.default_rng(0))
  assert {choose(opened) for _ in range(40)} == {('r', 'p0'), ('r', 'p2')}
  opened.close()
