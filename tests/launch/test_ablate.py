import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _call(*words):
  done = subprocess.run(
    [sys.executable, '-m', 'launch.ablate', *words], cwd=_ROOT,
    capture_output=True, text=True, timeout=300,
  )  # fmt: skip
  return done.returncode, done.stderr.strip().splitlines()[-1:]


@pytest.mark.parametrize(
  ('table', 'config', 'chain'),
  [('4', 'custom', 'paper'), ('plus', 'rat_social', 'template')],
)
def test_a_table_of_another_chain_is_refused(tmp_path, table, config, chain):
  # Both rows were once the same run, under the names of the other chain.
  status, (last,) = _call(
    f'--table={table}', f'--config=configs/{config}.py:smoke',
    f'--workdir={tmp_path}',
  )  # fmt: skip
  assert status == 2 and f'--table={table} is of the chain {chain!r}' in last
  assert not list(tmp_path.iterdir())


def test_a_table_that_is_not_there_is_refused(tmp_path):
  status, (last,) = _call(
    '--table=9', '--config=configs/custom.py:smoke', f'--workdir={tmp_path}'
  )
  assert status == 2 and "'plus'], got '9'" in last


@pytest.mark.parametrize(
  ('word', 'part'),
  [
    ('--protocol=map', 'should be one of'),
    ('--ans=ten', '--ans=ten must be whole numbers'),
    ('--ans=0', '--ans=0 must be whole numbers'),
  ],
)
@pytest.mark.parametrize(
  'words', [('launch.ablate', '--table=plus'), ('launch.compare',)]
)
def test_what_is_wrong_is_said_before_any_run(tmp_path, words, word, part):
  done = subprocess.run(
    [
      sys.executable, '-m', *words, '--config=configs/custom.py:smoke',
      f'--workdir={tmp_path}', word,
    ],
    cwd=_ROOT, capture_output=True, text=True, timeout=300,
  )  # fmt: skip
  assert done.returncode == 2
  assert part in done.stderr.strip().splitlines()[-1]
  assert not list(tmp_path.iterdir())


def test_rows_that_train_otherwise_have_runs_of_their_own():
  # In a process of its own: commands define flags of the same names.
  code = """
import json
from cmsn_jax.settings import ablations
from launch import ablate
for name, table in ablations.TABLES.items():
  changes = {json.dumps(row.changes, sort_keys=True) for row in table.rows}
  runs = {ablate._name(row.changes) for row in table.rows}
  assert len(runs) == len(changes), (name, sorted(runs))
  assert max(map(len, runs)) <= 80
"""
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True,
    timeout=120,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
