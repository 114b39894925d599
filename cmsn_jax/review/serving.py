"""Serves a review on this machine, until a signal ends it."""

import contextlib
import secrets
import socket
from collections.abc import Callable, Iterator

import uvicorn

from cmsn_jax import signals
from cmsn_jax.review import server
from cmsn_jax.review import session as session_lib


class Server(uvicorn.Server):
  """Ends at a signal and returns: what comes after it is still to be done."""

  @contextlib.contextmanager
  def capture_signals(self) -> Iterator[None]:
    """SIGINT and SIGTERM end the server, and nothing else, in the block."""
    with signals.handled(self.handle_exit):
      yield


def serve(
  session: session_lib.Session,
  *,
  port: int = 0,
  name: str = '',
  ready: Callable[[str], None] | None = None,
) -> None:
  """Serves a review until it is interrupted (Ctrl-C or SIGTERM).

  Args:
    session: the review; it is written and closed at the end.
    port: 0: any that is free.
    name: of the annotator.
    ready: called with the page's address before the first request.
  Raises:
    OSError: where the port is taken.
  """
  token = secrets.token_urlsafe(24)
  listener = socket.socket()
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  listener.bind(('127.0.0.1', port))
  port = listener.getsockname()[1]
  config = uvicorn.Config(
    server.application(session, token, port, name),
    log_level='warning',
    access_log=False,
    server_header=False,
    proxy_headers=False,
    timeout_graceful_shutdown=2,
  )
  # Ranked before anybody waits for it.
  for recording_id in session.recordings:
    session.ranked(recording_id)
  if ready is not None:
    listener.listen()
    ready(f'http://127.0.0.1:{port}/{token}/')
  Server(config).run(sockets=[listener])
