"""launch.compare as a user calls it."""

import json
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _call(*words):
  return subprocess.run(
    [sys.executable, '-m', 'launch.compare', '--quiet', *words], cwd=_ROOT,
    capture_output=True, text=True, timeout=600,
  )  # fmt: skip


@pytest.mark.parametrize(
  ('flags', 'said'),
  [
    (('--chains=bmn,bmn',), 'names one of them twice'),
    (('--chains=bmn,nms',), "no settings for the chain 'nms'"),
    (('--ans=ten',), 'whole numbers from 1 on'),
    (('--config.nms.method=none',), 'near copies'),
  ],
)
def test_a_wrong_call_ends_with_2_before_anything_is_trained(
  flags, said, tmp_path
):
  done = _call(
    '--config=configs/custom.py:smoke', f'--workdir={tmp_path}', *flags
  )
  assert done.returncode == 2 and said in done.stderr.splitlines()[-1]
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_failed_chain_loses_nothing_of_the_others(tmp_path):
  (tmp_path / 'bmn').write_text('a file where its folder would be')
  flags = (
    '--config=configs/custom.py:tag,smoke', f'--workdir={tmp_path}',
    '--chains=bmn,tag', '--ans=5,10', '--config.train.stages_epochs=1',
  )  # fmt: skip
  done = _call(*flags)
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].startswith(
    'error: 1 of 2 chains failed: bmn: '
  )
  table = (tmp_path / 'compare.md').read_text()
  assert table in done.stdout and '| tag |' in table and '| bmn |' not in table
  (row,) = json.loads((tmp_path / 'compare.json').read_text())
  assert row['chain'] == 'tag' and set(row['ar_at_an']) == {'5', '10'}
  # Mended, the same command goes on: the finished chain is not trained again.
  (tmp_path / 'bmn').unlink()
  done = _call(*flags, '--config.bmn.steps=3')
  assert done.returncode == 0, done.stderr[-2000:]
  rows = json.loads((tmp_path / 'compare.json').read_text())
  assert [one['chain'] for one in rows] == ['bmn', 'tag']
  assert rows[1]['train_cpu_sec'] == row['train_cpu_sec']
