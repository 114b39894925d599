"""Seconds, frames or fractions of the video? Told apart by the durations."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from cmsn_jax.files import proposal_files

UNITS = ('auto', 'seconds', 'frames', 'fractions')
# Ends reach so far past a video by rounding, or a last window's padding.
_PAST_END = 1.1
_ROUNDING = 1e-3
# Shorter videos' fractions and seconds look alike.
_LONG_SEC = 5.0
# Fewer proposals may all lie in a video's first second.
_ENOUGH = 10
_FLAG = '--proposals_in=seconds|frames|fractions'


class Clock(NamedTuple):
  """What is known of the videos' time.

  Attributes:
    durations: seconds by video id, of any of the videos.
    rates: frames a second by video id.
    fps: frames a second of all, as the user says; 0: not said.
    unit: one of `UNITS`, as the user says.
  """

  durations: Mapping[str, float | int] = {}
  rates: Mapping[str, float | int] = {}
  fps: float | int = 0
  unit: str = 'auto'


def seconds(
  path: str,
  segments: Mapping[str, Float64[np.ndarray, 'n 2']],
  clock: Clock,
  named: str | None = None,
  num_frames: Mapping[str, int] | None = None,
) -> dict[str, Float64[np.ndarray, 'n 2']]:
  """The segments in seconds; what was chosen is said as a warning.

  Args:
    path: the file, for messages.
    segments: [n, 2] by video id, in the file's unit.
    clock: what is known of the videos.
    named: the unit that the file itself says.
    num_frames: of the videos, where the file says it.
  Raises:
    ProposalFileError: if the unit cannot be told, contradicts the durations, or
      needs durations or rates that are not known.
  """
  num_frames = num_frames or {}
  unit = clock.unit
  if unit == 'auto':
    unit, reason = _told(path, segments, clock, named, num_frames)
    if reason:
      warnings.warn(
        f'{path}: times are taken as {unit}, {reason}',
        proposal_files.ProposalFileWarning,
        stacklevel=4,
      )
  if unit == 'seconds':
    return dict(segments)
  factors = {}
  for video_id in segments:
    if unit == 'fractions':
      factors[video_id] = clock.durations.get(video_id)
    else:
      factors[video_id] = _frame_sec(clock, num_frames, video_id)
  missing = [video_id for video_id, factor in factors.items() if not factor]
  if missing:
    needed = (
      'the durations of the videos (--annotations)'
      if unit == 'fractions'
      else 'frames a second (--proposals_fps, or "fps" in the annotations)'
    )
    if len(missing) == len(segments):
      raise proposal_files.ProposalFileError(
        f'{path}: times in {unit} need {needed}'
      )
    warnings.warn(
      f'{path}: {len(missing)} of {len(segments)} videos are left out, since '
      f'times in {unit} need {needed}: {", ".join(missing[:3])}',
      proposal_files.ProposalFileWarning,
      stacklevel=4,
    )
  return {k: v * factors[k] for k, v in segments.items() if factors[k]}


def _frame_sec(clock, num_frames, video_id) -> float | None:
  """Seconds a frame lasts, if that is known."""
  if clock.fps or clock.rates.get(video_id):
    return 1 / (clock.fps or clock.rates[video_id])
  if num_frames.get(video_id) and video_id in clock.durations:
    return clock.durations[video_id] / num_frames[video_id]
  return None


def _told(path, segments, clock, named, num_frames) -> tuple[str, str]:
  """The unit, and how it is known where the file does not say it."""
  ends = {k: float(v[:, 1].max()) for k, v in segments.items() if len(v)}
  highest = max(ends.values(), default=0.0)
  if named == 'fractions':
    # xmin and xmax are fractions in BSN's files, which is easily seen.
    if highest <= 1 + _ROUNDING:
      return named, ''
    named = None
  shared = [k for k in ends if clock.durations.get(k, 0) > 0]
  if not shared:
    if named or not ends:
      return named or 'seconds', ''
    raise proposal_files.ProposalFileError(
      f'{path}: it does not say whether its times are seconds, frames or '
      f'fractions, and no duration of its videos is known; say {_FLAG}, or give '
      '--annotations'
    )
  ratios = np.array([ends[k] / clock.durations[k] for k in shared])
  middle = float(np.median(ratios))
  typical = float(np.median([clock.durations[k] for k in shared]))
  found = [
    f'the latest end is {highest:.6g}',
    f'ends reach {middle:.3g} times the duration (median of {len(shared)} '
    'videos)',
  ]
  count = sum(len(segments[k]) for k in shared)
  within = highest <= 1 + _ROUNDING and typical > _LONG_SEC
  fitting = 'seconds'
  if within:
    fitting = 'fractions' if highest > 0.5 and count >= _ENOUGH else ''
  elif middle > _PAST_END:
    frames = {k: _frame_sec(clock, num_frames, k) for k in shared}
    known = [ends[k] * f / clock.durations[k] for k, f in frames.items() if f]
    likely = np.median(known) <= _PAST_END if known else 8 <= middle <= 130
    fitting = 'frames' if likely else ''
  evidence = '; '.join(found)
  if named in (None, fitting):
    if fitting:
      return fitting, '' if named else f'because {evidence}'
    raise proposal_files.ProposalFileError(
      f'{path}: are its times seconds, frames or fractions of the video? '
      f'{evidence}; say {_FLAG}'
    )
  # A few ends past the video are counted as they are, with their own warning.
  inside = np.median(
    np.concatenate([segments[k][:, 1] / clock.durations[k] for k in shared])
  )
  plausible = inside < _PAST_END and fitting != 'fractions'
  if named == 'seconds' and (plausible or count < _ENOUGH):
    return named, ''
  if named == 'frames' and fitting == 'seconds':
    return named, ''
  raise proposal_files.ProposalFileError(
    f'{path}: times should be {named}, but {evidence}, as '
    f'{fitting or "of another unit"} would; say {_FLAG}'
  )
