"""Who extracts one video after the other into a folder; and how it travels."""

import copy
import dataclasses
import errno
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cmsn_jax.engines import jobs
from cmsn_jax.features import kept_rows, video_features
from cmsn_jax.video import reader as video_reader
from cmsn_jax.video import video_files

# Longer videos are extracted by themselves: a stop then loses no more of them
# than a window, and what packing them with others would gain is little.
_LONG_SEC = 300.0
# Short ones follow each other through one stream of frames, whose end costs as
# much as some 4 s of video; a worker is given so much at a time.
BATCH_SEC = 60.0


class Made(NamedTuple):
  """What an extraction took.

  Attributes:
    video_sec: seconds of the video.
    clock: where the time went since the outcome before.
  """

  video_sec: float
  clock: video_features.Clock


class Extracting:
  """Extracts videos into a folder; a `jobs.Worker`.

  Args:
    kept: the folder.
    videos: files by id.
    seconds: of each.
    allow_damage: read through damage, with a warning.
  """

  def __init__(
    self,
    kept: kept_rows.KeptRows,
    videos: Mapping[str, os.PathLike],
    seconds: Mapping[str, float],
    allow_damage: bool | None,
  ):
    self._kept, self._videos, self._seconds = kept, videos, seconds
    self._reader = video_reader.VideoReader()
    self._options = {'reader': self._reader, 'allow_damage': allow_damage}

  def close(self) -> None:
    """Ends the process that decodes."""
    self._reader.close()

  def run(
    self, video_ids: Sequence[str], on_seconds: jobs.OnSeconds
  ) -> Iterator[jobs.Outcome]:
    """Yields outcomes whose values are `Made`.

    Raises:
      OSError: when the disk is full: no other video would fit either.
    """
    short = {}
    for video_id in video_ids:
      if self._seconds[video_id] > _LONG_SEC or self._kept.is_begun(video_id):
        yield self._long(video_id, on_seconds)
      else:
        short[video_id] = self._videos[video_id]
    yield from self._short(short, on_seconds)

  def _long(self, video_id, on_seconds):
    """By itself, so that a stop loses a part of it only."""
    clock, meter = video_features.Clock(), self._meter(on_seconds)
    meter.start(video_id)
    try:
      self._kept.extract(
        video_id, self._videos[video_id], clock=clock, on_frames=meter.add,
        **self._options,
      )  # fmt: skip
    except (ValueError, OSError) as error:
      if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
        raise
      return jobs.Outcome(video_id, None, str(error))
    fps = self._kept.features.extractor.fps
    return jobs.Outcome(video_id, Made(clock.frames / fps, clock))

  def _short(self, videos, on_seconds):
    fps = self._kept.features.extractor.fps
    clock, meter = video_features.Clock(), self._meter(on_seconds)
    extracted = self._kept.features.extract_all(
      videos,
      clock=clock,
      on_video=meter.start,
      on_frames=meter.add,
      **self._options,
    )
    for video_id, rows, error, num_frames in extracted:
      if rows is None:
        yield jobs.Outcome(video_id, None, str(error))
        continue
      self._kept.write(video_id, videos[video_id], rows)
      made = Made(num_frames / fps, copy.copy(clock))
      for field in dataclasses.fields(clock):
        setattr(clock, field.name, 0)
      yield jobs.Outcome(video_id, made)

  def _meter(self, on_seconds):
    return _Meter(self._kept.features.extractor.fps, on_seconds)


class _Meter:
  """Frames of the video that is read, as seconds."""

  def __init__(self, fps, on_seconds):
    self._fps, self._on_seconds = fps, on_seconds

  def start(self, video_id):
    self._video_id, self._frames = video_id, 0

  def add(self, count):
    self._frames += count
    self._on_seconds(self._video_id, self._frames / self._fps)


@dataclasses.dataclass(frozen=True)
class Job:
  """An extraction, to be sent to a worker; a `jobs.Job`.

  Attributes:
    record: of the extractor, which each worker makes again.
    folder: of the features, the same for all workers.
    videos: files by id.
    seconds: of each.
    allow_damage: read through damage in videos.
  """

  record: dict[str, Any]
  folder: pathlib.Path
  videos: Mapping[str, os.PathLike]
  seconds: Mapping[str, float]
  allow_damage: bool

  def start(self) -> Extracting:
    """Makes the extractor.

    Raises:
      ValueError: where it comes out otherwise than at home, with other weights.
    """
    made = video_features.from_record(self.record, str(self.folder))
    kept = kept_rows.KeptRows(self.folder, made)
    return Extracting(kept, self.videos, self.seconds, self.allow_damage)


def job(
  kept: kept_rows.KeptRows,
  videos: Mapping[str, os.PathLike],
  seconds: Mapping[str, float],
  allow_damage: bool | None,
) -> Job:
  """An extraction as it travels; see `Job`.

  Raises:
    ValueError: if its extractor was made by hand, not from a config.
  """
  if kept.features.config is None:
    raise ValueError(
      'an extractor that was not made from a config cannot be sent to other '
      'processes; use one worker'
    )
  return Job(
    kept.features.record,
    kept.folder.absolute(),
    {key: video_files.absolute(path) for key, path in videos.items()},
    dict(seconds),
    video_files.damage_allowed(allow_damage),
  )
