import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.files import json_files, proposal_files


@pytest.mark.parametrize(
  ('value', 'expected'),
  [
    ({}, 'an empty object'),
    ([], 'an empty list'),
    ({'a': 1}, "an object with 'a'"),
    ([1, 2], '[1, 2]'),
    ([[1]], 'a list of 1 entry'),
    ([0] * 5, 'a list of 5 entries'),
  ],
)
def test_shown(value, expected):
  assert json_files.shown(value) == expected


def test_problems_found():
  assert json_files.problems_found(1) == '1 problem found'
  assert json_files.problems_found(2) == '2 problems found'


def test_csv_is_called_so(tmp_path):
  table = tmp_path / 'table.csv'
  table.write_text('video,start,end,label\na,1,2,x\n')
  with pytest.raises(ValueError, match='looks like CSV.*convert_annotations'):
    activitynet.read(table)
  with pytest.raises(ValueError, match='looks like CSV.*launch.propose wrote'):
    proposal_files.read(table)
  table.write_text('{"a", 1}')
  with pytest.raises(ValueError, match='not valid JSON, line 1'):
    activitynet.read(table)
