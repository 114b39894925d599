"""What networks say of half-overlapping windows of any videos (Sec. 3.4).

Batches run across the borders of videos, and one is computed while the host
works on the one before.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cmsn_jax.chains import device, prediction
from cmsn_jax.data import windows as windows_lib

# Windows computed in one call, fewer where they hold more pixels than this: the
# full-size network needs gigabytes for a single one, small ones stay in a CPU's
# cache one at a time, and the first call need not wait until more are decoded.
# Frames come more slowly than a GPU takes them, however many a call.
_BATCH = 8
_BATCH_PIXELS = 2**18


class Predictor(prediction.Predictor):
  """Proposes from what a network says of half-overlapping windows.

  A chain says by `video` what follows from those of one video.
  """

  def propose(
    self,
    source: Any,
    video_ids: Iterable[str],
    on_error: prediction.OnError | None = None,
  ) -> Iterator[tuple[str, prediction.Prediction]]:
    """Yields (video id, prediction) in the order given.

    Memory is bounded by one batch of windows and what `video` keeps.
    """
    length = self.config.windows.length
    hop = windows_lib.hop_snippets(length, self.config.windows.overlap)

    def windows(note):
      return outputs(
        lambda inputs, mask: self._encode(self.params, inputs, mask),
        length,
        source,
        window_places(source, video_ids, length, hop, note),
        note,
      )

    yield from each_video(
      windows, lambda *group: self.video(source, *group), on_error
    )

  def video(
    self, source: Any, video_id: str, windows: Iterable['Outputs']
  ) -> prediction.Prediction:
    """The prediction of one video, from its windows in order."""
    raise NotImplementedError


def each_video(
  windows: Callable[[prediction.OnError | None], Iterable[Any]],
  found: Callable[[str, Iterable[Any]], prediction.Prediction],
  on_error: prediction.OnError | None = None,
) -> Iterator[tuple[str, prediction.Prediction]]:
  """Yields (video id, what is found in its windows), without those that fail.

  Args:
    windows: on_error -> windows with their `video_id`, a video after the other.
    found: video id, its windows -> its prediction.
    on_error: see `prediction.Predictor.propose`.
  """
  failed = set()

  def note(video_id, message):
    failed.add(video_id)
    on_error(video_id, message)

  stream = windows(on_error and note)
  for video_id, group in itertools.groupby(stream, lambda w: w.video_id):
    one = found(video_id, group)
    # Known only when all its windows are read.
    if video_id not in failed:
      yield video_id, one


class Outputs(NamedTuple):
  """Of one window's valid snippets.

  Attributes:
    video_id: whose window.
    start: its first snippet.
    arrays: what the network says, each [t, ...].
  """

  video_id: str
  start: int
  arrays: tuple[np.ndarray, ...]


def outputs(
  encode: Callable[[Any, Any], tuple[Any, ...]],
  length: int,
  source: Any,
  places: Iterable[windows_lib.Window],
  on_error: prediction.OnError | None = None,
) -> Iterator[Outputs]:
  """What a network says of windows, in the order given.

  Args:
    encode: inputs, mask -> arrays [b, t, ...].
    length: snippets of a window.
    source: see `sources.Source`.
    places: the windows.
    on_error: see `prediction.Predictor.propose`.
  """
  pending = None
  for group in _batched(_read(source, places, on_error), length):
    batch = [window for window, _ in group]
    found = _compute(encode, length, [snippets for _, snippets in group], batch)
    # One batch is computed while the host works on the one before.
    if pending is not None:
      yield from _unbatch(*pending)
    pending = batch, found
  if pending is not None:
    yield from _unbatch(*pending)


def batch_size(window_shape: tuple[int, ...]) -> int:
  """Windows computed in one call.

  Args:
    window_shape: (t, d) of features, (f, h, w, 3) of frames.
  """
  if len(window_shape) == 2:
    return _BATCH
  frames, height, width, _ = window_shape
  return min(_BATCH, max(1, _BATCH_PIXELS // (frames * height * width)))


def window_places(
  source: Any,
  video_ids: Iterable[str],
  length: int,
  hop: int,
  on_error: prediction.OnError | None = None,
) -> Iterator[windows_lib.Window]:
  """The windows of videos, in order; see `prediction.Predictor.propose`
  of `on_error`."""
  for video_id in video_ids:
    try:
      total = source.num_snippets(video_id)
    except (ValueError, OSError) as error:
      if on_error is None:
        raise
      on_error(video_id, str(error))
      continue
    for start in windows_lib.window_starts(total, length, hop):
      yield windows_lib.Window(video_id, start, min(length, total - start))


def _compute(encode, length, arrays, batch):
  rows = length * (len(arrays[0]) // batch[0].length if batch[0].length else 1)
  size = batch_size((rows, *arrays[0].shape[1:]))
  inputs = np.stack([windows_lib.pad(a, rows) for a in arrays])
  inputs = windows_lib.pad(inputs, size)
  lengths = np.array([w.length for w in batch] + [0] * (size - len(batch)))
  mask = np.arange(length)[None, :] < lengths[:, None]
  return encode(inputs, mask)


def _read(source, places, on_error):
  """Yields (window, snippets), without the videos that cannot be read."""
  failed = None
  for window in places:
    if window.video_id == failed:
      continue
    try:
      stop = window.start + window.length
      snippets = source.read(window.video_id, window.start, stop)
    except (ValueError, OSError) as error:
      if on_error is None:
        raise
      failed = window.video_id
      on_error(failed, str(error))
      continue
    yield window, snippets


def _batched(items, length):
  """Lists of (window, snippets), as many as are computed in one call."""
  items = iter(items)
  for window, snippets in items:
    rows = len(snippets) // max(window.length, 1) * length
    size = batch_size((rows, *snippets.shape[1:]))
    yield [(window, snippets), *itertools.islice(items, size - 1)]


def _unbatch(batch, found):
  # Where there are no labels, nothing is said of them.
  found = device.fetch([array for array in found if array is not None])
  for i, window in enumerate(batch):
    yield Outputs(
      window.video_id,
      window.start,
      tuple(array[i, : window.length] for array in found),
    )
