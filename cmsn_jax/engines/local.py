"""Workers are processes of this machine: one a GPU, or as many as asked for."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Hashable, Sequence
from multiprocessing import connection as connection_lib

from cmsn_jax.engines import dealing, devices, jobs

# Not by multiprocessing, whose children run the main script again, and no fork:
# jax has threads.
_WORKER = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from cmsn_jax.engines import local
local.serve(int(sys.argv[1]))
"""
_EVERY_SEC = 0.5


class Processes(dealing.Pool):
  """A process a slot, which holds the model.

  Args:
    content: the job, packed.
    environments: of each worker; a slot is an index of these.
    names: of the slots, for the user.
  """

  def __init__(
    self,
    content: bytes,
    environments: Sequence[dict[str, str]],
    names: Sequence[str] | None = None,
  ):
    super().__init__()
    self._content, self._environments = content, environments
    count = len(environments)
    self._names = names or [f'process {k + 1} of {count}' for k in range(count)]
    self._connections: dict[str, connection_lib.Connection] = {}
    self._processes: dict[str, subprocess.Popen] = {}
    self._reached: dict[str, dict[str, float]] = {}

  def slots(self) -> Sequence[Hashable]:
    """See `dealing.Pool.slots`."""
    return self._names

  def start(self, slot: Hashable) -> None:
    """See `dealing.Pool.start`."""
    ours, theirs = multiprocessing.Pipe()
    environment = self._environments[self._names.index(slot)]
    paths = json.dumps([path for path in sys.path if isinstance(path, str)])
    # Then the worker holds the only copy: its death is an end of file here.
    with theirs:
      number = theirs.fileno()
      self._processes[slot] = subprocess.Popen(
        [sys.executable, '-P', '-c', _WORKER, str(number), paths],
        stdin=subprocess.DEVNULL,
        pass_fds=(number,),
        env={**os.environ, **environment},
      )
    self._connections[slot] = ours
    self._reached[slot] = {}
    self._tell(slot, self._content)

  def send(self, slot: Hashable, video_ids: Sequence[str]) -> None:
    """See `dealing.Pool.send`."""
    self._reached[slot] = {}
    self._tell(slot, list(video_ids))

  def wait(self, timeout_sec: float) -> list[dealing.Finished | dealing.Lost]:
    """See `dealing.Pool.wait`."""
    slots = {connection: slot for slot, connection in self._connections.items()}
    found = []
    for connection in connection_lib.wait([*slots], timeout_sec):
      event = self._read(slots[connection])
      if event is not None:
        found.append(event)
    return found

  def reached(self) -> dict[str, float]:
    """See `dealing.Pool.reached`."""
    return {k: s for own in self._reached.values() for k, s in own.items()}

  def close(self) -> None:
    """See `dealing.Pool.close`."""
    for slot in [*self._processes]:
      self._end(slot)

  def pids(self) -> dict[str, int]:
    """Process ids by slot."""
    return {slot: process.pid for slot, process in self._processes.items()}

  def _tell(self, slot, content):
    try:
      self._connections[slot].send(content)
    except OSError:
      pass  # It is dead, which the next look at the connection shows.

  def _read(self, slot):
    try:
      kind, content = self._connections[slot].recv()
    except (EOFError, OSError):
      return dealing.Lost(slot, f'its process {self._end(slot)}')
    if kind == 'reached':
      self._reached[slot] = content
      return None
    if kind == 'finished':
      self._reached[slot] = {}
      return dealing.Finished(slot, content)
    self._end(slot)
    text, error = content
    return dealing.Lost(slot, text, error)

  def _end(self, slot):
    """Ends a worker; how it ended if it already had."""
    process = self._processes.pop(slot)
    self._connections.pop(slot).close()
    self._reached.pop(slot)
    try:
      # Its end of the pipe is closed a moment before it is gone.
      code = process.wait(1.0)
    except subprocess.TimeoutExpired:
      process.kill()
      code = process.wait()
    if code < 0:
      return f'was killed by signal {-code} (9: often memory ran out)'
    return f'ended with exit status {code}'


def serve(descriptor: int) -> None:
  """The worker: a job, then batches, each answered with its outcomes.

  Args:
    descriptor: of the connection's file.
  """
  connection = connection_lib.Connection(descriptor)
  # Ctrl-C reaches the whole group; the parent decides and ends the worker.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  # Where in our code a video was read tells a user nothing.
  warnings.formatwarning = lambda message, category, *_: (
    f'{category.__name__}: {message}\n'
  )
  reached, told = {}, 0.0

  def on_seconds(video_id, second):
    nonlocal told
    reached[video_id] = second
    if time.monotonic() - told > _EVERY_SEC:
      told = time.monotonic()
      connection.send(('reached', dict(reached)))

  try:
    devices.keep_compiled()
    with jobs.started(connection.recv()) as worker:
      connection.send(('finished', []))
      while True:
        video_ids = connection.recv()
        reached.clear()
        outcomes = list(worker.run(video_ids, on_seconds))
        connection.send(('finished', outcomes))
  except (EOFError, BrokenPipeError, ConnectionResetError):
    return  # The parent is gone.
  except Exception as error:  # whatever it is, the parent must see it
    _say(connection, error)


def _say(connection, error):
  text = ''.join(traceback.format_exception_only(error)).strip()
  errno = getattr(error, 'errno', None)
  kept = OSError(errno, str(error.strerror)) if errno else None
  connection.send(('failed', (text, kept)))
