"""Ends a service under load, in every way, and counts what its clients got."""

import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

from tests.serving import serving

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_CLIENTS = 8


class Running:
  """A service in a process of its own.

  Args:
    folder: a run, or an export.
    flags: more of them.
  """

  def __init__(self, folder: pathlib.Path, *flags: str):
    self.process = subprocess.Popen(
      [
        sys.executable, '-m', 'launch.serve', f'--workdir={folder}', '--port=0',
        *flags,
      ],
      cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in self.process.stdout:
      found = re.search(r'^serving .* at http://[^:]+:(\d+)$', line)
      if found:
        self.port = int(found[1])
        return
    raise AssertionError(self.process.stderr.read())

  def end(self, number: signal.Signals) -> tuple[int, str]:
    """Sends a signal; (status, what was said at the end)."""
    self.process.send_signal(number)
    out, errors = self.process.communicate(timeout=120)
    return self.process.returncode, out + errors


def kill_under_load(
  folder: pathlib.Path, videos: list, times: int, seed: int = 0
) -> str:
  """The row of docs/reliability.md; asserts that it is true.

  Args:
    folder: a run, or an export.
    videos: features, [t, d] each.
    times: how often each of SIGKILL and SIGTERM.
    seed: of the moments.
  """
  rng = random.Random(seed)
  bodies = [serving.npy(rows) for rows in videos]
  expected: dict[int, bytes] = {}
  answered = repeated = 0
  for turn in range(2 * times):
    service = Running(folder, '--quiet')
    load = _Load(service.port, bodies, expected)
    with load:
      time.sleep(rng.uniform(0.3, 1.5))
      number = signal.SIGTERM if turn % 2 else signal.SIGKILL
      status, said = service.end(number)
    if number == signal.SIGTERM:
      assert status == 0 and 'all that was begun is done' in said, said
      # The others had no connection yet that the service knew of.
      begun = int(re.search(r'stopped after (\d+) answers', said)[1])
      assert begun == load.answered, (begun, load.answered, load.broken)
    answered += load.answered
    repeated += len(load.broken)
  assert answered > 2 * times
  return (
    f'{answered:,} answers equal to the byte, none cut short was taken for one; '
    f'SIGTERM: status 0, the service counts the answers that came in; '
    f'{repeated} requests ended without an answer, asked again they are equal'
  )


class _Load:
  """Clients that ask again and again until nobody is there.

  Attributes:
    answered: whole answers, each equal to the others of its video.
    broken: what became of requests that were sent whole and not answered.
  """

  def __init__(self, port, bodies, expected):
    self.answered, self.broken = 0, []
    self._port, self._bodies, self._expected = port, bodies, expected
    self._lock, self._over = threading.Lock(), threading.Event()
    self._pool = concurrent.futures.ThreadPoolExecutor(_CLIENTS)

  def __enter__(self):
    self._clients = [self._pool.submit(self._ask, k) for k in range(_CLIENTS)]

  def __exit__(self, *error):
    self._over.set()
    for client in self._clients:
      client.result(120)
    self._pool.shutdown()

  def _ask(self, number):
    connection = http.client.HTTPConnection('127.0.0.1', self._port, timeout=60)
    with contextlib.closing(connection):
      while not self._over.is_set():
        number = (number + 3) % len(self._bodies)
        try:
          # A connection a request, as most clients have it.
          connection.close()
          connection.connect()
        except OSError:
          return
        try:
          connection.request(
            'POST', '/v1/proposals', self._bodies[number], serving.NPY
          )
          answer = connection.getresponse()
          # Raises IncompleteRead where less comes than was said.
          text = answer.read()
        except (OSError, http.client.HTTPException) as error:
          with self._lock:
            self.broken.append(f'{type(error).__name__}: {error}')
          return
        assert answer.status == 200, (answer.status, text)
        json.loads(text)
        with self._lock:
          assert self._expected.setdefault(number, text) == text, number
          self.answered += 1
