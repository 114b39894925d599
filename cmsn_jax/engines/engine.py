"""Which workers a run over many videos has: none but this process, or a pool."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from cmsn_jax.engines import dealing, devices, jobs, local, on_ray

NAMES = ('local', 'ray')


class Settings(NamedTuple):
  """What a user says of the workers.

  Attributes:
    name: 'local': processes of this machine; 'ray': actors of a cluster.
    workers: how many; 0: one a device, which is this process where there is one.
    cores: CPU cores of a worker, which computes on no more. 0: 'ray' gives it
      two, but as it computes with as many threads as one process would, so
      that results are the same to the last bit.
    address: of the Ray cluster.
    tries: how often a video is tried whose worker is lost.
    gpus: of this machine, as `devices.gpus` names them.
  """

  name: str = 'local'
  workers: int = 0
  cores: int = 0
  address: str = 'auto'
  tries: int = 3
  gpus: tuple[str, ...] = ()

  def check(self) -> None:
    """Raises ValueError on settings that cannot be."""
    if self.name not in NAMES:
      raise ValueError(f'--engine must be one of {NAMES}, got {self.name!r}')
    for flag, value, least in (
      ('workers', self.workers, 0),
      ('worker_cores', self.cores, 0),
      ('tries', self.tries, 1),
    ):
      if value < least:
        raise ValueError(f'--{flag} must be at least {least}, got {value}')

  def in_place(self) -> bool:
    """Whether this process does all the work itself."""
    if self.name != 'local':
      return False
    return (self.workers or len(self.gpus)) <= 1


IN_PLACE = Settings(workers=1)


def outcomes(
  settings: Settings,
  seconds: Mapping[str, float],
  here: Callable[[], jobs.Worker],
  job: Callable[[], jobs.Job],
  on_seconds: jobs.OnSeconds,
  batch_sec: float = 0.0,
) -> Iterator[jobs.Outcome]:
  """Yields what becomes of videos, worked on in this process or by a pool.

  Args:
    settings: the workers.
    seconds: of each video.
    here: makes the worker of this process; it is closed where it has to be.
    job: of the pool's workers; made only if there is one.
    on_seconds: called with a video and the seconds of it that are reached.
    batch_sec: see `dealing.deal`.

  Raises:
    ValueError: see `pool`; so are others.
    dealing.EngineError: if no worker is left.
  """
  if settings.in_place() or not seconds:
    with jobs.closing(here()) as worker:
      yield from worker.run([*seconds], on_seconds)
    return
  with pool(settings, job()) as workers:
    yield from dealing.deal(
      seconds, workers, tries=settings.tries, batch_sec=batch_sec,
      on_seconds=on_seconds,
    )  # fmt: skip


def pool(settings: Settings, job: jobs.Job) -> dealing.Pool:
  """Workers for a job, not in place.

  Raises:
    ValueError: if the job cannot travel, or Ray is not installed.
    ConnectionError: if there is no Ray cluster at the address.
  """
  content = jobs.packed(job)
  if settings.name == 'ray':
    return on_ray.Actors(
      content, settings.address, settings.workers, settings.cores
    )
  names, count = settings.gpus, settings.workers or len(settings.gpus)
  if not names:
    environments = [devices.own_environment(settings.cores)] * count
    return local.Processes(content, environments)
  sharing = -(-count // len(names))
  used = [names[k % len(names)] for k in range(count)]
  return local.Processes(
    content,
    [devices.own_environment(settings.cores, g, sharing) for g in used],
    [f'GPU {g}, process {k + 1}' for k, g in enumerate(used)],
  )
