"""Observations of several media files: events into the recordings of each.

An observation may be of several media files, one after the other: its times
run on from file to file, and are cut into the files here.
"""

import dataclasses
from collections.abc import Sequence

from cmsn_jax.annotations import imported


@dataclasses.dataclass(frozen=True)
class Media:
  """A media file of an observation, and where in its time it begins."""

  name: str
  begin_sec: float | None
  duration_sec: float | None
  fps: float | None


def queue(
  names: Sequence[str],
  durations: Sequence[float | None],
  rates: Sequence[float | None],
) -> list[Media]:
  """The files of one player with their place in the observation.

  Args:
    names: of the files.
    durations: seconds; without one a number for each file they do not count.
    rates: frames a second, likewise.
  """
  begin: float | None = 0.0
  files = []
  for k, name in enumerate(names):
    duration = durations[k] if len(durations) == len(names) else None
    fps = rates[k] if len(rates) == len(names) else None
    files.append(Media(name, begin, duration, fps))
    begin = begin + duration if begin is not None and duration else None
  return files


class Observation:
  """Puts an observation's events into the recordings of its media.

  Args:
    result: takes them.
    options: of the import.
    name: of the observation; its recording where there are no files.
    files: of its media, in order.
    where: what says so.
  """

  def __init__(
    self,
    result: imported.Imported,
    options: imported.Options,
    name: str,
    files: list[Media],
    where: str,
  ):
    self._result, self._options = result, options
    self._queue = files or [Media(name, 0.0, None, None)]
    for media in self._queue:
      result.state(
        media.name, where, duration_sec=media.duration_sec, fps=media.fps
      )

  def _place(self, at: float, where: str) -> Media | None:
    """The media file that shows a moment."""
    if len(self._queue) == 1:
      return self._queue[0]
    if any(media.begin_sec is None for media in self._queue):
      self._result.bad.append(
        f'{where}: the observation is of {len(self._queue)} media files, whose '
        'durations the file does not say: export with the media durations, or '
        'give the .boris project'
      )
      return None
    for media in reversed(self._queue):
      if at >= media.begin_sec:
        return media
    return self._queue[0]

  def add(self, start: float, end: float, label: str, where: str) -> None:
    """An event, cut where one file ends and the next begins."""
    first, last = self._place(start, where), self._place(end, where)
    if first is None or last is None:
      return
    if last.begin_sec == end and last is not first:
      last = self._queue[self._queue.index(last) - 1]
    if end < start:
      last = first
    between = self._queue[
      self._queue.index(first) : self._queue.index(last) + 1
    ]
    for media in between:
      begin = media.begin_sec or 0.0
      stop = end if media is last else begin + media.duration_sec
      self._result.add(
        media.name, max(start, begin) - begin, stop - begin, label, where
      )
    if len(between) > 1:
      kind = 'events that run on into the next media file were cut there'
      if kind not in self._result.notes:
        self._result.notes.append(kind)

  def add_point(self, at: float, label: str, where: str) -> None:
    """An event without duration."""
    media = self._place(at, where)
    if media is not None:
      begin = media.begin_sec or 0.0
      self._result.add_point(
        media.name, at - begin, label, where, self._options
      )
