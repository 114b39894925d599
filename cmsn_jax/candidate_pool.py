"""Candidates of a video's overlapping windows, each segment once (Sec. 3.4).

Windows overlap, by half unless set otherwise, so most segments are found twice.
A second copy can recall nothing that the first does not, costs the evaluator as
much, and takes a place in the ranking.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cmsn_jax import proposals

# Ends are below this many snippets, so (start, end) is one sortable number.
_BASE = 1 << 31


def distinct(
  found: Iterable[tuple[Any, proposals.Candidates]],
) -> Iterator[tuple[Any, proposals.Candidates]]:
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
    return self.window, proposals.Candidates(*kept)
