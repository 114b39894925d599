"""Videos are dealt to workers as these come free; a lost worker costs nothing.

The longest go first, so that all workers end at about one time; short ones go
several at once, fewer the less is left. What a worker that died was given is
tried again, elsewhere where there is an elsewhere, and so often at most.
"""

import abc
import collections
import errno
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from absl import logging

from cmsn_jax.engines import jobs

# A worker is given at most this share of what is left, divided by the workers,
# and at most so many videos: the last ones end at about one time.
_SHARE = 1 / 4
_MOST_VIDEOS = 32
# Where a worker could not be started so often, none is started any more.
_FAILED_STARTS = 3
_TICK_SEC = 1.0


class EngineError(RuntimeError):
  """There is nobody left to work."""


class Finished(NamedTuple):
  """A worker is done with its batch, or ready for its first one.

  Attributes:
    slot: of the worker.
    outcomes: of the videos of the batch.
  """

  slot: Hashable
  outcomes: Sequence[jobs.Outcome] = ()


class Lost(NamedTuple):
  """A worker has died, or raised.

  Attributes:
    slot: of the worker.
    why: for the user.
    error: that it raised, where it did.
  """

  slot: Hashable
  why: str
  error: BaseException | None = None


class Pool(abc.ABC):
  """Workers by slot: a place for one worker, such as a GPU of a machine.

  A slot whose worker is lost gets another one. Where workers do not even
  start, the slot is given up.

  Attributes:
    patience_sec: how long to wait where there is no slot at all.
  """

  patience_sec = 0.0

  def __init__(self):
    self._ready: dict[Hashable, bool] = {}
    self._failed = collections.Counter()
    self.problem = ''

  @abc.abstractmethod
  def slots(self) -> Sequence[Hashable]:
    """Where workers can be now, which may change at any time."""

  @abc.abstractmethod
  def start(self, slot: Hashable) -> None:
    """Starts a worker; `Finished` or `Lost` says what became of that."""

  @abc.abstractmethod
  def send(self, slot: Hashable, video_ids: Sequence[str]) -> None:
    """Gives a worker that is ready a batch."""

  @abc.abstractmethod
  def wait(self, timeout_sec: float) -> list[Finished | Lost]:
    """What has happened; waits for the first, so long at most."""

  @abc.abstractmethod
  def reached(self) -> dict[str, float]:
    """Seconds reached of videos that are worked on."""

  @abc.abstractmethod
  def close(self) -> None:
    """Ends all workers."""

  def place(self, slot: Hashable) -> Hashable:
    """The machine of a slot; the slot itself where that is all one."""
    return slot

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  @property
  def workers(self) -> tuple[Hashable, ...]:
    """Slots with a worker that is ready or starts."""
    return tuple(self._ready)

  def grow(self, most: int) -> bool:
    """Starts workers where there is room, until there are `most`.

    Returns:
      whether a worker is there, or may still come.
    """
    slots = self.slots()
    usable = [s for s in slots if self._failed[s] < _FAILED_STARTS]
    for slot in usable:
      if len(self._ready) >= most:
        break
      if slot not in self._ready:
        self._ready[slot] = False
        self.start(slot)
    return bool(self._ready or usable or not slots)

  def events(self, timeout_sec: float) -> list[Finished | Lost]:
    """As `wait`, and keeps account of the workers."""
    found = self.wait(timeout_sec)
    for event in found:
      if isinstance(event, Finished):
        self._ready[event.slot] = True
        self._failed.pop(event.slot, None)
        continue
      if not self._ready.pop(event.slot, True):
        self._failed[event.slot] += 1
      self.problem = event.why
      logging.warning('a worker is lost (%s): %s', event.slot, event.why)
    return found

  def is_ready(self, slot: Hashable) -> bool:
    """Whether a worker there can be given something."""
    return self._ready.get(slot, False)


def deal(
  seconds: Mapping[str, float | int],
  pool: Pool,
  *,
  tries: int = 3,
  batch_sec: float = 0.0,
  on_seconds: jobs.OnSeconds | None = None,
) -> Iterator[jobs.Outcome]:
  """Yields the outcome of every video once, in the order in which they end.

  Args:
    seconds: of each video; any measure of its work will do.
    pool: the workers.
    tries: how often a video is tried whose worker is lost.
    batch_sec: what a batch of several videos should have, where every batch
      has a cost of its own; less where else workers would have none.
    on_seconds: told how far the videos are that are worked on.

  Raises:
    EngineError: if no worker is left and none can be started.
    OSError: if a disk is full: no other video would fit either.
  """
  if tries < 1:
    raise ValueError(f'tries must be at least 1, got {tries}')
  hands = _Hands(seconds, pool, batch_sec)
  seen = time.monotonic()
  while hands.left or hands.busy:
    may_come = pool.grow(len(hands.left) + len(hands.busy))
    if pool.workers:
      seen = time.monotonic()
    elif not may_come or time.monotonic() - seen > pool.patience_sec:
      raise EngineError(
        f'no worker is left for {len(hands.left)} videos: '
        f'{pool.problem or "there is no place for one"}'
      )
    hands.give()
    for event in pool.events(_TICK_SEC):
      yield from hands.take(event, tries)
    if on_seconds is not None:
      for video_id, second in pool.reached().items():
        on_seconds(video_id, second)


class _Hands:
  """What is left, and who has what."""

  def __init__(self, seconds, pool, batch_sec):
    self._seconds, self._pool = seconds, pool
    self._batch_sec, self._total = batch_sec, sum(seconds.values())
    self.left = sorted(seconds, key=lambda v: (-seconds[v], v))
    self.busy: dict[Hashable, list[str]] = {}
    self._tried = collections.Counter()
    self._died_at: dict[str, Hashable] = {}

  def give(self):
    for slot in self._pool.workers:
      if not self.left:
        return
      if slot not in self.busy and self._pool.is_ready(slot):
        batch = self._batch(slot)
        if batch:
          self.busy[slot] = batch
          self._pool.send(slot, batch)

  def take(self, event, tries):
    batch = self.busy.pop(event.slot, [])
    if isinstance(event, Finished):
      yield from event.outcomes
      return
    if getattr(event.error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
      raise event.error
    for video_id in batch:
      self._tried[video_id] += 1
      if self._tried[video_id] < tries:
        self._died_at[video_id] = self._pool.place(event.slot)
        self.left.append(video_id)
        continue
      times = 'time' if tries == 1 else 'times'
      yield jobs.Outcome(
        video_id, None,
        f'its worker was lost {tries} {times}, the last one: {event.why}',
      )  # fmt: skip
    self.left.sort(key=lambda v: (-self._seconds[v], v))

  def _batch(self, slot):
    """The longest that are left; what was tried before goes alone."""
    ready = [s for s in self._pool.workers if self._pool.is_ready(s)]
    places = {self._pool.place(s) for s in ready}
    here = self._pool.place(slot)
    workers = len(self._pool.workers)
    least = min(self._batch_sec, self._total / workers)
    aim = _SHARE * sum(self._seconds[v] for v in self.left) / workers
    aim = max(aim, least)
    batch, load = [], 0.0
    for video_id in list(self.left):
      if self._tried[video_id]:
        died_here = self._died_at[video_id] == here
        if batch or (died_here and len(places) > 1):
          continue
        self.left.remove(video_id)
        return [video_id]
      full = len(batch) >= _MOST_VIDEOS and load >= least
      if batch and (full or load + self._seconds[video_id] > aim):
        break
      batch.append(video_id)
      load += self._seconds[video_id]
    for video_id in batch:
      self.left.remove(video_id)
    return batch
