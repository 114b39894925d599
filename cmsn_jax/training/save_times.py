"""When a run saves: often enough to lose little, seldom enough to cost little."""

import time
from collections.abc import Callable

import jax
import numpy as np

from cmsn_jax import processes

# A save may cost this share of the time since the last one (2 %).
_SHARE = 0.02
# Not more often than this, however cheap it is.
_LEAST_SEC = 5.0
# Steps after which a step's time is known: the first one compiles.
_WARM = 4


class SaveTimes:
  """Asked after every step; all processes come to the same answer.

  Args:
    every_sec: seconds that are lost at most; 0: never by time.
    clock: seconds.
  """

  def __init__(
    self, every_sec: float | int, clock: Callable[[], float] = time.monotonic
  ):
    self._every, self._clock = every_sec, clock
    self._interval = every_sec
    self._last = clock()
    self._steps = 0
    self._at = None

  def due(self) -> bool:
    """Whether to save after this step."""
    self._steps += 1
    if not self._every:
      return False
    if jax.process_count() == 1:
      return self._clock() - self._last >= self._interval
    return self._planned()

  def saved(self, cost_sec: float | int) -> None:
    """Tells of a save, and what it held up.

    Args:
      cost_sec: seconds that training stood still for it.
    """
    bound = max(_LEAST_SEC, cost_sec / _SHARE)
    self._interval = min(self._every, bound)
    self._last, self._at = self._clock(), None
    self._steps = 0

  def _planned(self):
    """Clocks of processes differ: the first one's decides, a save ahead."""
    if self._at is None:
      if self._steps < _WARM:
        return False
      seconds = max(self._clock() - self._last, 1e-6) / self._steps
      # A half: steps may become slower before the next plan.
      steps = max(1, int(self._interval / seconds / 2))
      own = {'steps': np.int64(steps)} if jax.process_index() == 0 else {}
      self._at = self._steps + int(processes.gather(own)['steps'])
    return self._steps >= self._at
