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
