"""Frames that arrive → rows of features at the extractor's rate.

Where frames are missing the row before them stands for as long: the place of
a row is its time, whatever was lost.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32, UInt8

from cmsn_jax.features import held_rows, packing, video_features
from cmsn_jax.video import flow

# Snippets that are computed in one call: what is waited for before the first.
_CHUNK_SNIPPETS = 2


class LiveRows:
  """Rows of features of frames with their places on the clock.

  Args:
    features: how features are made.
    frames: (index of the first frame, frames [n, h, w, 3]), in order; frames
      between two chunks may be missing.
    chunk_snippets: computed in one call.

  Attributes:
    held: rows that stand for missing frames.
  """

  def __init__(
    self,
    features: video_features.VideoFeatures,
    frames: Iterable[tuple[int, UInt8[np.ndarray, '_ _ _ 3']]],
    chunk_snippets: int = _CHUNK_SNIPPETS,
  ):
    self._features = features
    self._made = dataclasses.replace(
      features.extractor, chunk_snippets=chunk_snippets
    )
    self._frames = iter(frames)
    self._next: tuple[int, np.ndarray] | None = None
    self.held = 0

  def __iter__(self) -> Iterator[Float32[np.ndarray, '_ d']]:
    """Yields rows, without a gap from time 0 on."""
    stride, count, last = self._made.stride, 0, None
    self._next = next(self._frames, None)
    while self._next is not None:
      # A run begins with a whole snippet.
      row = -(-self._next[0] // stride)
      missing = row - count
      for rows in self._run(row * stride):
        if missing > 0:
          before = rows[:1] if last is None else last
          yield from held_rows.held(before, missing)
          self.held, count, missing = self.held + missing, row, 0
        last, count = rows[-1:], count + len(rows)
        yield rows

  def _run(self, start):
    """Rows of frames without a gap; those before `start` are left out."""
    run = self._without_gap(start)
    first = next(run, None)
    if first is None:
      return
    frames = _chained(first, run)
    if self._features.flow_method:
      frames = flow.for_modality(
        frames,
        self._made.modality,
        method=self._features.flow_method,
        bound=self._features.flow_bound,
        threads=self._features.flow_threads or None,
      )
    # A begun snippet at the end of a run is a row too: the next one begins
    # behind it.
    yield from packing.iterate(self._made, frames)

  def _without_gap(self, start):
    at = self._next[0]
    while self._next is not None and self._next[0] == at:
      index, chunk = self._next
      at = index + len(chunk)
      if at > start:
        yield chunk[max(0, start - index) :]
      # Only now: nobody is to wait for frames that are yet to come.
      self._next = next(self._frames, None)


def _chained(first, rest):
  yield first
  yield from rest
