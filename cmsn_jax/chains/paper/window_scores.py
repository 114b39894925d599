"""Stage scores of half-overlapping windows of any videos (Sec. 3.4)."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cmsn_jax.chains import prediction, windowed
from cmsn_jax.data import windows as windows_lib


class WindowScores(NamedTuple):
  """Stage scores of one window's valid snippets.

  Attributes:
    video_id: whose window.
    start: its first snippet.
    probabilities: of the stages, [t, 6].
    hidden: what the evaluator pools, [t, c].
    actions: probabilities of the labels, [t, a]; None without labels.
  """

  video_id: str
  start: int
  probabilities: np.ndarray
  hidden: np.ndarray
  actions: np.ndarray | None = None


def of_windows(
  encode: Callable[[Any, Any], tuple[Any, ...]],
  length: int,
  source: Any,
  places: Iterable[windows_lib.Window],
  on_error: prediction.OnError | None = None,
) -> Iterator[WindowScores]:
  """Stage scores of windows, in the order given.

  Args:
    encode: inputs, mask -> probabilities [b, t, 6], hidden [b, t, c], and
      actions [b, t, a] where there are labels.
    length: snippets of a window.
    source: see `sources.Source`.
    places: the windows.
    on_error: see `prediction.Predictor.propose`.
  """
  for found in windowed.outputs(encode, length, source, places, on_error):
    yield WindowScores(found.video_id, found.start, *found.arrays)


def stitch(windows: list[WindowScores], total: int) -> WindowScores:
  """Averages overlapping windows into one window of the whole video."""
  arrays = [[x for x in window[2:] if x is not None] for window in windows]
  sums = [np.zeros((total, x.shape[1]), np.float32) for x in arrays[0]]
  counts = np.zeros((total, 1), np.float32)
  for window, own in zip(windows, arrays):
    stop = window.start + len(window.probabilities)
    for whole, part in zip(sums, own):
      whole[window.start : stop] += part
    counts[window.start : stop] += 1
  np.maximum(counts, 1, out=counts)
  return WindowScores(windows[0].video_id, 0, *(x / counts for x in sums))
