"""Real processes and devices: the same global batch, the same parameters."""

import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from cmsn_jax.runs import folder

pytestmark = pytest.mark.slow
_ROOT = pathlib.Path(__file__).resolve().parents[1]
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
    cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def _finish(*processes):
  """What each printed, once all ended well."""
  try:
    ends = [(*p.communicate(timeout=500), p.returncode) for p in processes]
  finally:
    for process in processes:
      if process.poll() is None:
        process.kill()
        process.communicate()
  for _, errors, status in ends:
    assert status == 0, errors[-3000:]
  return [output for output, _, _ in ends]


def _start_two(workdir, *flags):
  port = _free_port()
  return [
    _start(
      workdir, 4, 1, f'--coordinator=127.0.0.1:{port}', '--num_processes=2',
      f'--process_id={k}', *flags,
    )
    for k in range(2)
  ]  # fmt: skip


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
  _finish(*_start_two(two))
  for phase in ('stages', 'evaluator'):
    expected = folder.read_best(one, phase)
    for other in (eight, two):
      _assert_close(folder.read_best(other, phase), expected)


def test_sigterm_to_one_process_stops_both_at_one_step(tmp_path):
  workdir = tmp_path / 'run'
  processes = _start_two(
    workdir,
    '--config.train.stages_epochs=2000',
    '--config.train.checkpoint_every_steps=5',
    '--config.train.eval_every_epochs=2000',
  )
  resume = workdir / 'stages' / 'resume'
  deadline = time.monotonic() + 400
  while not list(resume.glob('[0-9]*')) and time.monotonic() < deadline:
    time.sleep(0.1)
    if any(p.poll() is not None for p in processes):
      break
  processes[1].send_signal(signal.SIGTERM)
  outputs = _finish(*processes)
  said = [line for text in outputs for line in text.splitlines()]
  said = [line for line in said if line.startswith('stopped at step')]
  assert len(said) == 2 and said[0] == said[1]
  assert "of phase 'stages'; the same command continues there" in said[0]
  step = int(said[0].split()[3])
  assert (resume / str(step)).is_dir()


_LATE = """
import sys, time
from launch import distributed
distributed.start(4, sys.argv[1], 2, int(sys.argv[2]))
import jax, numpy as np
from cmsn_jax import processes
index = jax.process_index()
time.sleep(35 * index)
total = jax.pmap(lambda x: jax.lax.psum(x, 'a'), axis_name='a')(np.ones(4))
print('total', float(np.asarray(total.addressable_data(0)).squeeze()))
time.sleep(35 * index)
found = processes.gather({str(index): np.arange(3 + index)})
print('found', sorted((k, v.tolist()) for k, v in found.items()))
with processes.first_process_first():
  print('at', time.time())
  time.sleep(2)
processes.require_same(7, 'a number')
try:
  processes.require_same(index, 'its own number')
except RuntimeError as error:
  print('refused:', error)
"""


def test_processes_wait_for_one_that_comes_late():
  # Longer than the half minute after which an unconnected device gives up.
  port = _free_port()
  outputs = _finish(
    *(
      subprocess.Popen(
        [sys.executable, '-c', _LATE, f'127.0.0.1:{port}', str(k)],
        cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      )
      for k in range(2)
    )
  )  # fmt: skip
  at = []
  for text in outputs:
    assert 'total 8.0' in text
    assert "found [('0', [0, 1, 2]), ('1', [0, 1, 2, 3])]" in text
    assert 'disagree on its own number: process 0 has 0, process 1 has' in text
    at.append(float(text.split('at ')[1].split()[0]))
  assert at[1] - at[0] >= 2
