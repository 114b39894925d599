import pytest

from launch.benchmarks import scaling


@pytest.mark.slow
def test_rows():
  rows = scaling.run_scaling(quick=True)
  steps, checkpoint = [r for r in rows if 'examples' in r], rows[1]
  assert [row['examples'] for row in steps] == [8, 16]
  assert 'stage step, 1 devices, 8 windows' == steps[0]['work']
  assert '1.00 times that on 1 device' in steps[0]['note']
  assert all('gradients' in row['note'] for row in steps)
  assert checkpoint['work'].startswith('one checkpoint of')
  assert {row['suite'] for row in rows} == {'scaling'}
