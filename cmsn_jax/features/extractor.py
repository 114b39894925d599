"""One interface for every backbone: frames in, features [T, D] out.

An `Extractor` says which frames it wants (modality, rate, size), how many of
them make a snippet, how far its receptive field reaches, and brings one pure
function. `extract` does the rest for all of them alike: it cuts a stream of
frames of any length into windows of one shape (a short last window may take one
of three shorter shapes), gives each window its halo, and joins what comes back, so that a long video equals
the whole clip computed at once while memory stays flat.

A module is an extractor if it has `build(section) -> Extractor`; a config names
it by its import path (`config.features.extractor = 'my_backbone'`).
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float32, UInt8

# Colour channels of a frame; `rgb+flow` is r, g, b, horizontal, vertical.
CHANNELS = {'rgb': 3, 'flow': 2, 'rgb+flow': 5}


@dataclasses.dataclass(frozen=True)
class Stream:
  """A backbone that keeps what it needs of the frames before.

  Nothing is then computed twice, and videos can follow each other.

  Attributes:
    init: frame shape (h, w, c) -> the state before the first frame.
    step: pure function `(params, state, frames uint8 [1, f, h, w, c], valid
      bool [1, f]) -> (state, float32 [1, f // stride, dim])`, with rows of
      `lag` snippets earlier. Else as `Extractor.apply`.
    lag: snippets.
    gap_frames: invalid frames between two videos that keep them apart, a
      multiple of the stride.
  """

  init: Callable[[tuple[int, int, int]], Any]
  step: Callable[[Any, Any, Any, Any], Any]
  lag: int
  gap_frames: int


@dataclasses.dataclass(frozen=True)
class Extractor:
  """What a backbone needs and gives.

  Attributes:
    name: short name, kept beside the features.
    modality: 'rgb', 'flow' or 'rgb+flow'. Flow frame k is the motion from frame
      k to frame k + 1 as bytes, 128 = no motion.
    apply: pure function `(params, frames uint8 [b, f, h, w, c], valid bool
      [b, f]) -> float32 [b, f // stride, dim]`. `f` is a multiple of `stride`.
      Crop, scaling and mean subtraction belong in here. Invalid frames (bytes
      0) lie outside the video: where the network looks across snippets, it has
      to treat them as its own padding does, after every layer.
    params: parameter tree passed to `apply`.
    dim: features a snippet.
    fps: frames are sampled at this rate (frames a second).
    stride: frames a snippet; snippet i covers frames [i*stride, (i+1)*stride).
    resize: (height, width) that frames are resized to, or (shorter side,),
      keeping the aspect.
    halo_frames: frames that a snippet's feature depends on before the first
      or after the last frame of the snippet, whichever reach is longer.
    chunk_snippets: snippets computed in one call; memory against speed, never
      the result.
    weights: which weight set `params` is, for the record kept beside features.
    settings: anything else worth that record (JSON types only).
    crop: frames are cut to the middle (height, width) before `apply`, so that
      videos of any aspect share one program; None: they come as resized.
    stream: computes the same without a halo; None: there is no such way.
  """

  name: str
  modality: str
  apply: Callable[[Any, Any, Any], Any]
  params: Any
  dim: int
  fps: float
  stride: int
  resize: tuple[int, ...]
  halo_frames: int = 0
  chunk_snippets: int = 16
  weights: str = 'random'
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  crop: tuple[int, int] | None = None
  stream: Stream | None = None

  def __post_init__(self):
    if self.modality not in CHANNELS:
      raise ValueError(
        f'modality of extractor {self.name!r} must be one of '
        f'{sorted(CHANNELS)}, got {self.modality!r}'
      )
    for field, least in (
      ('dim', 1),
      ('stride', 1),
      ('chunk_snippets', 1),
      ('halo_frames', 0),
    ):
      value = getattr(self, field)
      if value < least:
        raise ValueError(
          f'{field} of extractor {self.name!r} must be at least {least}, '
          f'got {value}'
        )
    if len(self.resize) not in (1, 2) or min(self.resize) < 1:
      raise ValueError(
        f'resize of extractor {self.name!r} must be (height, width) or '
        f'(shorter side,), got {self.resize}'
      )
    if not self.fps > 0:
      raise ValueError(
        f'fps of extractor {self.name!r} must be positive, got {self.fps}'
      )

  @property
  def feature_fps(self) -> float:
    """Snippets per second."""
    return self.fps / self.stride

  @property
  def channels(self) -> int:
    """Channels of a frame."""
    return CHANNELS[self.modality]


def load(module: str, section: Any) -> Extractor:
  """Returns the extractor that a module builds from its config section.

  Args:
    module: import path of a module with `build(section) -> Extractor`, e.g.
      'cmsn_jax.features.i3d' or 'my_backbone'.
    section: passed on to `build`; any object with the attributes it reads.
  Returns:
    the extractor.
  Raises:
    ValueError: when the module cannot be imported or has no `build`.
    TypeError: when `build` returns something else.
  """
  try:
    found = importlib.import_module(module)
  except ModuleNotFoundError as error:
    # A missing dependency of an existing module must not look like a typo.
    if error.name is None or not f'{module}.'.startswith(f'{error.name}.'):
      raise
    raise ValueError(
      f'extractor {module!r} is not an importable module ({error}); give its '
      "import path, e.g. 'cmsn_jax.features.i3d', and start the command where "
      'it can be imported (or set PYTHONPATH)'
    ) from error
  if not callable(getattr(found, 'build', None)):
    raise ValueError(
      f'extractor module {module!r} ({found.__file__}) has no function '
      'build(section) that returns an Extractor'
    )
  extractor = found.build(section)
  if not isinstance(extractor, Extractor):
    raise TypeError(
      f'{module}.build must return a cmsn_jax.features.extractor.Extractor, '
      f'got {type(extractor).__name__}'
    )
  return extractor


def describe(extractor: Extractor) -> dict[str, Any]:
  """Returns the record kept beside features (JSON types only)."""
  return {
    'extractor': extractor.name,
    'modality': extractor.modality,
    'weights': extractor.weights,
    'feature_fps': extractor.feature_fps,
    'fps': extractor.fps,
    'stride': extractor.stride,
    'dim': extractor.dim,
    'resize': list(extractor.resize),
    'settings': extractor.settings,
  }


def num_snippets(extractor: Extractor, num_frames: int) -> int:
  """Returns how many snippets a video has; a begun one counts."""
  return -(-num_frames // extractor.stride)


def extract(
  extractor: Extractor,
  chunks: Iterable[UInt8[np.ndarray, '_ h w c']],
  *,
  chunk_snippets: int | None = None,
) -> Float32[np.ndarray, 't d']:
  """Returns the features of one video.

  Args:
    extractor: the backbone.
    chunks: the video's frames in order, in pieces of any length.
    chunk_snippets: snippets computed in one call; None: the extractor's own.
  Returns:
    features, one row a snippet; the last snippet may be a begun one.
  Raises:
    ValueError: when there is no frame, or frames have the wrong form.
  """
  pieces = list(iterate(extractor, chunks, chunk_snippets=chunk_snippets))
  return np.concatenate(pieces)


def iterate(
  extractor: Extractor,
  chunks: Iterable[UInt8[np.ndarray, '_ h w c']],
  *,
  chunk_snippets: int | None = None,
) -> Iterator[Float32[np.ndarray, '_ d']]:
  """Yields a video's features piece by piece, while frames still arrive.

  One call is always in flight, so that the frames of the next piece are decoded
  while the device works on this one.

  Args:
    extractor: the backbone.
    chunks: the video's frames in order, in pieces of any length.
    chunk_snippets: snippets computed in one call; None: the extractor's own.
  Yields:
    features [t, dim] of the next snippets.
  Raises:
    ValueError: when there is no frame, or frames have the wrong form.
  """
  apply = jitted(extractor.apply)
  params = jax.device_put(extractor.params)
  pending = None
  for frames, valid, keep in _windows(
    extractor, chunks, chunk_snippets or extractor.chunk_snippets
  ):
    features = apply(params, frames[None], valid[None])
    if pending is not None:
      yield finished(extractor, pending[0])[pending[1]]
    pending = features, keep
  if pending is None:
    raise no_frame(extractor)
  yield finished(extractor, pending[0])[pending[1]]


def no_frame(extractor: Extractor) -> ValueError:
  """The error of a video without frames."""
  return ValueError(
    f'no frame reached extractor {extractor.name!r}: the video is empty'
  )


@functools.lru_cache(maxsize=16)
def jitted(apply: Callable, donate: tuple[int, ...] = ()) -> Callable:
  """`jax.jit` of an extractor's function, the same for every video."""
  # A new wrapper for each would compile again.
  return jax.jit(apply, donate_argnums=donate)


def finished(extractor: Extractor, features: Any) -> Float32[np.ndarray, 't d']:
  """Waits for a call's features [1, t, d].

  Raises:
    ValueError: when they do not have the extractor's width.
  """
  features = np.asarray(features, np.float32)
  if features.ndim != 3 or features.shape[2] != extractor.dim:
    raise ValueError(
      f'extractor {extractor.name!r} must return [b, t, {extractor.dim}], got '
      f'{features.shape}'
    )
  return features[0]


def checked(
  extractor: Extractor, chunk: Any, shape: tuple[int, ...] | None = None
) -> UInt8[np.ndarray, '_ h w c']:
  """Returns frames of a video as the extractor takes them.

  Args:
    extractor: says which, and how they are cropped.
    chunk: frames of one size.
    shape: of the frames before, cropped; None: there were none.
  Raises:
    ValueError: when they have another form, or are smaller than the crop.
  """
  chunk = np.asarray(chunk)
  channels = extractor.channels
  if chunk.ndim == 4 and extractor.crop is not None:
    (h, w), (height, width) = chunk.shape[1:3], extractor.crop
    if h < height or w < width:
      raise ValueError(
        f'a crop of {height} x {width} does not fit into frames of {h} x {w}'
      )
    top, left = (h - height) // 2, (w - width) // 2
    chunk = chunk[:, top : top + height, left : left + width]
  if (
    chunk.dtype != np.uint8
    or chunk.ndim != 4
    or chunk.shape[3] != channels
    or (shape is not None and chunk.shape[1:] != shape)
  ):
    raise ValueError(
      f'extractor {extractor.name!r} ({extractor.modality}) needs uint8 frames '
      f'[f, h, w, {channels}] of one size, got {chunk.dtype} '
      f'{list(chunk.shape)}'
      + (f' after frames of {list(shape)}' if shape is not None else '')
    )
  return chunk


def _windows(
  extractor, chunks, chunk_snippets
) -> Iterator[
  tuple[
    UInt8[np.ndarray, 'f h w c'],
    Bool[np.ndarray, ' f'],
    slice,
  ]
]:
  """Yields (frames, valid, snippets to keep) of windows halo + core + halo.

  The video's own ends need no halo: the first window keeps its first snippets,
  the last one all that are left, in a shorter window where a few sizes allow.
  """
  stride = extractor.stride
  halo = -(-extractor.halo_frames // stride)
  size = chunk_snippets + 2 * halo
  quarter = -(-size // 4)
  reader = _Reader(extractor, chunks)
  start = 0
  while True:
    first = start * stride
    # One frame more tells whether this window is the last.
    known = reader.read_until(first + size * stride + 1) - first
    left = num_snippets(extractor, known)
    skip = halo if start else 0
    if left > size:
      frames, valid = reader.window(first, size * stride)
      yield frames, valid, slice(skip, size - halo)
      start += chunk_snippets
      reader.forget(start * stride)
      continue
    if left > skip:
      size = min(size, -(-left // quarter) * quarter)
      frames, valid = reader.window(first, size * stride)
      yield frames, valid, slice(skip, left)
    return


class _Reader:
  """Holds just the frames of a stream that a window still needs."""

  def __init__(self, extractor: Extractor, chunks):
    self._extractor = extractor
    self._chunks = iter(chunks)
    self._held: list[np.ndarray] = []
    self._first = 0  # index in the video of the first frame held
    self._end = 0

  def read_until(self, end: int) -> int:
    """Reads to frame `end` or the video's end; returns the frames known of."""
    while self._end < end:
      chunk = next(self._chunks, None)
      if chunk is None:
        break
      if len(chunk):
        shape = self._held[-1].shape[1:] if self._held else None
        self._held.append(checked(self._extractor, chunk, shape))
        self._end += len(chunk)
    return min(self._end, end)

  def window(self, start: int, length: int):
    frames = np.zeros((length, *self._held[0].shape[1:]), np.uint8)
    valid = np.zeros(length, np.bool_)
    at = self._first
    for chunk in self._held:
      low = max(at, start)
      high = min(at + len(chunk), start + length)
      if low < high:
        frames[low - start : high - start] = chunk[low - at : high - at]
        valid[low - start : high - start] = True
      at += len(chunk)
    return frames, valid

  def forget(self, before: int):
    # The last chunk stays, so that its shape is still known.
    while len(self._held) > 1 and self._first + len(self._held[0]) <= before:
      self._first += len(self._held.pop(0))
