"""Optical flow between neighbouring frames, as bytes, while frames stream.

Flow frame k is the motion from frame k to frame k + 1 in pixels, horizontal
then vertical, clipped to +-20 and scaled to 0..255 (TSN's convention; 128 is no
motion). The last frame has none to follow and gets 128, so a video has as many
flow frames as frames.

Results do not depend on how frames are cut into chunks nor on the number of
threads: OpenCV's own threading, which does change DIS's result, is off while a
field is computed; pairs of frames are spread over threads instead.

Needs OpenCV (the extra `flow`). TV-L1 is in its contrib build only.
"""

import collections
import concurrent.futures
import contextlib
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

METHODS = ('auto', 'tvl1', 'dis')
BOUND_PIXELS = 20.0
NO_MOTION = 128
_REMEDY = "pip install 'cmsn_jax[flow]'"


class FlowWarning(UserWarning):
  """TV-L1 was wished for, DIS is what there is."""


def choose(method: str) -> str:
  """Returns 'tvl1' or 'dis'; 'auto' is TV-L1 where OpenCV has it.

  Raises:
    ValueError: on an unknown method, or 'tvl1' without the contrib build.
    ModuleNotFoundError: when OpenCV is not installed.
  """
  if method not in METHODS:
    raise ValueError(f'flow method must be one of {METHODS}, got {method!r}')
  has_tvl1 = hasattr(_opencv(), 'optflow')
  if method == 'auto' and not has_tvl1:
    warnings.warn(
      'this OpenCV build has no TV-L1 (the flow TSN was trained on); DIS is '
      f'used. For TV-L1: {_REMEDY}',
      FlowWarning,
      stacklevel=2,
    )
  if method == 'tvl1' and not has_tvl1:
    raise ValueError(
      "flow method 'tvl1' needs OpenCV's contrib build, this one is without; "
      f'{_REMEDY} (after pip uninstall '
      "opencv-python opencv-python-headless), or take 'dis'"
    )
  if method != 'auto':
    return method
  return 'tvl1' if has_tvl1 else 'dis'


def to_bytes(
  flow: Float32[np.ndarray, '*b 2'], bound: float = BOUND_PIXELS
) -> UInt8[np.ndarray, '*b 2']:
  """Pixels of motion → bytes: -bound is 0, none is 128, +bound is 255."""
  scaled = (np.clip(flow, -bound, bound) + bound) * (255 / (2 * bound))
  return np.rint(scaled).astype(np.uint8)


def to_pixels(
  flow: UInt8[np.ndarray, '*b 2'], bound: float = BOUND_PIXELS
) -> Float32[np.ndarray, '*b 2']:
  """Bytes → pixels of motion, exact to one step (2 * bound / 255)."""
  pixels = flow.astype(np.float32) * np.float32(2 * bound / 255) - bound
  return np.where(flow == NO_MOTION, np.float32(0), pixels).astype(np.float32)


def stream(
  chunks: Iterable[UInt8[np.ndarray, '_ h w 3']],
  *,
  method: str = 'auto',
  bound: float = BOUND_PIXELS,
  threads: int | None = None,
) -> Iterator[UInt8[np.ndarray, '_ h w 2']]:
  """Yields flow frames, one a frame, in pieces about as long as the input's.

  Args:
    chunks: RGB frames in order, in pieces of any length.
    method: 'tvl1', 'dis' or 'auto' (see `choose`).
    bound: motion of more pixels is clipped.
    threads: fields computed at a time; None: one a core.
  """
  for _, flow in _both(chunks, method, bound, threads):
    yield flow


def with_flow(
  chunks: Iterable[UInt8[np.ndarray, '_ h w 3']],
  *,
  method: str = 'auto',
  bound: float = BOUND_PIXELS,
  threads: int | None = None,
) -> Iterator[UInt8[np.ndarray, '_ h w 5']]:
  """Yields frames and their flow as five channels; arguments: `stream`."""
  for frames, flow in _both(chunks, method, bound, threads):
    yield np.concatenate([frames, flow], axis=3)


def for_modality(
  chunks: Iterable[UInt8[np.ndarray, '_ h w 3']],
  modality: str,
  **kwargs: Any,
) -> Iterator[UInt8[np.ndarray, '_ h w c']]:
  """Yields what an extractor's modality asks for; other arguments: `stream`.

  Args:
    chunks: RGB frames.
    modality: 'rgb', 'flow' or 'rgb+flow'.
    **kwargs: `method`, `bound`, `threads`.
  Raises:
    ValueError: on another modality.
  """
  if modality == 'rgb':
    return iter(chunks)
  if modality == 'flow':
    return stream(chunks, **kwargs)
  if modality == 'rgb+flow':
    return with_flow(chunks, **kwargs)
  raise ValueError(
    f"modality must be 'rgb', 'flow' or 'rgb+flow', got {modality!r}"
  )


def picture(
  flow: UInt8[np.ndarray, 'h w 2'], largest: float | None = None
) -> UInt8[np.ndarray, 'h w 3']:
  """A flow frame to look at: hue is direction, saturation is speed.

  Args:
    flow: bytes.
    largest: pixels of motion drawn fully saturated; None: the frame's own.
  Returns:
    RGB; white does not move.
  """
  cv2 = _opencv()
  pixels = to_pixels(flow)
  speed = np.hypot(pixels[..., 0], pixels[..., 1])
  largest = largest or max(float(speed.max()), 1e-6)
  angle = np.arctan2(pixels[..., 1], pixels[..., 0])
  hsv = np.empty((*flow.shape[:2], 3), np.float32)
  hsv[..., 0] = np.degrees(angle) % 360
  hsv[..., 1] = np.minimum(speed / largest, 1)
  hsv[..., 2] = 1
  rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
  return np.rint(rgb * 255).astype(np.uint8)


def _opencv():
  try:
    import cv2
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f'optical flow needs OpenCV, which is not installed; {_REMEDY}',
      name='cv2',
    ) from error
  return cv2


class _Fields:
  """Computes single fields; one algorithm object a thread."""

  def __init__(self, method: str, bound: float):
    self._method = method
    self._bound = bound
    self._local = threading.local()

  def __call__(self, before, after):
    if not hasattr(self._local, 'algorithm'):
      self._local.algorithm = self._make()
    # TV-L1 starts from what is in the output array, so it must be a new one.
    flow = self._local.algorithm.calc(before, after, None)
    return to_bytes(flow, self._bound)

  def _make(self):
    cv2 = _opencv()
    if self._method == 'tvl1':
      return cv2.optflow.DualTVL1OpticalFlow_create()
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


class _SingleThreads:
  """OpenCV's thread count is one for the process: the last to leave resets it."""

  def __init__(self):
    self._lock = threading.Lock()
    self._users, self._before = 0, 0

  @contextlib.contextmanager
  def __call__(self):
    cv2 = _opencv()
    with self._lock:
      if not self._users:
        self._before = cv2.getNumThreads()
        cv2.setNumThreads(1)
      self._users += 1
    try:
      yield
    finally:
      with self._lock:
        self._users -= 1
        if not self._users:
          cv2.setNumThreads(self._before)


_single_threaded_opencv = _SingleThreads()


def _both(chunks, method, bound, threads):
  """Yields (frames, flow), the last pair without motion."""
  fields = _Fields(choose(method), bound)
  waiting = collections.deque()  # (chunk, its fields to come)
  last = None
  with (
    _single_threaded_opencv(),
    concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count()) as pool,
  ):
    for chunk in chunks:
      if not len(chunk):
        continue
      grey = _grey(chunk)
      if last is not None:
        # Only now the field of the last frame before this chunk can be had.
        waiting[-1][1].append(pool.submit(fields, last, grey[0]))
      pairs = zip(grey, grey[1:])
      waiting.append((chunk, [pool.submit(fields, *pair) for pair in pairs]))
      last = grey[-1]
      # This chunk is in work while the caller uses the one before.
      while len(waiting) > 1:
        yield _joined(*waiting.popleft())
    while waiting:
      yield _joined(*waiting.popleft())


def _grey(chunk):
  cv2 = _opencv()
  return [
    cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    for frame in chunk
  ]


def _joined(chunk, futures):
  flow = np.full((*chunk.shape[:3], 2), NO_MOTION, np.uint8)
  for index, future in enumerate(futures):
    flow[index] = future.result()
  return chunk, flow
