"""A service of a small model in this process, and a client that says little."""

import contextlib
import http.client
import io
import json
import threading

import numpy as np

from cmsn_jax.serving import server as server_lib
from cmsn_jax.serving import service

NPY = {'content-type': 'application/x-npy'}


@contextlib.contextmanager
def served(trained, **kwargs):
  """Yields (port, service)."""
  app = service.Service(trained, **kwargs)
  listening = server_lib.bound('127.0.0.1', 0)
  server = server_lib.make(app, 8, 30.0)
  thread = threading.Thread(target=server.run, kwargs={'sockets': [listening]})
  thread.start()
  try:
    yield listening.getsockname()[1], app
  finally:
    server.should_exit = True
    thread.join(60)
    app.close()
    listening.close()
    assert not thread.is_alive()


def ask(port, method, path, body=None, headers=None, timeout=120):
  """(status, JSON or text, headers)."""
  connection = http.client.HTTPConnection('127.0.0.1', port, timeout=timeout)
  with contextlib.closing(connection):
    connection.request(method, path, body, headers or {})
    found = connection.getresponse()
    text = found.read()
    if found.headers.get_content_type() == 'application/json':
      text = json.loads(text)
    return found.status, text, found.headers


def propose(port, rows, query='', headers=None):
  """The answer for features."""
  return ask(
    port, 'POST', f'/v1/proposals{query}', npy(rows), NPY | (headers or {})
  )


def npy(rows, **kwargs):
  """An array as a file's contents."""
  file = io.BytesIO()
  np.save(file, rows, **kwargs)
  return file.getvalue()
