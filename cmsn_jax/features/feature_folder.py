"""Videos → a folder of features: resumable, atomic, failures kept apart.

`<id>.npy` holds a video's features, `features.json` what they are. Every file
appears whole or not at all.
"""

import dataclasses
import json
import pathlib
import time

import numpy as np

from cmsn_jax import progress, sharding
from cmsn_jax.features import video_features
from cmsn_jax.files import feature_files, json_files, replacing
from cmsn_jax.video import decoding
from cmsn_jax.video import reader as video_reader


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
  quiet: bool = False,
) -> Result:
  """Extracts the features of all videos that have none yet.

  Args:
    features: the extractor with its frames and flow.
    videos: files by id.
    output: folder of the features; made where it is missing.
    allow_damage: read through damage in videos, with a warning.
    shard: (i, n): only the i-th of n parts, dealt out by duration.
    quiet: show no progress.
  Returns:
    what happened to the part's videos; a video that cannot be read is a failure, not an error.
  Raises:
    ValueError: when the folder holds features of another extractor.
  """
  claim(output, features.record)
  if shard[1] > 1:
    # Done ones count too: every part must come to the same split at any time.
    unreadable = {}
    known = _durations(videos, unreadable, allow_damage)
    lengths = {**known, **dict.fromkeys(unreadable, 0.0)}
    videos = {key: videos[key] for key in sharding.share(lengths, *shard)}
  done = {path.stem for path in output.glob('*.npy')}
  result = Result([], sorted(set(videos) & done), {}, video_features.Clock())
  missing = {key: videos[key] for key in videos if key not in done}
  seconds = _durations(missing, result.failures, allow_damage)
  bar = _Bar(float(sum(seconds.values())), features.extractor, quiet)
  with bar, video_reader.VideoReader() as reader:

    def name(video_id):
      bar.video_id = video_id

    extracted = features.extract_all(
      {video_id: missing[video_id] for video_id in seconds},
      reader=reader,
      allow_damage=allow_damage,
      clock=result.clock,
      on_video=name,
      on_frames=bar.add_frames,
    )
    for video_id, rows, error, num_frames in extracted:
      if rows is None:
        result.failures[video_id] = str(error)
        continue
      with replacing.file(output / f'{video_id}.npy', 'wb') as file:
        np.save(file, rows)
      result.done.append(video_id)
      result.video_sec += num_frames / features.extractor.fps
  return result


class _Bar:
  """Progress in seconds of video, and how that compares to real time."""

  def __init__(self, total_sec: float, extractor, quiet: bool):
    self._fps, self._start = extractor.fps, time.monotonic()
    self._bar = progress.bar(
      total=round(total_sec, 1),
      quiet=quiet,
      desc=extractor.name,
      unit='s of video',
      bar_format='{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s of '
      'video [{elapsed}<{remaining}{postfix}]',
    )
    self.video_id = ''

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._bar.close()

  def add_frames(self, count: int) -> None:
    """Counts frames decoded."""
    self._bar.update(count / self._fps)
    passed = max(time.monotonic() - self._start, 1e-9)
    self._bar.set_postfix_str(
      f'{self._bar.n / passed:.2f} x real time, {self.video_id}',
      refresh=False,
    )


def claim(output: pathlib.Path, record: dict) -> None:
  """Writes the record into a new folder, or checks that it is the same.

  Raises:
    ValueError: when the folder holds other features.
  """
  path = output / feature_files.SIDECAR
  if path.exists():
    problems = video_features.differences(json_files.read(path), record)
    if problems:
      raise ValueError(
        f'{output} holds other features; choose another --output, or delete '
        'it:\n  ' + '\n  '.join(problems)
      )
    return
  if any(output.glob('*.npy')):
    raise ValueError(
      f'{output} holds .npy files but no {feature_files.SIDECAR} that says what '
      'they are; choose another --output'
    )
  with replacing.file(path) as file:
    json.dump(record, file, indent=2, ensure_ascii=False)
    file.write('\n')


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
