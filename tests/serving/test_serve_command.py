"""`launch.serve` as a process: what it says, and how it ends."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from cmsn_jax.proposing import exporting
from tests.proposing import test_exporting
from tests.serving import service_faults, serving

pytest.importorskip('uvicorn', reason='the extra serve is not installed')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('served') / 'export'
  exporting.write(test_exporting._template(), folder)
  return folder


def _videos(count):
  rng = np.random.default_rng(0)
  return [
    rng.normal(0, 2, (rng.integers(3, 200), 5)).astype(np.float32)
    for _ in range(count)
  ]


def test_it_serves_and_ends(folder):
  service = service_faults.Running(folder, '--max_features_mb=0.01')
  (rows,) = _videos(1)
  status, found, _ = serving.propose(service.port, rows)
  assert status == 200 and found['proposals']
  assert serving.propose(service.port, np.ones((999, 5)))[0] == 413
  status, said = service.end(signal.SIGTERM)
  assert status == 0
  assert 'all that was begun is done' in said and 'Traceback' not in said


def test_calls_that_cannot_be(folder, tmp_path):
  (tmp_path / 'short').write_text('abc\n')
  for flags, message in (
    ([], '--workdir is needed'),
    ([f'--workdir={folder}', '--host=0.0.0.0'], 'give --token_file'),
    ([f'--workdir={folder}', f'--token_file={tmp_path}/short'], '3 characters'),
    ([f'--workdir={folder}', '--phase=stages'], 'is an export'),
  ):
    done = subprocess.run(
      [sys.executable, '-m', 'launch.serve', *flags],
      capture_output=True, text=True, timeout=120, cwd=service_faults._ROOT,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_killed_under_load_nothing_answered_is_lost(folder):
  row = service_faults.kill_under_load(folder, _videos(12), times=2)
  assert 'equal to the byte' in row
