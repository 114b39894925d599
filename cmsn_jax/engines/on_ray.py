"""Workers are actors of a Ray cluster: one a GPU, or a few CPU cores each.

Jobs and outcomes travel through Ray's object store; videos, frames and
features do not: each worker reads and writes the files, which all machines
must see under the same paths.
"""

import collections
import errno
import logging
import os
import socket
import sys
import time
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from cmsn_jax.engines import dealing, devices, jobs

# How often the cluster is asked for its nodes, and workers for their progress.
_LOOK_SEC = 2.0
_CORES = 2
_ADVICE = (
  "start one with 'ray start --head', or have one on this machine alone with "
  '--address=local'
)


class Slot(NamedTuple):
  """A place for an actor.

  Attributes:
    node: Ray's id of it.
    host: its name.
    index: of the actors there.
    gpus: of the actor.
    cores: likewise.
  """

  node: str
  host: str
  index: int
  gpus: int
  cores: int

  def __str__(self) -> str:
    return f'{self.host}, worker {self.index}'


class Actor:
  """The worker in its process; an actor with two threads."""

  def __init__(self, environment: dict[str, str], paths: Sequence[str] = ()):
    # What the user's process could import, a backbone of their own say, which
    # Ray knows only in its script's folder; an installation here goes first.
    sys.path += [path for path in paths if path not in sys.path]
    # Before anything imports jax, which unpacking the job does. Ray's own limit
    # would change the last bits of results.
    os.environ.pop('OMP_NUM_THREADS', None)
    os.environ.update(environment)
    self._worker, self._stack, self._reached = None, None, {}

  def start(self, content: bytes) -> list[jobs.Outcome]:
    """Makes the worker."""
    devices.keep_compiled()
    self._stack = jobs.started(content)
    self._worker = self._stack.__enter__()
    return []

  def run(self, video_ids: Sequence[str]) -> list[jobs.Outcome]:
    """Works on a batch."""
    self._reached = {}
    return list(self._worker.run(video_ids, self._reached.__setitem__))

  def reached(self) -> dict[str, float]:
    """Seconds reached of the videos of the batch, while `run` runs."""
    return dict(self._reached)


class Actors(dealing.Pool):
  """An actor a slot, wherever the cluster has room, now or later.

  Args:
    content: the job, packed.
    address: of the cluster; 'local': one of this machine's own.
    workers: actors at most, for which an autoscaler is asked to make room; 0: as
      many as there is room for.
    cores: CPU cores of an actor; 0: two, and nodes without a GPU are not used
      where others have one.

  Raises:
    ValueError: if Ray is not installed.
    ConnectionError: if there is no cluster at the address.
  """

  patience_sec = 600.0

  def __init__(
    self, content: bytes, address: str, workers: int = 0, cores: int = 0
  ):
    super().__init__()
    self._ray = connected(address)
    self._most, self._cores = workers, cores
    # Once for all workers, and no copy for those of one node.
    self._content = self._ray.put(content)
    self._actors: dict[Slot, Any] = {}
    self._pending: dict[Any, Slot] = {}
    self._asked: dict[Any, Slot] = {}
    self._reached: dict[Slot, dict[str, float]] = {}
    self._nodes, self._looked, self._told = [], 0.0, 0.0
    if workers:
      # Without an autoscaler this has no effect.
      bundles = [{'CPU': cores or _CORES}] * workers
      _request(bundles)

  def slots(self) -> Sequence[Hashable]:
    """See `dealing.Pool.slots`."""
    if time.monotonic() - self._looked > _LOOK_SEC or not self._nodes:
      self._looked = time.monotonic()
      self._nodes = [node for node in self._ray.nodes() if node['Alive']]
    found = slots(self._nodes, self._cores)
    if not self._most:
      return found
    # Those that are there stay, whatever joins.
    order = sorted(found, key=lambda slot: slot not in self._actors)
    return order[: self._most]

  def start(self, slot: Hashable) -> None:
    """See `dealing.Pool.start`."""
    strategy = self._ray.util.scheduling_strategies
    made = self._ray.remote(Actor).options(
      num_cpus=slot.cores,
      num_gpus=slot.gpus,
      max_concurrency=2,
      scheduling_strategy=strategy.NodeAffinitySchedulingStrategy(
        slot.node, soft=False
      ),
    )
    environment = devices.own_environment(self._cores)
    if slot.gpus:
      # Ray says which one.
      del environment['JAX_PLATFORMS']
    paths = [os.path.abspath(p) for p in sys.path if isinstance(p, str)]
    actor = made.remote(environment, paths)
    self._actors[slot], self._reached[slot] = actor, {}
    self._pending[actor.start.remote(self._content)] = slot

  def send(self, slot: Hashable, video_ids: Sequence[str]) -> None:
    """See `dealing.Pool.send`."""
    self._reached[slot] = {}
    self._pending[self._actors[slot].run.remote(list(video_ids))] = slot

  def wait(self, timeout_sec: float) -> list[dealing.Finished | dealing.Lost]:
    """See `dealing.Pool.wait`."""
    if not self._pending:
      time.sleep(timeout_sec)
      return []
    refs = [*self._pending]
    self._ray.wait(refs, timeout=timeout_sec)
    # All that are ready by now, not just the first.
    ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
    return [self._event(ref) for ref in ready]

  def reached(self) -> dict[str, float]:
    """See `dealing.Pool.reached`."""
    if self._asked:
      refs = [*self._asked]
      for ref in self._ray.wait(refs, num_returns=len(refs), timeout=0)[0]:
        slot = self._asked.pop(ref)
        try:
          self._reached[slot] = self._ray.get(ref)
        except self._ray.exceptions.RayError:
          pass  # The worker is lost, as its batch will show.
    elif time.monotonic() - self._told > _LOOK_SEC:
      self._told = time.monotonic()
      for slot in self._pending.values():
        if self.is_ready(slot):
          self._asked[self._actors[slot].reached.remote()] = slot
    return {k: s for own in self._reached.values() for k, s in own.items()}

  def place(self, slot: Hashable) -> Hashable:
    """See `dealing.Pool.place`."""
    return slot.node

  def close(self) -> None:
    """See `dealing.Pool.close`."""
    if not self._ray.is_initialized():
      return
    if self._most:
      _request([])
    for slot in [*self._actors]:
      self._end(slot)
    self._ray.shutdown()

  def _event(self, ref):
    slot = self._pending.pop(ref)
    try:
      return dealing.Finished(slot, self._ray.get(ref))
    except self._ray.exceptions.RayError as error:
      self._end(slot)
      cause = getattr(error, 'cause', None)
      full = getattr(cause, 'errno', None) in (errno.ENOSPC, errno.EDQUOT)
      why = f'{type(cause).__name__}: {cause}' if cause else _first_line(error)
      return dealing.Lost(slot, why, cause if full else None)

  def _end(self, slot):
    actor = self._actors.pop(slot, None)
    self._reached.pop(slot, None)
    if actor is not None:
      # It may still hold its cores where only the way to it is broken.
      self._ray.kill(actor)


def slots(nodes: Sequence[Mapping[str, Any]], cores: int = 0) -> list[Slot]:
  """Places for actors on nodes as `ray.nodes()` has them.

  One a GPU. Nodes without one hold an actor for every `cores` CPU cores; with
  cores=0 they are used, by two cores, only where no node has a GPU: they would
  hold up the end of a run.
  """
  total = collections.Counter()
  for node in nodes:
    total.update({k: v for k, v in node['Resources'].items() if k == 'GPU'})
  found = []
  for node in nodes:
    has = node['Resources']
    place = node['NodeID'], node['NodeManagerHostname']
    gpus, cpus = int(has.get('GPU', 0)), int(has.get('CPU', 0))
    if gpus:
      each = min(cores or _CORES, cpus // gpus)
      found += [Slot(*place, k, 1, each) for k in range(gpus)]
    elif cpus and (cores or not total['GPU']):
      each = min(cores or _CORES, cpus)
      found += [Slot(*place, k, 0, each) for k in range(cpus // each)]
  return found


def connected(address: str) -> Any:
  """The module `ray`, connected to a cluster.

  Raises:
    ValueError: if Ray is not installed.
    ConnectionError: if there is no cluster at the address.
  """
  try:
    import ray
    import ray.util.scheduling_strategies
  except ImportError as error:
    raise ValueError(
      "--engine=ray needs Ray: pip install 'cmsn_jax[ray]' (or '.[ray]' in a "
      'checkout), the same version on all machines'
    ) from error
  if ray.is_initialized():
    return ray
  try:
    _check_answers(address)
    with warnings.catch_warnings():
      # JAX warns of any fork; Ray's is one without JAX's threads.
      warnings.filterwarnings('ignore', r'os.fork\(\)', RuntimeWarning)
      ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
  except OSError as error:
    raise ConnectionError(
      f'--address={address}: no Ray cluster there; {_ADVICE}'
    ) from error
  return ray


def _check_answers(address):
  """Ray itself tries for minutes where nobody answers."""
  if address.startswith('ray://'):
    raise ConnectionError('start the command on a machine of the cluster')
  host, _, port = address.rpartition(':')
  if port.isdigit():
    socket.create_connection((host, int(port)), timeout=10.0).close()


def _request(bundles):
  from ray.autoscaler import sdk

  sdk.request_resources(bundles=bundles)


def _first_line(error):
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  return f'{type(error).__name__}: {lines[0] if lines else ""}'
