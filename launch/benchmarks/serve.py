"""Suite 'serve': the HTTP service on this machine's loopback.

A service in a process of its own, exported models of the default sizes with
random weights, clients in this one: requests a second and how long they take,
one client and many; memory over 10,000 requests, and beside clients that are
slow or send nonsense. Requests are 60 s of features at 5 Hz.
"""

import concurrent.futures
import http.client
import io
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

from . import chain

_CLIENTS = (1, 8, 16)
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_serve(quick: bool = False) -> list[dict]:
  """Rows of both chains.

  Args:
    quick: 40 requests a row instead of 400, and 200 instead of 10,000.
  """
  rows = []
  for name in ('paper', 'template'):
    with tempfile.TemporaryDirectory() as folder:
      export = pathlib.Path(folder) / 'export'
      videos = chain.export(name, export, 10 if quick else 60)
      with Service(export) as service:
        rows += _load(name, service, videos, 40 if quick else 400)
        if name == 'template':
          rows.append(_soak(service, videos, 200 if quick else 10_000))
  return rows


class Service:
  """`launch.serve` of an export; a context."""

  def __init__(self, folder: pathlib.Path):
    self._command = [
      sys.executable, '-m', 'launch.serve', f'--workdir={folder}', '--port=0',
      '--quiet',
    ]  # fmt: skip

  def __enter__(self):
    self.process = subprocess.Popen(
      self._command, cwd=_ROOT, stdout=subprocess.PIPE, text=True
    )
    for line in self.process.stdout:
      if found := re.search(r':(\d+)$', line.strip()):
        self.port = int(found[1])
        return self
    raise RuntimeError('the service did not start')

  def __exit__(self, *error):
    self.process.send_signal(signal.SIGTERM)
    if self.process.wait(60):
      raise RuntimeError(f'the service ended with {self.process.returncode}')

  def ask(self, connection, body):
    """Seconds until an answer was there whole."""
    start = time.perf_counter()
    connection.request(
      'POST', '/v1/proposals', body, {'content-type': 'application/x-npy'}
    )
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
      raise RuntimeError(f'status {answer.status}')
    return time.perf_counter() - start

  def connect(self):
    return http.client.HTTPConnection('127.0.0.1', self.port, timeout=300)

  def usage(self):
    """(CPU seconds, resident bytes) of the process; Linux only."""
    text = pathlib.Path(f'/proc/{self.process.pid}/stat').read_text()
    fields = text.rpartition(')')[2].split()
    # User and system time in hundredths of a second, pages of 4 KiB.
    return (int(fields[11]) + int(fields[12])) / 100, int(fields[21]) * 4096

  def passes(self):
    """Passes of the model so far."""
    connection = self.connect()
    connection.request('GET', '/metrics')
    text = connection.getresponse().read().decode()
    return int(re.search(r'^cmsn_passes_total (\d+)', text, re.M)[1])


def _load(name, service, videos, count):
  """Rows of one client and of many at once."""
  bodies = [_npy(rows) for rows in videos]
  rows = []
  for clients in _CLIENTS:
    _many(service, bodies, clients, 2 * clients)
    cpu, passes = service.usage()[0], service.passes()
    start = time.perf_counter()
    seconds = _many(service, bodies, clients, count)
    wall = time.perf_counter() - start
    cpu = (service.usage()[0] - cpu) / count
    passes = service.passes() - passes
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    rows.append({
      'suite': 'serve',
      'work': f'{name} chain, 60 s of features a request, {clients} at once',
      'ours_s': wall / count,
      'note': f'{count / wall:.1f} requests/s, p50 {p50:.0f} ms, p99 {p99:.0f} '
      f'ms; {cpu * 1e3:.0f} ms of CPU a request, {count / passes:.1f} requests '
      'a pass',
    })  # fmt: skip
  return rows


def _many(service, bodies, clients, count):
  """Seconds of each of `count` requests."""

  def one(client):
    connection = service.connect()
    found = [
      service.ask(connection, bodies[k % len(bodies)])
      for k in range(client, count, clients)
    ]
    connection.close()
    return found

  with concurrent.futures.ThreadPoolExecutor(clients) as pool:
    return [x for found in pool.map(one, range(clients)) for x in found]


def _soak(service, videos, count):
  """Memory after many requests, beside slow clients and nonsense."""
  rng = np.random.default_rng(0)
  # Short, so that ten thousand are done in minutes; of many lengths.
  bodies = [_npy(rows[: rng.integers(5, 60)]) for rows in videos]
  _many(service, bodies, 8, max(100, count // 10))
  cpu, before = service.usage()
  slow = [_slow(service.port) for _ in range(8)]
  seconds, nonsense, late = [], 0, 0
  start = time.perf_counter()
  for part in range(10):
    seconds += _many(service, bodies, 8, count // 10)
    nonsense += sum(_nonsense(service, rng, part) for _ in range(count // 100))
    late += _told_off(slow, service.port)
  wall = time.perf_counter() - start
  for connection in slow:
    connection.close()
  cpu_after, after = service.usage()
  p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
  return {
    'suite': 'serve',
    'work': f'{count:,} short requests, beside 8 slow clients at any time '
    f'({late} answered 408) and {nonsense} of nonsense (400)',
    'ours_s': wall / count,
    'note': f'{count / wall:.0f} requests/s, p50 {p50:.0f} ms, p99 {p99:.0f} '
    f'ms; {(cpu_after - cpu) / count * 1e3:.1f} ms of CPU a request; resident '
    f'memory {before / 1e6:.0f} MB after a tenth more, {after / 1e6:.0f} MB at '
    'the end',
  }  # fmt: skip


def _slow(port):
  """Holds a place with a body that does not come."""
  connection = socket.create_connection(('127.0.0.1', port))
  connection.sendall(
    b'POST /v1/proposals HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n'
    b'content-type: application/x-npy\r\n\r\nx'
  )
  return connection


def _told_off(slow, port):
  """How many were told that their time is up; others take their places."""
  told, _, _ = select.select(slow, [], [], 0)
  for connection in told:
    answer = connection.recv(4096)
    if b' 408 ' not in answer.partition(b'\r\n')[0]:
      raise RuntimeError(f'a slow client was told {answer[:100]}')
    connection.close()
    slow.remove(connection)
    slow.append(_slow(port))
  return len(told)


def _nonsense(service, rng, kind):
  """1 where a request that cannot be was refused as one."""
  connection = service.connect()
  body = rng.bytes(500)
  if kind % 2:
    body = _npy(np.full((9, 3), np.nan, np.float32))
  connection.request(
    'POST', '/v1/proposals', body, {'content-type': 'application/x-npy'}
  )
  status = connection.getresponse().status
  connection.close()
  if status != 400:
    raise RuntimeError(f'status {status} for nonsense')
  return 1


def _npy(rows):
  file = io.BytesIO()
  np.save(file, rows.astype(np.float32))
  return file.getvalue()
