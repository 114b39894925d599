"""Events that are logged as moments: a start, and later its stop."""

import collections

from cmsn_jax.annotations import imported


class Pairs:
  """Pairs starts with stops, in the order of the log.

  Args:
    result: whose `bad` gets starts without a stop and the other way.
  """

  def __init__(self, result: imported.Imported):
    self._result = result
    self._open = collections.defaultdict(list)

  def start(self, key: tuple, at: float | int, where: str) -> None:
    """An event begins; `key` says of what."""
    self._open[key].append((at, where))

  def stop(self, key: tuple, where: str) -> tuple[float | int, str] | None:
    """The start that a stop belongs to: (time, place), or None."""
    if not self._open[key]:
      self._result.bad.append(
        f'{where}: found the stop of {key[-1]!r}, no start'
      )
      return None
    return self._open[key].pop(0)

  def is_open(self, key: tuple) -> bool:
    """Whether an event of that kind has begun and not stopped."""
    return bool(self._open[key])

  def finish(self) -> None:
    """Whatever is still open has no stop."""
    for key, starts in self._open.items():
      for at, where in starts:
        self._result.bad.append(
          f'{where}: found the start of {key[-1]!r} at {at:g} s, no stop'
        )
