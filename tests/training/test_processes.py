"""Real processes and devices: the same global batch, the same parameters."""

import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from cmsn_jax.training import run_folder

pytestmark = pytest.mark.slow
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_CONFIG = (
  '--config=configs/rat_social.py:smoke',
  '--config.data.annotations=generated:4x60',
  '--config.windows.length=32',
  '--config.windows.require_instance=False',
  '--config.stages.dropout=0.0',
  '--config.evaluator.dropout=0.0',
  '--config.train.stages_epochs=3',
  '--config.train.evaluator_epochs=3',
  '--input_pipeline=thread',
  '--quiet',
)


def _free_port():
  with socket.socket() as found:
    found.bind(('127.0.0.1', 0))
    return found.getsockname()[1]


def _start(workdir, devices, per_device, *flags):
  return subprocess.Popen(
    [
      sys.executable, '-m', 'launch.train', *_CONFIG, f'--workdir={workdir}',
      f'--simulate_devices={devices}',
      f'--config.train.batch_per_device={per_device}', *flags,
    ],
    cwd=_ROOT, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def _finish(*processes):
  try:
    ends = [(p.communicate(timeout=500)[1], p.returncode) for p in processes]
  finally:
    for process in processes:
      if process.poll() is None:
        process.kill()
        process.communicate()
  for errors, status in ends:
    assert status == 0, errors[-3000:]


def _assert_close(a, b):
  assert a.step == b.step
  assert jax.tree.structure(a.tree) == jax.tree.structure(b.tree)
  for x, y in zip(jax.tree.leaves(a.tree), jax.tree.leaves(b.tree)):
    np.testing.assert_allclose(x, y, atol=1e-5)


def test_one_device_eight_devices_and_two_processes_agree(tmp_path):
  one = tmp_path / 'one'
  _finish(_start(one, 1, 8))
  eight = tmp_path / 'eight'
  _finish(_start(eight, 8, 1))
  two = tmp_path / 'two'
  port = _free_port()
  _finish(
    *(
      _start(
        two, 4, 1, f'--coordinator=127.0.0.1:{port}', '--num_processes=2',
        f'--process_id={k}',
      )
      for k in range(2)
    )
  )  # fmt: skip
  for phase in ('stages', 'evaluator'):
    expected = run_folder.read_best(one, phase)
    for other in (eight, two):
      _assert_close(run_folder.read_best(other, phase), expected)
