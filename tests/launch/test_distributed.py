"""Which environments make several processes, and that they find each other."""

import pathlib
import subprocess
import sys

import jax
import pytest

from cmsn_jax.training import parallel
from launch import distributed

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SLURM = {
  'SLURM_JOB_ID': '1234',
  'SLURM_NTASKS': '2',
  'SLURM_PROCID': '0',
  'SLURM_LOCALID': '0',
  'SLURM_STEP_NODELIST': 'localhost',
}
_OPEN_MPI = {
  'OMPI_MCA_orte_hnp_uri': '1531576320.0;tcp://127.0.0.1:34911',
  'OMPI_COMM_WORLD_SIZE': '2',
  'OMPI_COMM_WORLD_RANK': '0',
  'OMPI_COMM_WORLD_LOCAL_RANK': '0',
}


@pytest.fixture
def calls(monkeypatch):
  """Arguments of each jax.distributed.initialize, which is not done."""
  for name in (*_SLURM, *_OPEN_MPI, 'TPU_WORKER_HOSTNAMES'):
    monkeypatch.delenv(name, raising=False)
  made = []
  monkeypatch.setattr(
    jax.distributed, 'initialize', lambda *args: made.append(args)
  )
  monkeypatch.setattr(parallel, 'connect', lambda: made.append('connect'))
  return made


def _set(monkeypatch, values):
  for name, value in values.items():
    monkeypatch.setenv(name, value)


def test_alone(calls):
  distributed.start()
  assert calls == []


def test_flags(calls):
  distributed.start(0, 'host0:1234', 2, 1)
  assert calls == [('host0:1234', 2, 1), 'connect']


@pytest.mark.parametrize(
  'given', [('host0:1', 0, -1), ('', 2, 0), ('host0:1', 2, -1), ('', 0, 0)]
)
def test_flags_that_go_together(calls, given):
  with pytest.raises(ValueError, match='go together'):
    distributed.start(0, *given)
  assert calls == []


@pytest.mark.parametrize(
  'values',
  [_SLURM, _OPEN_MPI, {'TPU_WORKER_HOSTNAMES': '10.0.0.1,10.0.0.2'}],
)
def test_clusters(calls, monkeypatch, values):
  _set(monkeypatch, values)
  distributed.start()
  assert calls == [(), 'connect']


@pytest.mark.parametrize(
  'values',
  [
    {**_SLURM, 'SLURM_NTASKS': '1'},
    # sbatch or salloc without srun.
    {k: v for k, v in _SLURM.items() if k != 'SLURM_STEP_NODELIST'},
    {**_OPEN_MPI, 'OMPI_COMM_WORLD_SIZE': '1'},
    {'TPU_WORKER_HOSTNAMES': 'localhost'},
  ],
)
def test_one_process_on_a_cluster_is_alone(calls, monkeypatch, values):
  _set(monkeypatch, values)
  distributed.start()
  assert calls == []
  distributed.start(multi_host=True)
  assert calls == [(), 'connect']


_CODE = """
from launch import distributed
distributed.start(simulate_devices=2)
import jax
print(jax.process_index(), jax.process_count(), jax.device_count())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  'values, number',
  [(_SLURM, 'SLURM_PROCID'), (_OPEN_MPI, 'OMPI_COMM_WORLD_RANK')],
)
def test_real_processes_find_each_other(monkeypatch, values, number):
  _set(monkeypatch, values)
  processes = []
  for k in range(2):
    monkeypatch.setenv(number, str(k))
    processes.append(
      subprocess.Popen(
        [sys.executable, '-c', _CODE],
        cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      )
    )  # fmt: skip
  try:
    ends = [p.communicate(timeout=200) for p in processes]
  finally:
    for process in processes:
      process.kill()
  for k, (output, errors) in enumerate(ends):
    assert f'{k} 2 4' in output.splitlines(), errors[-2000:]


def test_devices_are_announced_unless_quiet(capsys):
  distributed.announce_devices(quiet=True)
  assert capsys.readouterr().out == ''
  distributed.announce_devices(quiet=False)
  found = jax.devices()
  (line,) = capsys.readouterr().out.splitlines()
  assert line.startswith(f'computing on {len(found)} ')
  assert f'{found[0].platform.upper()} device' in line
  assert f'({found[0].device_kind})' in line
  assert line.endswith(f'jax {jax.__version__}')
