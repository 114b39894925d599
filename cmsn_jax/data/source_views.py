"""A source of feature rows as seen otherwise: more slowly, or by several."""

import functools
import math

import numpy as np
from jaxtyping import Float, Float32

from cmsn_jax.data import sources

# Rows that `Shared` reads at once, and how many times as many it keeps.
_BLOCK, _KEPT_BLOCKS = 2048, 4


class Shared:
  """A source of feature rows for several who go through a video side by side.

  Rows are read, pooled and standardised once for all, a block at a time; the last
  blocks are kept for those who are a little behind.

  Args:
    source: as it is.
  """

  def __init__(self, source: sources.Source):
    self._source = source
    self.feature_fps = source.feature_fps
    self.snippet_shape = source.snippet_shape
    self._block = functools.lru_cache(_KEPT_BLOCKS)(
      functools.partial(_read_block, source)
    )

  def num_snippets(self, video_id: str) -> int:
    """Snippets of a video."""
    return self._source.num_snippets(video_id)

  def read(
    self, video_id: str, start: int, stop: int
  ) -> Float[np.ndarray, 't d']:
    """Snippets [start, stop) of a video."""
    stop = min(stop, self.num_snippets(video_id))
    if stop <= start:
      return self._source.read(video_id, start, start)
    numbers = range(start // _BLOCK, -(-stop // _BLOCK))
    rows = [self._block(video_id, number) for number in numbers]
    first = numbers[0] * _BLOCK
    return np.concatenate(rows)[start - first : stop - first]


class Slowed:
  """A source of feature rows as if its videos were played more slowly.

  Args:
    source: as it is.
    factor: how many times as slowly: so many snippets to one of the source,
      interpolated between the centres of its own.
  """

  def __init__(self, source: sources.Source, factor: float | int):
    self._source, self._factor = source, factor
    self.feature_fps = source.feature_fps * factor
    self.snippet_shape = source.snippet_shape

  def num_snippets(self, video_id: str) -> int:
    """Snippets of a video; the last may reach beyond its end."""
    own = self._source.num_snippets(video_id)
    # Not one more for what a product of fractions is off.
    return math.ceil(round(own * self._factor, 6))

  def read(
    self, video_id: str, start: int, stop: int
  ) -> Float32[np.ndarray, 't d']:
    """Snippets [start, stop) of a video."""
    stop = min(stop, self.num_snippets(video_id))
    if stop <= start:
      return np.zeros((0, *self.snippet_shape), np.float32)
    last = self._source.num_snippets(video_id) - 1
    place = sources.centres(np.arange(start, stop), self._factor)
    place = np.clip(place, 0, last)
    first = int(place[0])
    rows = self._source.read(video_id, first, min(int(place[-1]) + 1, last) + 1)
    return sources.between(rows, place - first)


def _read_block(source, video_id, number):
  start = number * _BLOCK
  stop = min(start + _BLOCK, source.num_snippets(video_id))
  return source.read(video_id, start, stop)
