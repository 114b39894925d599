"""Rows that stand for missing ones."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

# At once: memory does not grow with a gap.
_MOST = 1024


def held(
  row: Float32[np.ndarray, '1 d'], number: int
) -> Iterator[Float32[np.ndarray, '_ d']]:
  """Yields the row `number` times, few of them at a time."""
  for start in range(0, number, _MOST):
    yield np.repeat(row, min(_MOST, number - start), axis=0)
