"""Decoding many videos into a frame store: resumable, in parallel, reported."""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import os
import pathlib
import queue
import shutil
import threading
import warnings
from collections.abc import Mapping

from absl import logging

from cmsn_jax import progress as progress_lib
from cmsn_jax.files import video_ids
from cmsn_jax.video import decoding, frame_store
from cmsn_jax.video import reader as video_reader


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a build will do, known before anything is decoded.

  Attributes:
    to_decode: frames by video that is not in the store yet.
    present: videos that are.
    unusable: what is wrong, by video that cannot even be opened.
    needed_bytes: disk space that `to_decode` will take, about.
    free_bytes: disk space that is free.
  """

  to_decode: dict[str, int]
  present: tuple[str, ...]
  unusable: dict[str, str]
  needed_bytes: int
  free_bytes: int

  def __str__(self):
    frames = sum(self.to_decode.values())
    return (
      f'{len(self.to_decode)} videos to decode ({frames} frames, about '
      f'{self.needed_bytes / 1e9:.2f} GB of {self.free_bytes / 1e9:.1f} GB '
      f'free), {len(self.present)} done already, {len(self.unusable)} unusable'
    )


@dataclasses.dataclass(frozen=True)
class Report:
  """What a build did.

  Attributes:
    decoded: frames by video newly in the store.
    present: videos that were there before.
    failed: the error's words by video that is not in the store.
  """

  decoded: dict[str, int]
  present: tuple[str, ...]
  failed: dict[str, str]


class _Stopped(Exception):
  """Another video ended the build."""


def plan(
  folder: str | os.PathLike,
  videos: Mapping[str, str | os.PathLike],
  frames_format: frame_store.Format,
  allow_damage: bool | None = None,
) -> Plan:
  """Looks at every video's header and says what `build` would do."""
  folder = pathlib.Path(folder)
  to_decode, present, unusable = {}, [], {}
  for video_id, path in videos.items():
    problem = video_ids.problem(video_id)
    if problem:
      raise ValueError(
        f'video id {video_ids.shown(video_id)} {problem}; rename {path}'
      )
    if _is_done(folder, video_id, path):
      present.append(video_id)
      continue
    try:
      info = decoding.probe(path, allow_damage)
      to_decode[video_id] = info.num_frames_at(frames_format.fps)
    except decoding.VideoError as error:
      unusable[video_id] = str(error)
  existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
  return Plan(
    to_decode=to_decode,
    present=tuple(present),
    unusable=unusable,
    needed_bytes=sum(to_decode.values()) * frames_format.bytes_per_frame(),
    free_bytes=shutil.disk_usage(existing).free,
  )


def build(
  folder: str | os.PathLike,
  videos: Mapping[str, str | os.PathLike],
  frames_format: frame_store.Format | None = None,
  *,
  num_workers: int | None = None,
  allow_damage: bool | None = None,
  progress: bool = True,
) -> Report:
  """Decodes every video that the store does not have yet.

  Interrupted, it goes on with the next video when called again. The files do
  not depend on the number of workers.

  Args:
    folder: of the store; made if absent.
    videos: file by video id.
    frames_format: rate, size, encoding; None takes `frame_store.Format()`.
    num_workers: videos decoded at a time, a process each; None: one a core.
    allow_damage: store what can be decoded of damaged videos, with a warning.
    progress: show a bar.

  Returns:
    what was done; videos that could not be decoded are in `failed`, and an
    error is logged for each.

  Raises:
    FrameStoreError: a store of another format, or another build at work.
    OSError: not enough disk space.
  """
  folder = pathlib.Path(folder)
  frames_format = frames_format or frame_store.Format()
  frame_store.write_format(folder, frames_format)
  planned = plan(folder, videos, frames_format, allow_damage)
  logging.info('%s: %s', folder, planned)
  failed = dict(planned.unusable)
  for words in failed.values():
    logging.error('left out: %s', words)
  # Any number of processes may look at once.
  if not planned.to_decode and not any(folder.glob('*.tmp')):
    return Report({}, planned.present, failed)
  with _only_one(folder):
    for leftover in folder.glob('*.tmp'):
      leftover.unlink()
    _check_space(folder, planned)
    decoded = _decode_all(
      folder, videos, frames_format, planned, failed,
      num_workers or os.cpu_count() or 1, allow_damage, progress,
    )  # fmt: skip
  return Report(decoded, planned.present, failed)


def _decode_all(
  folder, videos, frames_format, planned, failed, num_workers, allow_damage,
  progress,
):  # fmt: skip
  """Decodes what is planned, longest first; fills `failed`."""
  decoded = {}
  order = sorted(planned.to_decode, key=planned.to_decode.get, reverse=True)
  stop = threading.Event()
  bar = progress_lib.bar(
    total=sum(planned.to_decode.values()),
    unit='frames',
    unit_scale=True,
    quiet=not progress,
    desc='decoding',
  )
  readers = queue.SimpleQueue()

  def decode(video_id):
    if stop.is_set():
      return None
    reader = readers.get()
    try:
      chunks = reader.frames(
        videos[video_id],
        fps=frames_format.fps,
        size=frames_format.size,
        allow_damage=allow_damage,
      )
      return _write(
        folder, video_id, videos[video_id], frames_format,
        _watched(chunks, bar, stop),
      )  # fmt: skip
    except decoding.VideoError:
      raise
    except BaseException:
      # Not by who waits for it: this worker would have begun with the next video.
      stop.set()
      raise
    finally:
      readers.put(reader)

  with bar, contextlib.ExitStack() as stack:
    for _ in range(num_workers):
      reader = video_reader.VideoReader(prefetch_frames=128)
      readers.put(stack.enter_context(reader))
    pool = stack.enter_context(
      concurrent.futures.ThreadPoolExecutor(num_workers)
    )
    try:
      jobs = {pool.submit(decode, video_id): video_id for video_id in order}
      for job in concurrent.futures.as_completed(jobs):
        video_id = jobs[job]
        try:
          decoded[video_id] = job.result()
        except decoding.VideoError as error:
          failed[video_id] = str(error)
          logging.error('left out: %s', error)
        except _Stopped:
          continue  # What ended the build is still to come.
    except BaseException:  # Ctrl-C ends the workers too, as a full disk does
      stop.set()
      raise
  return {video_id: decoded[video_id] for video_id in sorted(decoded)}


def _watched(chunks, bar, stop):
  for chunk in chunks:
    if stop.is_set():
      raise _Stopped
    yield chunk
    bar.update(len(chunk))


def _write(folder, video_id, path, frames_format, chunks) -> int:
  return frame_store.write_video(
    folder / f'{video_id}{frame_store.SUFFIX}',
    chunks,
    frames_format,
    {'source': os.path.basename(path), 'source_bytes': os.path.getsize(path)},
  )


def _is_done(folder, video_id, path) -> bool:
  """Whether the store has this very video; says why where it must go."""
  target = folder / f'{video_id}{frame_store.SUFFIX}'
  if not target.exists():
    return False
  try:
    _, _, description = frame_store.read_index(target)
  except frame_store.FrameStoreError:
    warnings.warn(f'{target}: damaged, decoding it again', stacklevel=3)
    return False
  if os.path.exists(path) and (
    description['source_bytes'] != os.path.getsize(path)
  ):
    warnings.warn(
      f'{target}: {path} has changed since, decoding it again', stacklevel=3
    )
    return False
  return True


def _check_space(folder, planned):
  if planned.needed_bytes > planned.free_bytes:
    raise OSError(
      f'{folder}: about {planned.needed_bytes / 1e9:.1f} GB are needed for '
      f'{len(planned.to_decode)} videos, {planned.free_bytes / 1e9:.1f} GB are '
      'free; choose another disk, a lower quality or a smaller size'
    )


@contextlib.contextmanager
def _only_one(folder: pathlib.Path):
  """Two builds in one folder would write the same temporary files."""
  with open(folder / '.lock', 'w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise frame_store.FrameStoreError(
        f'{folder}: another process is building this store; wait for it'
      ) from None
    yield
