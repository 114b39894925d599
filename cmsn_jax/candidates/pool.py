"""Candidates of a video's windows: each once, and in groups to evaluate.

Windows overlap (Sec. 3.4), by half unless set otherwise, so most segments are
found twice. A second copy can recall nothing that the first does not, costs the
evaluator as much, and takes a place in the ranking.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cmsn_jax.candidates import runs

# Ends are below this many snippets, so (start, end) is one sortable number.
_BASE = 1 << 31


def distinct(
  found: Iterable[tuple[Any, runs.Candidates]],
) -> Iterator[tuple[Any, runs.Candidates]]:
  """Yields the windows with the candidates that no other one has better.

  A segment stays in the window where its pre-score is highest; ties: in the
  earliest. Only the windows that the newest one overlaps are held back.

  Args:
    found: windows of one video in time order, each with `start` and
      `probabilities` [t, 6], and its candidates in snippets of the window.
  """
  held = []
  for window, candidates in found:
    while held and held[0].stop <= window.start:
      yield held.pop(0).result()
    newest = _Held(window, candidates)
    for earlier in held:
      earlier.share(newest)
    held.append(newest)
  for one in held:
    yield one.result()


def blocks(
  starts: np.ndarray, ends: np.ndarray, window: int, most: int
) -> Iterator[tuple[np.ndarray, int, int]]:
  """Groups of proposals, each within one stretch of few possible lengths.

  Args:
    starts: first snippets, [n].
    ends: last snippets, inclusive, [n].
    window: least length of a stretch.
    most: proposals of a group.

  Yields:
    indices of a group, first snippet and length of its stretch.
  """
  if not len(starts):
    return
  order = np.argsort(starts, kind='stable')
  longest = int((ends - starts).max()) + 1
  length = window if longest <= window else bucket(2 * longest, window)
  begin = 0
  while begin < len(order):
    start = int(starts[order[begin]])
    if length == window and ends.max() < window:
      start = 0  # One window holds all.
    outside = np.flatnonzero(ends[order[begin:]] >= start + length)
    stop = begin + (int(outside[0]) if len(outside) else len(order) - begin)
    stop = min(stop, begin + most)
    yield order[begin:stop], start, length
    begin = stop


def bucket(number: int, least: int) -> int:
  """`least`, doubled until it is not below `number`: few sizes to compile."""
  while least < number:
    least *= 2
  return least


class _Held:
  def __init__(self, window, candidates):
    self.window, self.candidates = window, candidates
    self.stop = window.start + len(window.probabilities)
    starts = candidates.starts + window.start
    self.keys = starts * _BASE + candidates.ends + window.start
    self.kept = np.ones(len(starts), bool)

  def share(self, later):
    """Leaves each segment that both have with one of them."""
    _, own, its = np.intersect1d(
      self.keys, later.keys, assume_unique=True, return_indices=True
    )
    better = later.candidates.pre_scores[its] > self.candidates.pre_scores[own]
    self.kept[own[better]] = False
    later.kept[its[~better]] = False

  def result(self):
    kept = (column[self.kept] for column in self.candidates)
    return self.window, runs.Candidates(*kept)
