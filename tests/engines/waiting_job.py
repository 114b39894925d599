"""A job whose worker sleeps, dies or fails as the names of its videos say."""

import dataclasses
import errno
import os
import pathlib
import signal
import time

from cmsn_jax.engines import jobs


@dataclasses.dataclass(frozen=True)
class WaitingJob:
  """Each video's value is the process that made it.

  'bad...' cannot be read, 'poison...' kills its worker, 'once...' does so the
  first time, 'raises...' raises, 'full...' finds the disk full; others sleep
  `sleep_sec`. A file per attempt is left in `folder`.
  """

  folder: pathlib.Path
  sleep_sec: float = 0.0
  start_error: str = ''

  def start(self):
    if self.start_error:
      raise ValueError(self.start_error)
    return self

  def run(self, video_ids, on_seconds):
    for video_id in video_ids:
      name = f'{video_id}-{os.getpid()}-{time.time_ns()}'
      tried = any(self.folder.glob(f'{video_id}-*'))
      (self.folder / name).write_text('')
      if video_id.startswith('poison') or (
        video_id.startswith('once') and not tried
      ):
        os.kill(os.getpid(), signal.SIGKILL)
      if video_id.startswith('raises'):
        raise RuntimeError(f'{video_id} is beyond me')
      if video_id.startswith('full'):
        raise OSError(errno.ENOSPC, 'No space left on device')
      if video_id.startswith('bad'):
        yield jobs.Outcome(video_id, None, f'{video_id} is no video')
        continue
      on_seconds(video_id, 0.5)
      time.sleep(self.sleep_sec)
      yield jobs.Outcome(video_id, os.getpid())

  def attempts(self, video_id):
    """How often a video was begun."""
    return len(list(self.folder.glob(f'{video_id}-*')))
