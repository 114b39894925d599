"""What a worker does: the same in one process, in many, and on a cluster."""

import contextlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

# (video id, seconds reached) of a video that is worked on.
OnSeconds = Callable[[str, float], None]


class Outcome(NamedTuple):
  """What became of a video.

  Attributes:
    video_id: which.
    value: what was made; None where there is an error.
    error: why nothing was made, as it is shown to the user.
  """

  video_id: str
  value: Any
  error: str | None = None


@runtime_checkable
class Worker(Protocol):
  """Works on videos, in one process, one batch after the other."""

  def run(
    self, video_ids: Sequence[str], on_seconds: OnSeconds
  ) -> Iterator[Outcome]:
    """Yields the outcome of each video once, as it is known.

    A video that cannot be read is an outcome; what raises ends the worker.
    """


@runtime_checkable
class Job(Protocol):
  """Makes workers; it travels to them, so it has to be picklable."""

  def start(self) -> Worker:
    """A worker, in the process that calls this."""


def packed(job: Job) -> bytes:
  """The job as bytes; `run_packed` unpacks them where a worker is.

  Raises:
    ValueError: if something in it cannot travel.
  """
  try:
    return pickle.dumps(job)
  except (pickle.PicklingError, AttributeError, TypeError) as error:
    raise ValueError(
      f'the work cannot be sent to other processes: {error}; use one worker '
      '(--engine=local --workers=1)'
    ) from error


def started(content: bytes) -> contextlib.AbstractContextManager[Worker]:
  """A worker of a packed job; see `closing`."""
  return closing(pickle.loads(content).start())


@contextlib.contextmanager
def closing(worker: Worker) -> Iterator[Worker]:
  """The worker, closed in the end where it has to be."""
  try:
    yield worker
  finally:
    getattr(worker, 'close', lambda: None)()
