"""The server of a review, running in a thread or a process of its own."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.parse

import uvicorn

from cmsn_jax.review import server, serving, session

_ROOT = pathlib.Path(__file__).resolve().parents[2]


class Client:
  """Requests as plain as they can be: nothing about them is put right."""

  def __init__(self, address):
    parts = urllib.parse.urlsplit(address)
    self.host, self.path, self.address = parts.netloc, parts.path, address

  def ask(self, path, body=None, method=None, whole=False, **headers):
    """(status, headers, bytes); `path` is under the token unless `whole`."""
    connection = http.client.HTTPConnection(self.host, timeout=20)
    sent = {name.replace('_', '-'): value for name, value in headers.items()}
    if body is not None:
      sent.setdefault('Content-Type', 'application/json')
    method = method or ('GET' if body is None else 'POST')
    with contextlib.closing(connection):
      connection.putrequest(
        method,
        path if whole else self.path + path,
        skip_host='Host' in sent,
        skip_accept_encoding=True,
      )
      data = body if isinstance(body, bytes) else json.dumps(body).encode()
      if body is not None:
        sent['Content-Length'] = str(len(data))
      for name, value in sent.items():
        connection.putheader(name, value)
      connection.endheaders(data if body is not None else None)
      answer = connection.getresponse()
      return answer.status, dict(answer.getheaders()), answer.read()

  def get(self, path, **headers):
    status, _, body = self.ask(path, **headers)
    assert status == 200, body
    return json.loads(body)

  def post(self, path, body, **headers):
    status, _, answer = self.ask(path, body, **headers)
    return status, json.loads(answer)

  def act(self, name, recording='day1', window='w', **more):
    return self.post(
      'api/act',
      {
        'window': window, 'recording': recording, 'action': name, 'by': 'Ada',
        **more,
      },
    )  # fmt: skip


@contextlib.contextmanager
def in_thread(opened: session.Session):
  """A client of a session served by this process; closed afterwards."""
  config = uvicorn.Config(
    None, host='127.0.0.1', port=0, log_level='error', lifespan='on',
    timeout_graceful_shutdown=1,
  )  # fmt: skip
  listener = config.bind_socket()
  port = listener.getsockname()[1]
  config.app = server.application(opened, 'secret', port, 'Ada')
  running = serving.Server(config)
  thread = threading.Thread(target=running.run, kwargs={'sockets': [listener]})
  thread.start()
  try:
    while not running.started:
      assert thread.is_alive()
      time.sleep(0.01)
    yield Client(f'http://127.0.0.1:{port}/secret/')
  finally:
    running.should_exit = True
    thread.join(10)
    listener.close()


@contextlib.contextmanager
def command(*arguments):
  """(client, process) of launch.review; ended gently if it still runs."""
  process = subprocess.Popen(
    [sys.executable, '-m', 'launch.review', '--nobrowser', *arguments],
    cwd=_ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env={**os.environ, 'PYTHONUNBUFFERED': '1'},
  )
  said = ''
  try:
    for line in process.stdout:
      said += line
      found = re.search(r'the page: (\S+)', line)
      if found:
        break
    else:
      raise AssertionError(said)
    client = Client(found[1])
    client.said = said
    yield client, process
  finally:
    if process.poll() is None:
      process.terminate()
    with contextlib.suppress(ValueError):
      client_said = process.communicate(timeout=20)[0]
      process.said = said + (client_said or '')
