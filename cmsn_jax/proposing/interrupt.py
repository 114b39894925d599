"""Being asked to end a recording: Ctrl-C from people, SIGTERM from services."""

import signal
from collections.abc import Iterable, Iterator
from typing import Any


class Interrupt:
  """What is waited for ends when asked; what is being worked on is finished.

  While it is entered, SIGINT and SIGTERM end the items of `until_asked`, in
  the middle of waiting if need be. A second signal ends at once, by
  KeyboardInterrupt.
  """

  def __init__(self):
    self._asked = self._waiting = False
    self._before = {}

  def until_asked(self, items: Iterable[Any]) -> Iterator[Any]:
    """Yields the items up to when a signal comes."""
    items = iter(items)
    while not self._asked:
      self._waiting = True
      try:
        item = next(items)
      except (StopIteration, KeyboardInterrupt):
        return
      finally:
        self._waiting = False
      yield item

  def __enter__(self):
    try:
      for number in (signal.SIGINT, signal.SIGTERM):
        self._before[number] = signal.signal(number, self._handle)
    except ValueError:  # Not the main thread: signals are not ours to take.
      pass
    return self

  def __exit__(self, *_: Any):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _handle(self, number, frame):
    del number, frame
    before, self._asked = self._asked, True
    if self._waiting or before:
      raise KeyboardInterrupt
