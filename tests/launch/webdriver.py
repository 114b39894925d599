"""A real headless Chromium for tests, spoken to by the WebDriver protocol.

Plain HTTP, so that no package is needed beside Debian's `chromium` and
`chromium-driver`.
"""

import base64
import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

_ARGUMENTS = (
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--hide-scrollbars',
  # Nothing may be fetched but from this machine; names do not even resolve.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
)
_ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'
_KEYS = {'left': '\ue012', 'right': '\ue014', 'enter': '\ue007'}


def missing() -> str | None:
  """Why no browser can be started, or None."""
  for names in (('chromium', 'chromium-browser'), ('chromedriver',)):
    if not any(shutil.which(name) for name in names):
      return f'{names[0]} is not installed (Debian: chromium, chromium-driver)'
  return None


class Browser:
  """One session."""

  def __init__(self, address: str, session: str):
    self._base = f'{address}/session/{session}'

  def _call(self, path: str, body: dict | None = None) -> object:
    return _request(f'{self._base}/{path}', body)

  def open(self, address: str) -> None:
    self._call('url', {'url': address})

  def run(self, script: str, *arguments: object) -> object:
    """The value of a function body, run in the page."""
    body = {'script': script, 'args': list(arguments)}
    return self._call('execute/sync', body)

  def wait(
    self, script: str, *arguments: object, seconds: float = 10
  ) -> object:
    """The first true value of a function body."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
      value = self.run(script, *arguments)
      if value:
        return value
      time.sleep(0.05)
    raise AssertionError(f'not true within {seconds} s: {script}')

  def find(self, selector: str) -> str:
    body = {'using': 'css selector', 'value': selector}
    return self._call('element', body)[_ELEMENT]

  def click(self, selector: str) -> None:
    self._call(f'element/{self.find(selector)}/click', {})

  def click_at(self, x: float, y: float) -> None:
    """A real click at a point of the window."""
    move = {'type': 'pointerMove', 'duration': 0, 'x': round(x), 'y': round(y)}
    pointer = {
      'type': 'pointer',
      'id': 'mouse',
      'parameters': {'pointerType': 'mouse'},
      'actions': [
        move,
        {'type': 'pointerDown', 'button': 0},
        {'type': 'pointerUp', 'button': 0},
      ],
    }
    self._call('actions', {'actions': [pointer]})

  def hover(self, x: float, y: float) -> None:
    move = {'type': 'pointerMove', 'duration': 0, 'x': round(x), 'y': round(y)}
    pointer = {
      'type': 'pointer',
      'id': 'mouse',
      'parameters': {'pointerType': 'mouse'},
      'actions': [move],
    }
    self._call('actions', {'actions': [pointer]})

  def type(self, selector: str, text: str) -> None:
    text = _KEYS.get(text, text)
    self._call(f'element/{self.find(selector)}/value', {'text': text})

  def console(self) -> list[str]:
    """Warnings and errors that the page has caused."""
    entries = self._call('se/log', {'type': 'browser'})
    return [
      entry['message']
      for entry in entries
      if entry['level'] in ('SEVERE', 'WARNING')
    ]

  def devtools(self, command: str, **parameters: object) -> dict:
    body = {'cmd': command, 'params': parameters}
    return self._call('goog/cdp/execute', body)

  def size(self, width: int, height: int, phone: bool = False) -> None:
    self.devtools(
      'Emulation.setDeviceMetricsOverride',
      width=width,
      height=height,
      deviceScaleFactor=2 if phone else 1,
      mobile=phone,
    )

  def scheme(self, name: str) -> None:
    """'light' or 'dark', as the system would ask for it."""
    self.devtools(
      'Emulation.setEmulatedMedia',
      features=[{'name': 'prefers-color-scheme', 'value': name}],
    )

  def screenshot(self, path: pathlib.Path) -> None:
    path.write_bytes(base64.b64decode(self._call('screenshot')))

  def print_pdf(self, path: pathlib.Path) -> None:
    made = self.devtools('Page.printToPDF', printBackground=True)
    path.write_bytes(base64.b64decode(made['data']))


def _request(address: str, body: dict | None, method: str = '') -> object:
  data = None if body is None else json.dumps(body).encode()
  request = urllib.request.Request(
    address, data, {'Content-Type': 'application/json'}
  )
  if method:
    request.method = method
  try:
    with _OPENER.open(request, timeout=120) as answer:
      return json.load(answer)['value']
  except urllib.error.HTTPError as error:
    with error:
      problem = json.load(error)['value']
    raise AssertionError(f'{problem["error"]}: {problem["message"]}') from None


# The driver runs on this machine: never ask a proxy for it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


@contextlib.contextmanager
def started() -> Iterator[Browser]:
  """A browser with an empty profile, closed afterwards."""
  port = _free_port()
  address = f'http://127.0.0.1:{port}'
  binary = shutil.which('chromium') or shutil.which('chromium-browser')
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    driver = subprocess.Popen(
      [shutil.which('chromedriver'), f'--port={port}', '--silent'],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    options = {
      'binary': binary,
      'args': [*_ARGUMENTS, f'--user-data-dir={profile}'],
    }
    wanted = {
      'browserName': 'chrome',
      'goog:chromeOptions': options,
      'goog:loggingPrefs': {'browser': 'ALL'},
    }
    try:
      _await_driver(address)
      made = _request(
        f'{address}/session', {'capabilities': {'alwaysMatch': wanted}}
      )
      session = made['sessionId']
      try:
        yield Browser(address, session)
      finally:
        _request(f'{address}/session/{session}', None, 'DELETE')
    finally:
      driver.terminate()
      driver.wait(10)


def _await_driver(address: str) -> None:
  for _ in range(200):
    with contextlib.suppress(OSError):
      if _request(f'{address}/status', None)['ready']:
        return
    time.sleep(0.05)
  raise AssertionError('chromedriver did not start within 10 s')
