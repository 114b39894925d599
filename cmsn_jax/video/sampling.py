"""Constant-rate resampling by timestamps: which source frame, which window.

Output frame `k` covers `[k / fps, (k + 1) / fps)` seconds after the first
frame, and shows the source frame that is on display just before the middle of
that interval. This is the rule of ffmpeg's `fps` filter: a file that already
has the wanted rate comes out frame for frame, whatever its timestamps'
rounding; repeated and skipped frames follow the clock, so variable-rate files
keep their timing.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Int

# Containers round timestamps (Matroska: to 1 ms), and a frame that starts
# exactly in the middle of an interval (60 -> 30 fps) must not come and go with
# that rounding.
TOLERANCE_SEC = 1e-3


def num_output_frames(duration_sec: int | float, fps: int | float) -> int:
  """How many output frames a video of `duration_sec` gives; at least one."""
  tolerance = min(TOLERANCE_SEC, 0.1 / fps)
  return max(1, int(np.ceil((duration_sec - tolerance) * fps - 0.5)))


def source_frames(
  times_sec: Float[np.ndarray, ' n'],
  duration_sec: int | float,
  fps: int | float,
) -> Int[np.ndarray, ' m']:
  """Index of the source frame that each output frame shows.

  Args:
    times_sec: start of every source frame, ascending, the first at 0.
    duration_sec: end of the last source frame.
    fps: output rate, frames a second.

  Returns:
    int64 `[m]`, `m = num_output_frames(duration_sec, fps)`.
  """
  tolerance = min(TOLERANCE_SEC, 0.1 / fps)
  centres = (np.arange(num_output_frames(duration_sec, fps)) + 0.5) / fps
  index = np.searchsorted(times_sec, centres - tolerance, side='right') - 1
  return np.maximum(index, 0).astype(np.int64)


def resample(
  timed: Iterable[tuple[float, float, object]],
  fps: int | float,
  start_frame: int = 0,
  stop_frame: int | None = None,
) -> Iterator[tuple[int, object]]:
  """Streams `source_frames`: yields (output index, item) as items arrive.

  Holds one item at a time, so any length streams in constant memory.

  Args:
    timed: (start, end, item), seconds from the first frame, ascending starts.
      May begin later than 0 where `start_frame` allows it.
    fps: output rate, frames a second.
    start_frame: first output frame wanted.
    stop_frame: one past the last; None means to the end.

  Yields:
    (output frame index, the item on display).
  """
  tolerance = min(TOLERANCE_SEC, 0.1 / fps)
  k = start_frame
  shown, end_sec = None, 0.0
  for start_sec, item_end_sec, item in timed:
    if shown is not None:
      # The new item takes over at the first centre that it began before.
      while (k + 0.5) / fps < start_sec + tolerance:
        if stop_frame is not None and k >= stop_frame:
          return
        yield k, shown
        k += 1
    shown, end_sec = item, max(end_sec, item_end_sec)
  if shown is None:
    return
  total = num_output_frames(end_sec, fps)
  stop = total if stop_frame is None else min(total, stop_frame)
  for last in range(k, stop):
    yield last, shown


def window_starts(
  num_frames: int, window_frames: int, hop_frames: int
) -> Int[np.ndarray, ' w']:
  """First frames of the windows that cover a video, the last one past its end.

  Windows start every `hop_frames`; none starts where the one before it already
  reaches the end. A video shorter than a window has one.
  """
  count = 1
  if num_frames > window_frames:
    count += -(-(num_frames - window_frames) // hop_frames)
  return np.arange(count, dtype=np.int64) * hop_frames


def assemble_windows(
  chunks: Iterable[np.ndarray], window_frames: int, hop_frames: int
) -> Iterator[tuple[int, int, np.ndarray]]:
  """Cuts a stream of frame chunks into overlapping windows.

  Args:
    chunks: arrays `[n, ...]`, any lengths, in order.
    window_frames: length of a window, at least 1.
    hop_frames: distance of two windows' starts, in [1, window_frames].

  Yields:
    (start frame, number of valid frames, array `[window_frames, ...]`); what
    lies past the end of the video is zero. Every array is freshly made.
  """
  if not 1 <= hop_frames <= window_frames:
    raise ValueError(
      'hop_frames must be in [1, window_frames], got '
      f'hop_frames={hop_frames}, window_frames={window_frames}'
    )
  start, filled, window = 0, 0, None
  fresh = True  # the window holds frames that no earlier one had
  for chunk in chunks:
    while len(chunk):
      if window is None:
        window = np.zeros((window_frames, *chunk.shape[1:]), chunk.dtype)
      elif filled == window_frames:
        following = np.zeros_like(window)
        filled = window_frames - hop_frames
        following[:filled] = window[hop_frames:]
        window, start, fresh = following, start + hop_frames, False
      taken = min(len(chunk), window_frames - filled)
      window[filled : filled + taken] = chunk[:taken]
      filled, fresh = filled + taken, True
      chunk = chunk[taken:]
      if filled == window_frames:
        yield start, filled, window
        fresh = False
  if window is not None and fresh:
    yield start, filled, window
