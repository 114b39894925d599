"""Being asked to stop: SIGTERM from schedulers, Ctrl-C from people."""

import os
import signal
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils

from cmsn_jax import signals


class StopSignal:
  """Remembers that SIGTERM or SIGINT came; a second SIGINT ends at once.

  Of several processes, one may be told before the others, or it alone. JAX
  has them all agree on the step at which to stop; it hears SIGTERM itself.
  """

  def __init__(self):
    self._requested = False
    self._calls = 0

  def reached(self) -> bool:
    """Whether to stop after this step; to be asked once a step."""
    self._calls += 1
    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(self._calls)
    return self._requested

  def __enter__(self):
    alone = jax.process_count() == 1
    numbers = signals.ENDING if alone else (signal.SIGINT,)
    self._signals = signals.handled(self._handle, numbers)
    self._signals.__enter__()
    return self

  def __exit__(self, *error: Any):
    self._signals.__exit__(*error)

  def _handle(self, number, frame):
    del frame
    if self._requested and number == signal.SIGINT:
      raise KeyboardInterrupt
    self._requested = True
    logging.warning('stopping after this step (signal %d)', number)
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)  # For JAX to tell the others.
