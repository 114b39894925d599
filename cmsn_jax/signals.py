"""Signals that mean something else for a while."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

# Ctrl-C from people, and what schedulers and services send.
ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def handled(
  handler: Callable[[int, FrameType | None], object],
  numbers: tuple[int, ...] = ENDING,
) -> Iterator[None]:
  """In the block these signals call `handler`, then what they did before.

  Outside the main thread signals are not ours to take: nothing changes.

  Args:
    handler: called with the signal's number and the frame that it came in.
    numbers: of the signals.
  """
  before = {}
  try:
    for number in numbers:
      before[number] = signal.signal(number, handler)
  except ValueError:
    pass
  try:
    yield
  finally:
    for number, earlier in before.items():
      signal.signal(number, earlier)
