"""Video files → features: decoding, flow and an extractor, joined.

    features = video_features.from_config(config.features)
    rows = features.extract('my.mp4')              # float32 [T, D]

What was done is a record of JSON types (`features.record`), kept beside feature
files; `from_record` makes the same extractor again, so that a model trained on
those files can propose for a new video.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from jaxtyping import Float32, UInt8

from cmsn_jax.features import extractor as extractor_lib
from cmsn_jax.features import packing
from cmsn_jax.video import decoding, flow
from cmsn_jax.video import reader as video_reader

# Keys of a record that two feature files of one folder must share.
_IDENTITY = (
  'extractor',
  'modality',
  'weights',
  'feature_fps',
  'fps',
  'stride',
  'dim',
  'resize',
  'settings',
  'flow',
)


@dataclasses.dataclass
class Clock:
  """Where the time went, in seconds, and over how many frames."""

  frames: int = 0
  decode_sec: float = 0.0
  flow_sec: float = 0.0
  total_sec: float = 0.0

  def add(self, other: 'Clock') -> None:
    """Adds another clock's figures."""
    for field in dataclasses.fields(self):
      total = getattr(self, field.name) + getattr(other, field.name)
      setattr(self, field.name, total)


class Extracted(NamedTuple):
  """What became of one of many videos.

  Attributes:
    video_id: which.
    rows: its features; None where there is an error.
    error: why there are none.
    num_frames: frames read.
  """

  video_id: str
  rows: Float32[np.ndarray, 't d'] | None
  error: Exception | None
  num_frames: int


@dataclasses.dataclass(frozen=True)
class VideoFeatures:
  """An extractor, and how frames and flow are made for it.

  Attributes:
    extractor: the backbone.
    flow_method: 'tvl1' or 'dis'; '' where no flow is read.
    flow_bound: pixels; larger motion is clipped.
    flow_threads: fields computed at a time; 0: one a core. No effect on results.
    config: the config section it was built from (JSON types), or None.
  """

  extractor: extractor_lib.Extractor
  flow_method: str = ''
  flow_bound: float = flow.BOUND_PIXELS
  flow_threads: int = 0
  config: dict[str, Any] | None = None

  @property
  def record(self) -> dict[str, Any]:
    """What makes the features what they are (JSON types)."""
    record = extractor_lib.describe(self.extractor)
    record['flow'] = None
    if self.flow_method:
      record['flow'] = {'method': self.flow_method, 'bound': self.flow_bound}
    record['config'] = self.config
    return record

  def frames(
    self,
    path: str | os.PathLike,
    *,
    reader: video_reader.VideoReader | None = None,
    allow_damage: bool | None = None,
    on_frames: Callable[[int], None] | None = None,
    start_frame: int = 0,
    clock: Clock | None = None,
  ) -> Iterator[UInt8[np.ndarray, '_ h w c']]:
    """Yields what the extractor reads: resized frames, flow, or both.

    Args:
      path: a video file.
      reader: decodes in its worker process; None decodes here.
      allow_damage: read through damage with a warning.
      on_frames: told the number of frames of each piece decoded.
      start_frame: first frame, at the extractor's rate.
      clock: gets the times waited for.
    Raises:
      video.VideoError: when the file cannot be decoded.
    """
    clock = clock or Clock()
    decode = decoding.frames if reader is None else reader.frames
    chunks = decode(
      path,
      fps=self.extractor.fps,
      size=self._size(path, allow_damage),
      allow_damage=allow_damage,
      start_frame=start_frame,
    )
    chunks = _counted(_timed(chunks, clock, 'decode_sec'), clock, on_frames)
    if not self.flow_method:
      return chunks
    with_flow = flow.for_modality(
      chunks,
      self.extractor.modality,
      method=self.flow_method,
      bound=self.flow_bound,
      threads=self.flow_threads or None,
    )
    return _timed(with_flow, clock, 'flow_sec')

  def extract(
    self,
    path: str | os.PathLike,
    *,
    clock: Clock | None = None,
    **kwargs: Any,
  ) -> Float32[np.ndarray, 't d']:
    """Returns the features of a video file.

    Args:
      path: a video file.
      clock: gets the times spent.
      **kwargs: `reader`, `allow_damage`, `on_frames`, as `frames` takes them.
    Returns:
      features, `extractor.feature_fps` rows a second.
    Raises:
      video.VideoError: when the file cannot be decoded.
      ValueError: when a feature is not finite.
    """
    return np.concatenate(list(self.pieces(path, clock=clock, **kwargs)))

  def pieces(
    self,
    path: str | os.PathLike,
    *,
    start_row: int = 0,
    clock: Clock | None = None,
    on_frames: Callable[[int], None] | None = None,
    **kwargs: Any,
  ) -> Iterator[Float32[np.ndarray, '_ d']]:
    """Yields the features of a video file piece by piece.

    Args:
      path: a video file.
      start_row: the first row wanted; see `resumable`.
      clock: gets the times spent.
      on_frames: as `frames` takes it; also told of the frames left out.
      **kwargs: `reader`, `allow_damage`, as `frames` takes them.
    Raises:
      video.VideoError: when the file cannot be decoded.
      ValueError: when a feature is not finite.
    """
    own, start = Clock(), time.perf_counter()
    first = max(0, start_row - self._halo())
    skip = start_row - first
    first *= self.extractor.stride
    if first and on_frames is not None:
      on_frames(first)
    frames = self.frames(
      path, clock=own, on_frames=on_frames, start_frame=first, **kwargs
    )
    for rows in packing.iterate(self.extractor, frames):
      self._check(path, rows)
      dropped = min(skip, len(rows))
      skip -= dropped
      if dropped < len(rows):
        yield rows[dropped:]
    own.total_sec = time.perf_counter() - start
    # Decoding happens inside the wait for flow.
    own.flow_sec = max(0.0, own.flow_sec - own.decode_sec)
    if clock is not None:
      clock.add(own)

  def resumable(self, num_rows: int) -> int:
    """How many of the first rows can be kept when the rest is extracted.

    Whole windows but for the last one, so that those to come are the same as
    in one go, and at least one is still to come.
    """
    size = self.extractor.chunk_snippets
    windows = (num_rows - self._halo()) // size - 1
    return windows * size + self._halo() if windows > 0 else 0

  def _halo(self) -> int:
    """Snippets before the first wanted one that have to be computed."""
    made = self.extractor
    frames = made.halo_frames
    if made.stream is not None:
      frames = max(frames, made.stream.gap_frames)
    return -(-frames // made.stride)

  def extract_all(
    self,
    paths: Mapping[str, str | os.PathLike],
    *,
    clock: Clock,
    on_video: Callable[[str], None] | None = None,
    **kwargs: Any,
  ) -> Iterator['Extracted']:
    """Yields the features of many video files, each when it is complete.

    Args:
      paths: video files by id.
      clock: gets the times spent and the frames read.
      on_video: told the id of each video when its first frame is asked for.
      **kwargs: `reader`, `allow_damage`, `on_frames`, as `frames` takes them.
    """
    clocks = {}

    def opened(video_id, path):
      if on_video is not None:
        on_video(video_id)
      clocks[video_id] = Clock()
      # Sizes are looked up here, where an error is this video's.
      yield from self.frames(path, clock=clocks[video_id], **kwargs)

    start = time.perf_counter()
    videos = ((key, opened(key, path)) for key, path in paths.items())
    for video_id, rows in packing.extract_all(self.extractor, videos):
      own, error = clocks.pop(video_id), None
      own.flow_sec = max(0.0, own.flow_sec - own.decode_sec)
      clock.add(own)
      if isinstance(rows, Exception):
        rows, error = None, rows
      else:
        try:
          self._check(paths[video_id], rows)
        except ValueError as found:
          rows, error = None, found
      now = time.perf_counter()
      clock.total_sec, start = clock.total_sec + now - start, now
      yield Extracted(video_id, rows, error, own.frames)

  def _check(self, path, rows):
    if not np.isfinite(rows).all():
      raise ValueError(
        f'{path}: extractor {self.extractor.name!r} returned NaN or infinity; '
        'its weights may be damaged, or the dtype too narrow for them'
      )

  def _size(self, path, allow_damage) -> tuple[int, int]:
    resize = self.extractor.resize
    if len(resize) == 2:
      return resize
    info = decoding.probe(path, allow_damage)
    return shorter_side(info.height, info.width, resize[0])


def shorter_side(height: int, width: int, target: int) -> tuple[int, int]:
  """Returns (height, width) with the shorter side `target`, same aspect."""
  scale = target / min(height, width)
  return (
    max(target, round(height * scale)),
    max(target, round(width * scale)),
  )


def from_config(section: ml_collections.ConfigDict) -> VideoFeatures:
  """Returns what a config's `features` section describes.

  Args:
    section: `extractor` (import path of the extractor's module), `flow`
      (`method`, `bound`, `threads`; read only if there is flow to compute), and
      whatever that module reads.
  Raises:
    ValueError: on settings or weights that do not fit.
  """
  extractor = extractor_lib.load(section.extractor, section)
  config = _json_types(section.to_dict())
  if extractor.modality == 'rgb':
    return VideoFeatures(extractor, config=config)
  return VideoFeatures(
    extractor,
    flow_method=flow.choose(section.flow.method),
    flow_bound=float(section.flow.bound),
    flow_threads=section.flow.threads,
    config=config,
  )


def from_record(record: dict[str, Any], source: str) -> VideoFeatures:
  """Returns the extractor that a features folder was made with.

  Args:
    record: `VideoFeatures.record`, as `features.json` holds it.
    source: what errors call it.
  Raises:
    ValueError: when the record is of no extractor of ours, or what it builds
      today differs from it (other weights, say).
  """
  config = record.get('config')
  if not isinstance(config, dict) or 'extractor' not in config:
    raise ValueError(
      f'{source} does not say how its features were extracted, so none can be '
      'extracted from a video; make features with launch.extract_features and '
      'train on those, or propose from features'
    )
  made = from_config(ml_collections.ConfigDict(_tuples(config)))
  problems = differences(record, made.record)
  if problems:
    raise ValueError(
      f'the extractor of {source} can no longer be made:\n  '
      + '\n  '.join(problems)
    )
  return made


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
  """Returns why two records are not of the same features; empty if they are."""
  old, new = _json_types(old), _json_types(new)
  return [
    f'{key} was {old.get(key)!r}, is now {new.get(key)!r}'
    for key in _IDENTITY
    if old.get(key) != new.get(key)
  ]


def _json_types(value):
  if isinstance(value, dict):
    return {key: _json_types(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_json_types(item) for item in value]
  return value


def _tuples(value):
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  if isinstance(value, list):
    return tuple(_tuples(item) for item in value)
  return value


def _timed(chunks, clock, field):
  chunks = iter(chunks)
  while True:
    start = time.perf_counter()
    chunk = next(chunks, None)
    passed = time.perf_counter() - start
    setattr(clock, field, getattr(clock, field) + passed)
    if chunk is None:
      return
    yield chunk


def _counted(chunks, clock, on_frames):
  for chunk in chunks:
    clock.frames += len(chunk)
    if on_frames is not None:
      on_frames(len(chunk))
    yield chunk
