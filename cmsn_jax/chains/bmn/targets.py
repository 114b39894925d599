"""What the boundary-matching network learns of one window."""

import numpy as np
from jaxtyping import Float, Float32

from cmsn_jax import segments as segments_lib

# Share of an instance's duration on either side of its borders that is start or
# end (Sec. 4.1), and the snippets that this is at least.
_REGION = 0.1
_LEAST = 1.0


def boundaries(
  instances: Float[np.ndarray, 'n 2'], length: int
) -> Float32[np.ndarray, 't 2']:
  """How far each border lies in a start region, and in an end region.

  The share of [i - 1/2, i + 1/2] that the nearest region covers, i = 0, 1, ...

  Args:
    instances: in snippets of the window.
    length: snippets of it.
  """
  out = np.zeros((length, 2), np.float32)
  if not len(instances):
    return out
  reach = np.maximum(_REGION * segments_lib.durations(instances), _LEAST)
  low = np.arange(length)[:, None] - 0.5
  for side in (0, 1):
    at = instances[:, side]
    covered = np.minimum(low + 1, at + reach) - np.maximum(low, at - reach)
    out[:, side] = np.clip(covered, 0, 1).max(axis=1)
  return out


def confidences(
  instances: Float[np.ndarray, 'n 2'],
  length: int,
  durations: tuple[int, ...],
) -> Float32[np.ndarray, 't d']:
  """Best tIoU of the proposal of each start and duration.

  Args:
    instances: in snippets of the window; parts beyond it count.
    length: snippets of it.
    durations: of the proposals, in snippets.
  """
  starts = np.arange(length, dtype=np.float64)[:, None]
  ends = starts + np.asarray(durations, np.float64)[None, :]
  proposals = np.stack([np.broadcast_to(starts, ends.shape), ends], axis=-1)
  out = np.zeros(ends.shape)
  # One after the other: all at once would be [t, d, n].
  for one in instances:
    tiou = segments_lib.paired_tiou(proposals, one[None, None])
    np.maximum(out, tiou, out=out)
  return out.astype(np.float32)
