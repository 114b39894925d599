"""Being asked to end a recording: Ctrl-C from people, SIGTERM from services."""

from collections.abc import Iterable, Iterator
from typing import Any

from cmsn_jax import signals


class Interrupt:
  """What is waited for ends when asked; what is being worked on is finished.

  While it is entered, SIGINT and SIGTERM end the items of `until_asked`, in
  the middle of waiting if need be. A second signal ends at once, by
  KeyboardInterrupt.
  """

  def __init__(self):
    self._asked = self._waiting = False
    self._signals = signals.handled(self._handle)

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
    self._signals.__enter__()
    return self

  def __exit__(self, *error: Any):
    self._signals.__exit__(*error)

  def _handle(self, number, frame):
    del number, frame
    before, self._asked = self._asked, True
    if self._waiting or before:
      raise KeyboardInterrupt
