import json
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_ROWS = """video,start,end,label,subset,duration,annotator
v,1.0,5.0,dig,training,60,AB
v,1.2,5.2,dig,training,60,CD
v,20.0,24.0,rear,training,60,AB
v,20.0,24.0,rear,training,60,CD
v,40.0,41.0,rear,training,60,CD
"""


def _call(module, *words, status=0):
  done = subprocess.run(
    [sys.executable, '-m', f'launch.{module}', *words], cwd=_ROOT,
    capture_output=True, text=True, timeout=300,
  )  # fmt: skip
  assert done.returncode == status, (done.stdout + done.stderr)[-2000:]
  return done


def test_a_table_of_two_raters_is_compared_and_merged(tmp_path):
  table = tmp_path / 'labels.csv'
  table.write_text(_ROWS)
  done = _call(
    'compare_raters', f'--source={table}', '--column=annotator',
    f'--output={tmp_path}/agreed.json', f'--agreement={tmp_path}/a.json',
  )  # fmt: skip
  assert 'AB has 2 instances, CD 3' in done.stdout
  assert '2 pairs are one event' in done.stdout
  merged = json.loads((tmp_path / 'agreed.json').read_text())
  segments = [a['segment'] for a in merged['database']['v']['annotations']]
  assert segments == [[1.1, 5.1], [20.0, 24.0]]
  figures = json.loads((tmp_path / 'a.json').read_text())
  # tIoU 3.8 / 4.2 reaches nine of the ten thresholds, 1 all of them.
  assert figures['ceiling']['CD against AB']['50'] == pytest.approx(0.95)
  assert figures['ceiling']['AB against CD']['50'] == pytest.approx(1.9 / 3)


def test_three_raters_are_to_be_chosen_from(tmp_path):
  table = tmp_path / 'labels.csv'
  table.write_text(_ROWS + 'v,50.0,52.0,dig,training,60,EF\n')
  done = _call(
    'compare_raters', f'--source={table}', '--column=annotator', status=2
  )
  assert 'has 3 annotators (AB, CD, EF)' in done.stderr
  done = _call(
    'compare_raters', f'--source={table}', '--column=annotator',
    '--raters=AB,EF',
  )  # fmt: skip
  assert '0 pairs' in done.stdout


def test_numbers_that_are_none_are_named(tmp_path):
  table = tmp_path / 'labels.csv'
  table.write_text(_ROWS)
  for word in ('--ans=ten', '--ans=0'):
    done = _call(
      'compare_raters', f'--source={table}', '--column=annotator', word,
      status=2,
    )  # fmt: skip
    assert f'{word} must be whole numbers from 1 on' in done.stderr


def test_the_shared_case(real_data):
  cases = real_data('../cases/two_annotators/labels.csv')
  done = _call('compare_raters', f'--source={cases}', '--column=annotator')
  assert 'AR@50 0.781' in done.stdout
