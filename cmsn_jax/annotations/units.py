"""Whether times that are said to be seconds look like it."""

from collections.abc import Sequence

import numpy as np

from cmsn_jax.annotations import activitynet, checks

# Frame rates, milliseconds, minutes, hours: what a wrong unit is wrong by.
_RATES = (25.0, 30.0, 50.0, 60.0, 100.0)
_CHANCE = 1e-3
_MIN_RECORDING_SEC = 10.0
_MANY_FRAMES = 15


def check(annotations: activitynet.Annotations, source: str) -> list[str]:
  """What speaks against seconds, with the evidence and the remedy.

  Args:
    annotations: whose times no file states the unit of.
    source: the file, for messages.
  Returns:
    warnings, one line each.
  Raises:
    AnnotationError: if all events end before 1 although the recordings are
      long: such numbers are days (Excel), minutes, or fractions.
  """
  videos = [v for v in annotations.videos.values() if len(v.segments)]
  if not videos:
    return []
  rows = np.concatenate([video.segments for video in videos])
  shortest = min(video.duration_sec for video in videos)
  if (
    len(rows) >= 2 and rows[:, 1].max() <= 1 and shortest >= _MIN_RECORDING_SEC
  ):
    _refuse_below_one(videos, rows, source)
  found = []
  whole = _whole_numbers(videos, rows)
  if whole:
    found.append(f'{source}: {whole}')
  early = _early(videos, rows)
  if early:
    found.append(f'{source}: {early}')
  lengths = rows[:, 1] - rows[:, 0]
  if len(rows) >= 3 and np.median(lengths) < 0.04:
    found.append(
      f'{source}: half of the events last less than {np.median(lengths):.2g} s '
      f'({_share(videos)} of their recording): shorter than a frame. Are the '
      'times in minutes or hours? --unit=minutes; if they are seconds: '
      '--unit=seconds'
    )
  return found


def _refuse_below_one(videos, rows, source: str) -> None:
  last = rows[:, 1].max()
  factors = [
    f'{name} (--unit={name}, so that the last event ends at '
    f'{last * factor:.4g} s)'
    for name, factor in (
      ('days', 86400.0),
      ('hours', 3600.0),
      ('minutes', 60.0),
    )
    if all(
      video.segments[:, 1].max() * factor <= 1.05 * video.duration_sec
      for video in videos
    )
  ]
  if last > 0.5:
    factors.append('fractions of the recording (--unit=fraction)')
  raise checks.AnnotationError(
    f'{source}: all {len(rows)} events end before {last:.4g}, in recordings of '
    f'{min(v.duration_sec for v in videos):g} s and more: are the times in '
    f'{", ".join(factors) or "another unit"}? If they are seconds: '
    '--unit=seconds'
  )


def _whole_numbers(videos: Sequence, rows: np.ndarray) -> str:
  """The warning where all times are whole numbers, or ''."""
  if len(rows) < 2 or not (rows == np.round(rows)).all():
    return ''
  lengths = rows[:, 1] - rows[:, 0]
  middle = float(np.median(lengths))
  if middle < _MANY_FRAMES and len(rows) < 20:
    return ''
  rates = sorted({v.fps for v in videos if v.fps} or {_RATES[0], _RATES[1]})
  shown = ' or '.join(f'{rate:g}' for rate in rates[:3])
  seconds = ' or '.join(f'{middle / rate:.3g}' for rate in rates[:3])
  return (
    f'all {2 * len(rows)} times are whole numbers, and the median event lasts '
    f'{middle:g} ({_share(videos)} of its recording): are they frames '
    f'(--unit=frames --fps=…: at {shown} a second the median event lasts '
    f'{seconds} s) or milliseconds (--unit=milliseconds: {middle / 1000:.3g} '
    's)? If they are seconds: --unit=seconds'
  )


def _early(videos: Sequence, rows: np.ndarray) -> str:
  """The warning where all events are at the beginning, or ''."""
  chance, most = 1.0, 0.0
  for video in videos:
    share = min(1.0, float(video.segments[:, 1].max()) / video.duration_sec)
    most = max(most, share)
    chance *= max(share, 1e-9) ** min(len(video.segments), 50)
  if most >= 0.5 or chance > _CHANCE:
    return ''
  factors = [
    f'{name} (--unit={name}: times {factor:g})'
    for name, factor in (('minutes', 60), ('hours', 3600))
    if most * factor <= 1.05
  ]
  if not factors:
    factors = [
      f'another unit ({1 / most:.3g} times as much would still fit), or do the '
      'durations belong to other recordings'
    ]
  return (
    f'all {len(rows)} events are in the first {most:.2%} of every recording: '
    f'are the times in {" or ".join(factors)}? If they are seconds: '
    '--unit=seconds'
  )


def _share(videos: Sequence) -> str:
  """The median event's share of its recording."""
  shares = np.concatenate(
    [
      (video.segments[:, 1] - video.segments[:, 0]) / video.duration_sec
      for video in videos
    ]
  )
  return f'{np.median(shares):.2%}'
