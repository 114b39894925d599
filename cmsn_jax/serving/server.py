"""Serves an application until it is told to stop, and survives slow clients."""

import ipaddress
import math
import signal
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http import h11_impl

# From the first byte of a connection, or of its next request, to the end of the
# header.
HEADER_SEC = 10.0
# Connections beside those that have a place: for health, metrics, refusals.
_CONNECTIONS = 256
_KEEP_ALIVE_SEC = 15


class _Protocol(h11_impl.H11Protocol):
  """HTTP/1.1 whose headers must be there in time.

  uvicorn itself waits for a header for ever, so that a few hundred connections
  that say nothing would keep everybody else out.
  """

  _late = None

  def connection_made(self, transport: Any) -> None:
    super().connection_made(transport)
    self._expect()

  def data_received(self, data: bytes) -> None:
    super().data_received(data)
    self._expect()

  def connection_lost(self, exc: Exception | None) -> None:
    self._cancel()
    super().connection_lost(exc)

  def _expect(self):
    if self.cycle is not None and not self.cycle.response_complete:
      self._cancel()
    elif self._late is None:
      self._late = self.loop.call_later(HEADER_SEC, self._close)

  def _close(self):
    self._late = None
    if self.cycle is None or self.cycle.response_complete:
      self.transport.close()

  def _cancel(self):
    if self._late is not None:
      self._late.cancel()
      self._late = None


def is_loopback(host: str) -> bool:
  """Whether only this machine reaches a service bound to a host.

  Raises:
    ValueError: if there is no such host.
  """
  try:
    found = {info[4][0] for info in socket.getaddrinfo(host or '0.0.0.0', None)}
  except OSError as error:
    raise ValueError(f'--host={host}: {error.strerror or error}') from error
  return all(ipaddress.ip_address(one).is_loopback for one in found)


def bound(host: str, port: int) -> socket.socket:
  """A socket that listens.

  Args:
    host: name or address.
    port: 0: any that is free.

  Raises:
    ValueError: if it cannot be had.
  """
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  found = socket.socket(family)
  found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    found.bind((host, port))
  except OSError as error:
    found.close()
    raise ValueError(
      f'--host={host} --port={port} cannot be had: {error.strerror}; another '
      '--port, or 0 for one that is free'
    ) from error
  found.listen(_CONNECTIONS)
  return found


def make(app: Any, places: int, stop_sec: float) -> uvicorn.Server:
  """A server that finishes what it has begun when it is told to stop.

  Args:
    app: ASGI application.
    places: requests that it works on at once.
    stop_sec: after which a stop no longer waits for them.
  """
  return uvicorn.Server(
    uvicorn.Config(
      app,
      http=_Protocol,
      ws='none',
      lifespan='off',
      log_level='error',
      access_log=False,
      server_header=False,
      limit_concurrency=_CONNECTIONS + places,
      timeout_keep_alive=_KEEP_ALIVE_SEC,
      timeout_graceful_shutdown=math.ceil(stop_sec),
    )
  )


def run(server: uvicorn.Server, listening: socket.socket) -> None:
  """Serves until SIGTERM or SIGINT, then finishes what it has.

  Args:
    server: see `make`.
    listening: see `bound`; closed at the end.
  """
  # uvicorn puts these back, and raises the signal again, when it is done.
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)
  with listening:
    server.run(sockets=[listening])
