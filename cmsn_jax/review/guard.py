"""Who may talk to the server: this machine's browser, at the page's address.

Loopback alone is no wall: any page in the browser can send requests to it, and
a foreign name can be made to lead there (DNS rebinding). So every request needs
the random token in its address, the address itself as Host, and, where the
browser says where it comes from, the page's own Origin.
"""

import hmac
from collections.abc import Iterable

# Nothing is loaded from anywhere else, and no other page may show this one.
HEADERS = (
  (
    b'content-security-policy',
    b"default-src 'none'; script-src 'self'; style-src 'self'; "
    b"img-src 'self' data:; media-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ),
  (b'x-content-type-options', b'nosniff'),
  (b'referrer-policy', b'no-referrer'),
  (b'cross-origin-resource-policy', b'same-origin'),
  (b'cross-origin-opener-policy', b'same-origin'),
)
MAX_BODY = 1 << 20


class Guard:
  """Refuses requests before anything else sees them; an ASGI application.

  Args:
    app: what it guards; it sees the address without the token.
    token: the first part of every address.
    hosts: Host headers that are ours, such as '127.0.0.1:8000'.
  """

  def __init__(self, app: object, token: str, hosts: Iterable[str]):
    self._app, self._token = app, token.encode()
    self._hosts = {host.encode() for host in hosts}

  async def __call__(self, scope: dict, receive: object, send: object) -> None:
    if scope['type'] == 'lifespan':
      return await self._app(scope, receive, send)
    if scope['type'] != 'http':
      raise ValueError(f'no {scope["type"]} connections')
    headers = scope['headers']
    problem = self._problem(scope, headers)
    if problem:
      return await _refuse(send, *problem)
    rest = scope['path'].split('/', 2)
    scope = {**scope, 'path': '/' + (rest[2] if len(rest) > 2 else '')}
    scope.pop('raw_path', None)

    async def guarded(message):
      if message['type'] == 'http.response.start':
        message = {
          **message,
          'headers': [*message.get('headers', []), *HEADERS],
        }
      await send(message)

    await self._app(scope, receive, guarded)

  def _problem(self, scope, headers):
    """(status, words) of why a request is refused, or None."""
    values = {}
    for name, value in headers:
      values.setdefault(name, []).append(value)
    hosts = values.get(b'host', [])
    if len(hosts) != 1 or hosts[0] not in self._hosts:
      return 403, 'this is not the address of the review (Host)'
    origins = values.get(b'origin', [])
    if any(o != b'http://' + hosts[0] for o in origins):
      return 403, 'requests of other pages are refused (Origin)'
    sites = values.get(b'sec-fetch-site', [])
    navigates = scope['method'] == 'GET' and scope['path'].count('/') == 2
    if any(s not in (b'same-origin', b'none') for s in sites) and not navigates:
      return 403, 'requests of other pages are refused (Sec-Fetch-Site)'
    parts = scope['path'].split('/', 2)
    given = (
      parts[1].encode('utf-8', 'surrogateescape') if len(parts) > 1 else b''
    )
    if not hmac.compare_digest(given, self._token):
      return 403, 'wrong or missing token; open the address that was printed'
    if scope['method'] not in ('GET', 'HEAD', 'POST'):
      return 405, 'only GET and POST'
    if scope['method'] == 'POST':
      kinds = values.get(b'content-type', [])
      if kinds != [b'application/json']:
        return 415, 'expected application/json'
    return None


async def _refuse(send, status: int, words: str) -> None:
  body = f'{words}\n'.encode()
  headers = [
    (b'content-type', b'text/plain; charset=utf-8'),
    (b'content-length', str(len(body)).encode()),
    *HEADERS,
  ]
  await send(
    {'type': 'http.response.start', 'status': status, 'headers': headers}
  )
  await send({'type': 'http.response.body', 'body': body})
