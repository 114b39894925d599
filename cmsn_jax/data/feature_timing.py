"""How the rows of feature files lie in time: what is said of it, put together.

A rate may be said by the configuration (or a flag), by `features.json` and by
each recording's entry in the annotations; a stride in frames together with the
recording's frame rate says it too. Recordings of several rates are resampled to
one (`feature_resampled`).
"""

import collections
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cmsn_jax.annotations import activitynet
from cmsn_jax.data import sources
from cmsn_jax.files import feature_rates, feature_resampled

# Rates are compared as text users type, e.g. 3.33 for 10/3.
_SAME = 1e-3
_FRAMES = ('feature_window', 'feature_stride', 'feature_offset')


@dataclasses.dataclass(frozen=True)
class Stated:
  """What a user says of features, by configuration or flags.

  Attributes:
    feature_fps: rows a second; 0: not said.
    window: frames that a row is computed from; 0: as many as `stride`.
    stride: frames from a row to the next; 0: not said.
    offset: frame at which the first window begins.
    rescaled: every recording was stretched to one number of rows.
    where: what the message calls the rate.
  """

  feature_fps: float | int = 0.0
  window: float | int = 0
  stride: float | int = 0
  offset: float | int = 0
  rescaled: bool = False
  where: str = '--feature_fps'


@dataclasses.dataclass(frozen=True)
class Timing:
  """How the rows of some recordings lie in time.

  Attributes:
    grid: of the rows as they are read: one for all.
    rates: of the files, by video id, where it differs from the grid's.
    rescaled: instead of that, a recording's rate is rows / duration.
    windows: (window, stride, offset) in frames, or None.
  """

  grid: feature_rates.Grid
  rates: dict[str, float | int] = dataclasses.field(default_factory=dict)
  rescaled: bool = False
  windows: tuple[float | int, float | int, float | int] | None = None

  def of(self, video_id: str) -> feature_rates.Grid:
    """The grid of a recording's file, before it is resampled."""
    return _grid(self.rates.get(video_id, self.grid.feature_fps), self.windows)

  def line(self) -> str:
    """What was chosen, for reading; '' where it is one plain rate."""
    if self.rescaled:
      return 'rescaled features: a row lasts duration / rows of its recording'
    parts = []
    if self.rates:
      counts = collections.Counter(f'{r:.5g}' for r in self.rates.values())
      listed = ', '.join(f'{n} of {rate}' for rate, n in counts.most_common(4))
      more = ', ...' if len(counts) > 4 else ''
      parts.append(
        f'recordings of other rates ({listed}{more} rows a second) are '
        f'resampled to {self.grid.feature_fps:.5g}'
      )
    if self.windows and self.grid.offset_sec:
      window, stride, offset = self.windows
      first = (offset + window / 2) / (stride * self.grid.feature_fps)
      parts.append(
        f'windows of {window:g} frames every {stride:g}: row 0 is centred at '
        f'{first:.4g} s'
      )
    return '; '.join(parts)


def resolve(
  stated: Stated,
  sidecar: dict | None,
  videos: Mapping[str, activitynet.Video],
  default: float | int | None = None,
) -> Timing:
  """How the rows of these videos' files lie in time.

  Args:
    stated: by the user; wins over the sidecar, but must not contradict it.
    sidecar: what `features.json` says, or None.
    videos: annotations of the videos.
    default: rows a second where nothing says it; None makes that an error.
  Raises:
    ValueError: if no rate is said, or two are that differ.
  """
  sidecar = sidecar or {}
  frames = [
    getattr(stated, name.removeprefix('feature_')) or sidecar.get(name) or 0
    for name in _FRAMES
  ]
  rescaled = stated.rescaled or bool(sidecar.get('rescaled'))
  if rescaled:
    if any(frames) or stated.feature_fps:
      raise ValueError(
        'rescaled features have neither rate nor window: a row lasts '
        'duration / rows; leave feature_fps, feature_window and feature_stride '
        'out'
      )
    return Timing(feature_rates.Grid(0.0), rescaled=True)
  if stated.feature_fps < 0 or min(frames[:2]) < 0:
    raise ValueError(
      f'{stated.where}, feature_window and feature_stride must not be '
      f'negative, got {stated.feature_fps:g}, {frames[0]:g}, {frames[1]:g}'
    )
  said = _said(sidecar, videos, frames[1])
  common = _common(stated, said, len(videos), default)
  if any(frames) and not frames[1]:
    frames[1] = _stride(common, videos)
  windows = (frames[0] or frames[1], *frames[1:]) if frames[1] else None
  rates = {
    video_id: rate
    for video_id, (rate, _) in said.items()
    if abs(rate - common) > _SAME * common
  }
  return Timing(_grid(common, windows), rates, windows=windows)


def typical_rate(
  timing: Timing, store: Any, videos: Mapping[str, activitynet.Video]
) -> float:
  """Rows a second for statistics: the grid's, or the median of rescaled videos.

  Raises:
    ValueError: if features are rescaled and there are none of these videos.
  """
  if not timing.rescaled:
    return timing.grid.feature_fps
  rates = [
    store.num_snippets(video_id) / video.duration_sec
    for video_id, video in videos.items()
    if store is not None and video_id in store
  ]
  if not rates:
    raise ValueError(
      'rescaled features have no rate of their own: it needs the features of '
      'annotated recordings, to be seen'
    )
  return float(np.median(rates))


def rate_of(
  store: Any, timing: Timing, durations: Mapping[str, float | int]
) -> Callable[[str], float]:
  """Video id -> rows a second of its file; `durations` of rescaled ones."""
  if timing.rescaled:
    return lambda v: store.num_snippets(v) / durations[v]
  return lambda v: timing.of(v).feature_fps


def on_grid(store: Any, timing: Timing) -> Any:
  """The store itself, or resampled where its recordings have other rates."""
  if not timing.rates:
    return store
  fps = timing.grid.feature_fps
  shift = timing.grid.offset_sec * fps
  return feature_resampled.ResampledStore(store, fps, timing.rates, shift)


def source(
  store: Any,
  feature_fps: float | int,
  timing: Timing,
  durations: Mapping[str, float | int],
  **options: Any,
) -> sources.FeatureSource:
  """Snippets of a store `on_grid`, with the clock that the timing says.

  Args:
    store: the features.
    feature_fps: rows a second, or the `typical_rate` of rescaled features.
    timing: how the rows lie in time.
    durations: seconds by video id; needed of rescaled features only.
    **options: of `sources.FeatureSource`.
  """
  return sources.FeatureSource(
    store,
    feature_fps,
    offset_sec=float(timing.grid.offset_sec),
    durations=durations if timing.rescaled else None,
    **options,
  )


def _grid(rate, windows) -> feature_rates.Grid:
  if windows is None:
    return feature_rates.Grid(rate)
  return feature_rates.windowed(rate, *windows)


def _said(sidecar, videos, stride) -> dict[str, tuple[float, str]]:
  """Rate and who says it, of each video for which something does."""
  beside = sidecar.get('feature_fps')
  found = {}
  for video_id, video in videos.items():
    by = {
      'the annotations': video.feature_fps,
      'features.json': (
        beside.get(video_id) if isinstance(beside, dict) else beside
      ),
    }
    if stride and video.fps:
      by[f'{video.fps:g} frames a second, one row every {stride:g},'] = (
        video.fps / stride
      )
    by = {name: float(rate) for name, rate in by.items() if rate}
    if not by:
      continue
    rates = list(by.values())
    if max(rates) - min(rates) > _SAME * max(rates):
      raise ValueError(
        f'feature rates of {video_id} disagree: '
        + ', '.join(f'{name} says {rate:g}' for name, rate in by.items())
      )
    found[video_id] = rates[0], next(iter(by))
  return found


def _common(stated, said, num_videos, default) -> float:
  """The rate to which all are brought."""
  counts = collections.Counter(round(rate, 6) for rate, _ in said.values())
  groups = sorted(counts, key=lambda rate: (-counts[rate], rate))
  differ = groups and max(groups) - min(groups) > _SAME * max(groups)
  if stated.feature_fps:
    # One rate said by everything else is no matter of resampling.
    if groups and not differ and len(said) == num_videos:
      rate, who = next(iter(said.values()))
      if abs(rate - stated.feature_fps) > _SAME * rate:
        raise ValueError(
          f'feature rates disagree: {stated.where} says '
          f'{stated.feature_fps:g}, {who} says {rate:g}'
        )
    return float(stated.feature_fps)
  if groups:
    if len(said) < num_videos and differ:
      raise ValueError(
        f'the rate is said of {len(said)} of {num_videos} recordings, and they '
        f'differ ({min(groups):g} to {max(groups):g}); say that of the others'
      )
    return next(iter(said.values()))[0] if not differ else groups[0]
  if default is None:
    raise ValueError(
      'the rate of the features is unknown; give snippets a second as '
      f'{stated.where} (frames a second / frames a snippet)'
    )
  return float(default)


def _stride(rate, videos) -> float:
  fps = {video.fps for video in videos.values() if video.fps}
  if len(fps) != 1:
    raise ValueError(
      'feature_window needs feature_stride too, the frames from a row to the '
      'next'
    )
  return fps.pop() / rate


def stated(config_data: Any) -> Stated:
  """What `config.data` says."""
  return Stated(
    config_data.feature_fps,
    config_data.feature_window,
    config_data.feature_stride,
    config_data.feature_offset,
    config_data.rescaled,
    '--config.data.feature_fps',
  )
