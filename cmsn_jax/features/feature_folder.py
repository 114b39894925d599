"""Videos → a folder of features: resumable, atomic, failures kept apart.

`<id>.npy` holds a video's features, `features.json` what they are. Every file
appears whole or not at all.
"""

import dataclasses
import functools
import pathlib
import time

from cmsn_jax import progress, sharding
from cmsn_jax.engines import engine as engine_lib
from cmsn_jax.features import extracting, kept_rows, video_features
from cmsn_jax.video import decoding


@dataclasses.dataclass
class Result:
  """What happened.

  Attributes:
    done: videos extracted now.
    skipped: videos whose features were there.
    failures: video id -> why it failed.
    clock: where the time went.
    video_sec: seconds of video extracted now.
  """

  done: list[str]
  skipped: list[str]
  failures: dict[str, str]
  clock: video_features.Clock
  video_sec: float = 0.0


def extract(
  features: video_features.VideoFeatures,
  videos: dict[str, pathlib.Path],
  output: pathlib.Path,
  *,
  allow_damage: bool | None = None,
  shard: tuple[int, int] = (0, 1),
  engine: engine_lib.Settings = engine_lib.IN_PLACE,
  quiet: bool = False,
) -> Result:
  """Extracts the features of all videos that have none yet.

  Args:
    features: the extractor with its frames and flow.
    videos: files by id.
    output: folder of the features; made where it is missing.
    allow_damage: read through damage in videos, with a warning.
    shard: (i, n): only the i-th of n parts, dealt out by duration.
    engine: the workers; the result is the same with any.
    quiet: show no progress.
  Returns:
    what happened to the part's videos; a video that cannot be read is a failure, not an error.
  Raises:
    ValueError: when the folder holds features of another extractor.
    dealing.EngineError: if no worker is left.
  """
  kept = kept_rows.KeptRows(output, features)
  if shard[1] > 1:
    # Done ones count too: every part must come to the same split at any time.
    unreadable = {}
    known = _durations(videos, unreadable, allow_damage)
    lengths = {**known, **dict.fromkeys(unreadable, 0.0)}
    videos = {key: videos[key] for key in sharding.share(lengths, *shard)}
  result = Result([], [], {}, video_features.Clock())
  missing = _missing(kept, videos, result)
  seconds = _durations(missing, result.failures, allow_damage)
  missing = {video_id: missing[video_id] for video_id in seconds}
  start = time.perf_counter()
  with _Bar(seconds, features.extractor, quiet) as bar:
    about = kept, missing, seconds, allow_damage
    for video_id, made, error in engine_lib.outcomes(
      engine,
      seconds,
      functools.partial(extracting.Extracting, *about),
      functools.partial(extracting.job, *about),
      bar.reached,
      extracting.BATCH_SEC,
    ):
      if error is not None:
        result.failures[video_id] = error
        continue
      result.done.append(video_id)
      result.video_sec += made.video_sec
      result.clock.add(made.clock)
  if not engine.in_place():
    # Of workers side by side; what each of them waited for adds up.
    result.clock.total_sec = time.perf_counter() - start
  return result


def _missing(kept, videos, result):
  """Videos that have no features yet; fills what is done and what failed."""
  missing = {}
  for video_id in sorted(videos):
    try:
      if kept.is_done(video_id, videos[video_id]):
        result.skipped.append(video_id)
      else:
        missing[video_id] = videos[video_id]
    except (ValueError, OSError) as error:
      result.failures[video_id] = str(error)
  return {key: missing[key] for key in videos if key in missing}


class _Bar:
  """Progress in seconds of video, and how that compares to real time."""

  def __init__(self, seconds: dict[str, float], extractor, quiet: bool):
    self._start = time.monotonic()
    self._reached = dict.fromkeys(seconds, 0.0)
    self._bar = progress.bar(
      total=round(float(sum(seconds.values())), 1),
      quiet=quiet,
      desc=extractor.name,
      unit='s of video',
      bar_format='{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s of '
      'video [{elapsed}<{remaining}{postfix}]',
    )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._bar.close()

  def reached(self, video_id: str, second: float) -> None:
    """Moves to a second of a video; what was reached before stays."""
    self._bar.update(max(0.0, second - self._reached[video_id]))
    self._reached[video_id] = max(second, self._reached[video_id])
    passed = max(time.monotonic() - self._start, 1e-9)
    self._bar.set_postfix_str(
      f'{self._bar.n / passed:.2f} x real time, {video_id}', refresh=False
    )


def summary(result: Result, features: video_features.VideoFeatures) -> str:
  """Returns what was done and how fast, in a few lines."""
  clock, made = result.clock, features.extractor
  lines = [
    f'{len(result.done)} videos extracted, {len(result.skipped)} were done '
    f'before, {len(result.failures)} failed',
    f'{made.name}: {made.dim} numbers, {made.feature_fps:g} snippets a second; '
    f'weights: {made.weights}',
  ]
  if clock.frames:
    lines.append(
      f'{result.video_sec:.1f} s of video in {clock.total_sec:.1f} s: '
      f'{result.video_sec / clock.total_sec:.3g} times real time; '
      f'{clock.frames} frames, waited for decoding {clock.decode_sec:.1f} s'
    )
    if features.flow_method:
      rate = clock.frames / max(clock.flow_sec, 1e-9)
      lines.append(
        f'flow ({features.flow_method}): waited {clock.flow_sec:.1f} s, '
        f'{rate:.1f} frames/s'
      )
  return '\n'.join(lines)


def _durations(videos, failures, allow_damage):
  """Seconds of each readable video; unreadable ones become failures."""
  seconds = {}
  for video_id, path in videos.items():
    try:
      seconds[video_id] = decoding.probe(path, allow_damage).duration_sec
    except (ValueError, OSError) as error:
      failures[video_id] = str(error)
  return seconds
