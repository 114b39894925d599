"""The one thread that computes: what waits is proposed for in one pass.

Batches of the paper chain's windows run across videos, so several short
requests cost little more than one; a lone one waits for nobody.
"""

import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

from cmsn_jax.chains import prediction
from cmsn_jax.data import sources
from cmsn_jax.proposing import inputs
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.serving import counts as counts_lib
from cmsn_jax.suppression import final_list

# Requests of one pass: as many as a batch of the paper chain has windows.
_TOGETHER = 8


class RefusedError(ValueError):
  """An input that cannot be proposed for; the message says why."""


@dataclasses.dataclass
class Job:
  """One request.

  Attributes:
    features: its source, of one video; None: it is a video.
    path: of the video, where it is one.
    deadline: `time.monotonic()` after which nobody waits for it.
    labels: see `prediction.Prediction.rows`.
    answer: gets the proposals.
  """

  features: sources.Source | None
  path: str
  deadline: float
  labels: str = 'best'
  taken: float = dataclasses.field(default_factory=time.monotonic)
  answer: futures.Future = dataclasses.field(default_factory=futures.Future)

  def expired(self) -> bool:
    """Whether nobody waits for it any more."""
    return time.monotonic() > self.deadline or self.answer.cancelled()


class Worker:
  """Proposes for jobs, in a thread of its own.

  Args:
    trained: the model.
    settings: what each list is limited to.
    counts: gets what was done.
  """

  def __init__(
    self,
    trained: trained_lib.Trained,
    settings: final_list.Settings,
    counts: counts_lib.Counts,
  ):
    self._trained, self._settings, self._counts = trained, settings, counts
    self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    self._thread = threading.Thread(target=self._run, name='model', daemon=True)
    self._thread.start()

  def submit(self, job: Job) -> None:
    """Puts a job into the queue, whose length the caller limits."""
    self._jobs.put(job)

  def alive(self) -> bool:
    """Whether the thread runs."""
    return self._thread.is_alive()

  def close(self) -> None:
    """Finishes what was submitted."""
    self._jobs.put(None)
    self._thread.join()

  def _run(self):
    while True:
      jobs = [self._jobs.get()]
      with contextlib.suppress(queue.Empty):
        while len(jobs) < _TOGETHER and jobs[-1] is not None:
          jobs.append(self._jobs.get_nowait())
      closing = jobs[-1] is None
      for group in _groups(jobs[:-1] if closing else jobs):
        self._pass(group)
      if closing:
        return

  def _pass(self, jobs):
    """Answers jobs: features of several, or one video."""
    self._counts.passed()
    try:
      if jobs[0].features is None:
        self._video(jobs[0])
      else:
        self._features(jobs)
    except Exception as error:
      # Whatever it was, the next request is another one.
      if not isinstance(error, RefusedError | TimeoutError):
        logging.getLogger(__name__).exception('a pass failed')
      for job in jobs:
        _fail(job, error)

  def _features(self, jobs):
    named = {str(number): job for number, job in enumerate(jobs)}
    source = _Together(named)
    self._propose(
      source,
      named,
      {key: source.num_snippets(key) / source.feature_fps for key in named},
    )

  def _video(self, job):
    failures: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
      try:
        opened = inputs.open_source(
          self._trained, job.path, None, failures, stack
        )
      except (ValueError, OSError) as error:
        raise RefusedError(str(error)) from error
      if failures:
        raise RefusedError(next(iter(failures.values())))
      ((key, seconds),) = opened.seconds.items()
      source = _Timed(opened.source, job)
      self._propose(source, {key: job}, {key: seconds})

  def _propose(self, source, named, seconds):
    def refuse(key, message):
      job = named[key]
      _fail(job, TimeoutError() if job.expired() else RefusedError(message))

    found = self._trained.predictor.propose(source, list(named), refuse)
    for key, one in found:
      job = named[key]
      proposals = limited(one, seconds[key], self._settings).rows(job.labels)
      # Counted before it is known to the one who waits.
      self._counts.proposed(time.monotonic() - job.taken)
      with contextlib.suppress(futures.InvalidStateError):
        job.answer.set_result(proposals)


def limited(
  found: prediction.Prediction, seconds: float, settings: final_list.Settings
) -> prediction.Prediction:
  """A video's list, as launch.propose limits it."""
  if settings == final_list.NO_LIMITS:
    return found
  one = found.proposals
  return found.take(
    final_list.select(one.segments, one.scores, seconds, settings)
  )


def _groups(jobs) -> Iterator[list[Job]]:
  """Jobs that are done in one pass; nothing for those nobody waits for."""
  together = []
  for job in jobs:
    if job.expired():
      _fail(job, TimeoutError())
    elif job.features is None:
      yield [job]
    else:
      together.append(job)
  if together:
    yield together


def _fail(job, error):
  with contextlib.suppress(futures.InvalidStateError):
    job.answer.set_exception(error)


class _Timed:
  """A source that is read until nobody waits for its job."""

  def __init__(self, source, job):
    self._source, self._job = source, job
    self.feature_fps = source.feature_fps
    self.snippet_shape = source.snippet_shape

  def num_snippets(self, video_id: str) -> int:
    return self._source.num_snippets(video_id)

  def clock(self, video_id: str) -> Any:
    return sources.clock(self._source, video_id)

  def read(self, video_id: str, start: int, stop: int) -> Any:
    if self._job.expired():
      raise TimeoutError('nobody waits any more')
    return self._source.read(video_id, start, stop)


class _Together:
  """Sources of one video each, as one of all of them."""

  def __init__(self, named: dict[str, Job]):
    self._own = {key: _Timed(job.features, job) for key, job in named.items()}
    self._names = {key: job.features.ids[0] for key, job in named.items()}
    first = next(iter(self._own.values()))
    self.feature_fps = first.feature_fps
    self.snippet_shape = first.snippet_shape

  def num_snippets(self, video_id: str) -> int:
    return self._own[video_id].num_snippets(self._names[video_id])

  def clock(self, video_id: str) -> Any:
    return self._own[video_id].clock(self._names[video_id])

  def read(self, video_id: str, start: int, stop: int) -> Any:
    return self._own[video_id].read(self._names[video_id], start, stop)
