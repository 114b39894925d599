"""Real processes; each takes a second to start."""

import os
import types

import pytest

from cmsn_jax.engines import dealing, devices, engine, jobs, local
from tests.engines import waiting_job


@pytest.fixture
def make(tmp_path):
  """Returns a job that leaves its traces in a folder, and a pool for it."""

  def made(workers=2, **options):
    job = waiting_job.WaitingJob(tmp_path, **options)
    return job, engine.pool(engine.Settings(workers=workers), job)

  return made


def test_two_processes_work_die_and_are_replaced(make):
  job, pool = make(sleep_sec=0.2)
  seconds = {'once': 9.0, 'poison': 8.0, 'raises': 7.0, 'bad': 6.0}
  seconds |= {f'v{k}': 1.0 for k in range(8)}
  reached = {}
  with pool:
    found = {
      o.video_id: o
      for o in dealing.deal(
        seconds, pool, tries=2, on_seconds=reached.__setitem__
      )
    }
    assert len(found) == 12
  errors = {k: o.error for k, o in found.items() if o.error}
  assert errors == {
    'bad': 'bad is no video',
    'poison': 'its worker was lost 2 times, the last one: its process was '
    'killed by signal 9 (9: often memory ran out)',
    'raises': 'its worker was lost 2 times, the last one: RuntimeError: raises '
    'is beyond me',
  }
  assert job.attempts('poison') == job.attempts('once') == 2
  assert all(job.attempts(f'v{k}') == 1 for k in range(8))
  made = {found[f'v{k}'].value for k in range(8)}
  assert os.getpid() not in made
  pids = {p.name.split('-')[1] for p in job.folder.glob('poison-*')}
  assert len(pids) == 2 and not pool.pids()
  assert set(reached.values()) == {0.5}


def test_a_worker_that_cannot_start_says_why(make):
  _, pool = make(workers=1, start_error='no such weights')
  with (
    pool,
    pytest.raises(dealing.EngineError, match='ValueError: no such weights'),
  ):
    list(dealing.deal({'v': 1.0}, pool))


def test_what_cannot_travel_is_refused():
  with pytest.raises(ValueError, match='cannot be sent .* --workers=1'):
    jobs.packed(waiting_job.WaitingJob(lambda: None))


def test_one_device_is_this_process():
  assert engine.Settings().in_place() and engine.IN_PLACE.in_place()
  assert engine.Settings(gpus=('0',)).in_place()
  assert not engine.Settings(gpus=('0', '1')).in_place()
  assert not engine.Settings(name='ray', workers=1).in_place()
  for settings, flag in (
    (engine.Settings(name='slurm'), 'engine'),
    (engine.Settings(workers=-1), 'workers'),
    (engine.Settings(cores=-1), 'worker_cores'),
    (engine.Settings(tries=0), 'tries'),
  ):
    with pytest.raises(ValueError, match=f'--{flag} must be'):
      settings.check()


def test_gpus_are_shared_out(monkeypatch):
  seen = {}
  monkeypatch.setattr(
    local.Processes, '__init__', lambda self, *given: seen.update(given=given)
  )
  settings = engine.Settings(workers=3, gpus=('2', '5'))
  engine.pool(settings, waiting_job.WaitingJob('x'))
  _, environments, names = seen['given']
  assert [e['CUDA_VISIBLE_DEVICES'] for e in environments] == ['2', '5', '2']
  assert environments[0]['XLA_PYTHON_CLIENT_MEM_FRACTION'] == '0.450'
  assert 'JAX_PLATFORMS' not in environments[0] and len(set(names)) == 3


def test_gpus_are_those_that_jax_would_use(monkeypatch):
  nothing_set = types.SimpleNamespace(jax_platforms=None)
  monkeypatch.setattr(devices, 'jax', types.SimpleNamespace(config=nothing_set))
  monkeypatch.setattr(devices.importlib.util, 'find_spec', lambda name: name)
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  for value, expected in (('0,3', ['0', '3']), ('', []), ('1,-1,2', ['1'])):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', value)
    assert devices.gpus() == expected
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0')
  assert devices.gpus() == []
