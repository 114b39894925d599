"""Where actors go, and a real cluster of several processes on one machine."""

import sys

import pytest

from cmsn_jax.engines import dealing, engine, on_ray
from tests.engines import waiting_job


def _node(name, **resources):
  return {'NodeID': name, 'NodeManagerHostname': name, 'Resources': resources}


def test_an_actor_a_gpu_and_else_some_cores():
  gpus = _node('g', CPU=16.0, GPU=4.0)
  cores = _node('c', CPU=7.0)
  found = on_ray.slots([gpus, cores])
  assert [(s.node, s.gpus, s.cores) for s in found] == [('g', 1, 2)] * 4
  # Asked for, the cores work too.
  found = on_ray.slots([gpus, cores], cores=3)
  assert [(s.node, s.gpus, s.cores) for s in found] == (
    [('g', 1, 3)] * 4 + [('c', 0, 3)] * 2
  )
  assert len(on_ray.slots([cores])) == 3
  assert [s.cores for s in on_ray.slots([_node('one', CPU=1.0)])] == [1]
  # A head without cores holds no actor; few cores are shared by the GPUs.
  assert not on_ray.slots([_node('head')])
  few = on_ray.slots([_node('g', CPU=4.0, GPU=4.0)])
  assert [s.cores for s in few] == [1] * 4
  assert len(set(found)) == len(found)


def test_an_actor_can_import_what_the_command_could(monkeypatch):
  monkeypatch.setenv('OMP_NUM_THREADS', '1')
  monkeypatch.setattr(sys, 'path', ['/installed', '/both'])
  on_ray.Actor({}, ['/both', '/of_the_user'])
  assert sys.path == ['/installed', '/both', '/of_the_user']


@pytest.fixture
def cluster(monkeypatch):
  """A head without cores and two nodes of one core each, all real processes."""
  pytest.importorskip(
    'ray', reason="Ray is not installed: pip install '.[ray]'"
  )
  from ray import cluster_utils

  # Ray's workers would yield to whatever else runs on this machine.
  monkeypatch.setenv('RAY_worker_niceness', '0')
  made = cluster_utils.Cluster(
    initialize_head=True, head_node_args={'num_cpus': 0}
  )
  made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
  yield made
  made.shutdown()


# Ray leaves sockets and files to the end of the process.
@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_workers_and_a_node_die_and_another_joins(cluster, tmp_path):
  job = waiting_job.WaitingJob(tmp_path, sleep_sec=0.5)
  settings = engine.Settings(name='ray', address=cluster.address, tries=3)
  seconds = {'poison': 9.0, 'once': 8.0, 'bad': 7.0}
  seconds |= {f'v{k:02d}': 1.0 for k in range(24)}
  found, places, removed, joined = {}, set(), False, False
  with engine.pool(settings, job) as pool:
    for outcome in dealing.deal(seconds, pool, tries=3):
      found[outcome.video_id] = outcome
      places |= {pool.place(slot) for slot in pool.workers}
      if len(found) >= 6 and not removed:
        # As a machine that goes: its raylet and all that it runs.
        cluster.remove_node(cluster.nodes[0], allow_graceful=False)
        removed = True
      if len(found) >= 8 and not joined:
        cluster.add_node(num_cpus=1)
        joined = True
  assert set(found) == set(seconds)
  errors = {k: o.error for k, o in found.items() if o.error}
  assert errors.pop('bad') == 'bad is no video'
  assert errors.pop('poison').startswith('its worker was lost 3 times')
  assert not errors
  assert job.attempts('poison') == 3
  assert len(places) == 3, 'the node that joined late was not used'


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_a_full_disk_ends_the_run_and_no_cluster_is_said(cluster, tmp_path):
  job = waiting_job.WaitingJob(tmp_path)
  settings = engine.Settings(name='ray', address=cluster.address)
  with (
    engine.pool(settings, job) as pool,
    pytest.raises(OSError, match='No space left'),
  ):
    list(dealing.deal({'full': 1.0, 'v': 1.0}, pool))
  job = waiting_job.WaitingJob(tmp_path, start_error='no such weights')
  with (
    engine.pool(settings, job) as pool,
    pytest.raises(dealing.EngineError, match='ValueError: no such weights'),
  ):
    list(dealing.deal({'v': 1.0}, pool))
  nowhere = engine.Settings(name='ray', address='127.0.0.1:1')
  with pytest.raises(ConnectionError, match='no Ray cluster there; start one'):
    engine.pool(nowhere, job)
