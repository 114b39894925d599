"""Training windows: where they lie, and the batch of any step.

The batch of a step is a pure function of (seed, step), so a run that is
stopped and resumed sees the data it would have seen.
"""

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from cmsn_jax import segments as segments_lib

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Window:
  """Snippets [start, start + length) of a video; `length` are real ones."""

  video_id: str
  start: int
  length: int


def window_starts(num_snippets: int, length: int, hop: int) -> list[int]:
  """Starts of the windows that cover a video (Sec. 3.4, "half overlap").

  The last window is the first that reaches the end; its tail is padded.

  Raises:
    ValueError: if hop is not within [1, length].
  """
  if not 1 <= hop <= length:
    raise ValueError(f'hop must be within [1, {length}], got {hop}')
  last = max(0, num_snippets - length)
  return [*range(0, last, hop), *([-(-last // hop) * hop] if last else [0])]


def hop_snippets(length: int, overlap: float | int) -> int:
  """Snippets between the starts of neighbouring windows.

  Args:
    length: snippets a window.
    overlap: share of a window that the next one sees again.
  Returns:
    at least 1.
  Raises:
    ValueError: if the overlap is not within [0, 1).
  """
  if not 0 <= overlap < 1:
    raise ValueError(f'windows.overlap must be within [0, 1), got {overlap}')
  return max(1, round(length * (1 - overlap)))


def training_windows(
  num_snippets: Mapping[str, int],
  segments_sec: Mapping[str, Float[np.ndarray, 'n 2']],
  feature_fps: float,
  *,
  length: int,
  hop: int,
  require_instance: bool = True,
  unknown_sec: Mapping[str, Float[np.ndarray, '_ 2']] | None = None,
) -> list[Window]:
  """Half-overlapping windows of all videos, in the order of their names.

  Args:
    num_snippets: video id -> snippets.
    segments_sec: video id -> ground truth [n, 2] in seconds.
    feature_fps: snippets a second.
    length: snippets a window.
    hop: snippets between the starts of neighbouring windows.
    require_instance: keep only windows that hold part of an instance.
    unknown_sec: video id -> spans [n, 2] that teach nothing; windows that lie
      wholly within them are left out.

  Raises:
    ValueError: if no window is left.
  """
  windows = []
  for video_id in sorted(num_snippets):
    total = num_snippets[video_id]
    for start in window_starts(total, length, hop):
      window = Window(video_id, start, min(length, total - start))
      if (
        window.length > 0
        and (
          not require_instance
          or _overlaps(window, segments_sec[video_id], feature_fps)
        )
        and not _unknown(window, (unknown_sec or {}).get(video_id), feature_fps)
      ):
        windows.append(window)
  if not windows:
    raise ValueError(
      f'no training window: none of {len(num_snippets)} videos has a window '
      'that holds part of an instance; check the annotations and feature_fps'
    )
  return windows


def _overlaps(window, segments, feature_fps):
  start = window.start / feature_fps
  stop = (window.start + window.length) / feature_fps
  return bool(np.any((segments[:, 0] < stop) & (segments[:, 1] > start)))


def _unknown(window, spans, feature_fps):
  if spans is None or not len(spans):
    return False
  whole = np.array([[window.start, window.start + window.length]])
  return not len(segments_lib.without(whole / feature_fps, spans))


def steps_per_epoch(num_windows: int, batch_size: int) -> int:
  """Steps until every window was seen at least once."""
  return -(-num_windows // batch_size)


class WindowLoader:
  """Batches of training windows, each a pure function of (seed, step).

  Every epoch visits every window once in a new order; epochs follow each
  other without a gap, so a batch may hold the end of one and the start of the
  next.

  Args:
    read_window: window, generator -> its arrays, each of a fixed shape.
    windows: all training windows.
    batch_size: windows a step over all processes.
    seed: of order and augmentation.
    process_index: this process's place among `process_count`; it loads only
      its own share of each batch.
    process_count: number of processes.

  Raises:
    ValueError: if batch_size is not divisible by process_count.
  """

  def __init__(
    self,
    read_window: Callable[[Window, np.random.Generator], Batch],
    windows: Sequence[Window],
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
  ):
    if batch_size % process_count:
      raise ValueError(
        f'batch_size must be divisible by the {process_count} processes, '
        f'got {batch_size}'
      )
    self._read = read_window
    self.windows = list(windows)
    self.batch_size = batch_size
    self._seed = seed
    share = batch_size // process_count
    self._share = range(process_index * share, (process_index + 1) * share)
    self._order = (-1, np.empty(0, int))

  @property
  def steps_per_epoch(self) -> int:
    """Steps until every window was seen at least once."""
    return steps_per_epoch(len(self.windows), self.batch_size)

  def batch(self, step: int) -> Batch:
    """Returns {name: array [b, ...]} of a step, plus `window` indices [b]."""
    items = []
    for offset in self._share:
      position = step * self.batch_size + offset
      index = self._index(position)
      rng = np.random.default_rng((self._seed, 1, position))
      item = self._read(self.windows[index], rng)
      items.append({**item, 'window': np.int32(index)})
    return {key: np.stack([item[key] for item in items]) for key in items[0]}

  def _index(self, position):
    epoch, place = divmod(position, len(self.windows))
    order = self._order  # One read: another thread may replace it.
    if order[0] != epoch:
      rng = np.random.default_rng((self._seed, 0, epoch))
      order = self._order = (epoch, rng.permutation(len(self.windows)))
    return int(order[1][place])


def prefetched(
  batch: Callable[[int], Batch], start: int, stop: int, size: int = 2
) -> Iterator[Batch]:
  """Yields batch(start) .. batch(stop - 1), loaded by a thread ahead.

  What the thread raises is raised here.
  """
  ready = queue.Queue(maxsize=size)
  closed = threading.Event()

  def put(item):
    while not closed.is_set():
      try:
        return ready.put(item, timeout=0.1)
      except queue.Full:
        continue

  def work():
    try:
      for step in range(start, stop):
        if closed.is_set():
          return
        put((batch(step), None))
    except BaseException as error:  # Handed to the consumer, who raises it.
      put((None, error))

  thread = threading.Thread(target=work, daemon=True)
  thread.start()
  try:
    for _ in range(start, stop):
      item, error = ready.get()
      if error is not None:
        raise error
      yield item
  finally:
    closed.set()
    thread.join()


def pad(array: np.ndarray, length: int) -> np.ndarray:
  """Pads axis 0 with zeros up to `length`.

  Raises:
    ValueError: if the array is longer.
  """
  if len(array) > length:
    raise ValueError(f'array of length {len(array)} is longer than {length}')
  out = np.zeros((length, *array.shape[1:]), array.dtype)
  out[: len(array)] = array
  return out
