"""The review page in a browser, as somebody drives it."""

import json
import pathlib

FPS = 10
_PLAYER = """
if (typeof app !== 'object' || !app.player) return null;
const element = app.player.element;
return { time: app.player.time, playing: app.player.playing,
  element: element && { time: element.currentTime, paused: element.paused,
    seeking: element.seeking, ended: element.ended,
    ready: element.readyState, rate: element.playbackRate } };
"""
_MODIFIERS = {'Alt': 1, 'Ctrl': 2, 'Shift': 8}


class Page:
  """The page of one review, and its server."""

  def __init__(self, browser, client, output):
    self.browser, self.client, self.output = browser, client, output

  def run(self, script, *arguments):
    return self.browser.run(script, *arguments)

  def wait(self, script, *arguments):
    try:
      return self.browser.wait(script, *arguments, seconds=30)
    except AssertionError as error:
      raise AssertionError(
        f'{error}; player: {self.run(_PLAYER)}; {self.browser.console()}'
      ) from error

  def open(self, address=None):
    self.browser.console()  # What an earlier page said.
    self.browser.open(address or self.client.address)
    self.wait('return typeof app === "object" && app.recording !== null')

  def show(self, recording):
    self.run('return app.open(arguments[0]).then(() => true)', recording)

  def press(self, *keys):
    """Real key presses: 'a', 'Tab', 'Ctrl+z', ..."""
    for name in keys:
      *held, key = name.split('+') if len(name) > 1 else [name]
      modifiers = sum(_MODIFIERS[one] for one in held)
      text = key if len(key) == 1 and not modifiers & 3 else ''
      if key == 'Enter':
        text = '\r'
      for kind in ('keyDown', 'keyUp'):
        self.browser.devtools(
          'Input.dispatchKeyEvent', type=kind, key=key, modifiers=modifiers,
          **({'text': text} if text and kind == 'keyDown' else {}),
        )  # fmt: skip

  def mouse(self, kind, x, y, **more):
    self.browser.devtools(
      'Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left',
      clickCount=1, buttons=1, **more,
    )  # fmt: skip

  def drag(self, start, end, **more):
    self.mouse('mousePressed', *start, **more)
    for share in (0.5, 1.0):
      self.mouse(
        'mouseMoved',
        *(a + share * (b - a) for a, b in zip(start, end)),
        **more,
      )
    self.mouse('mouseReleased', *end, **more)

  def settled(self):
    """Waits until all that was asked of the server was answered."""
    self.run('window.settled = false; app.doing.then(() => api.queue)'
             '.then(() => setTimeout(() => '
             '{ window.settled = true; }, 30))')  # fmt: skip
    self.wait('return window.settled')

  def actions(self):
    """What is in the journal on disk, as (action, what it is about)."""
    self.settled()
    lines = pathlib.Path(f'{self.output}.journal').read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]

  def last(self):
    return self.actions()[-1]

  def item(self, key=None):
    self.settled()
    return self.run(
      'const item = arguments[0] ? app.recording.items.get(arguments[0]) '
      ': app.selectedItem(); return item || null',
      key,
    )

  def clean(self):
    assert self.browser.console() == []
