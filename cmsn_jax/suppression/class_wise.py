"""NMS among the proposals of one label, which leaves other labels alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cmsn_jax.suppression import nms

METHODS = ('none', 'greedy', 'soft')


def suppress(
  segments: Float[np.ndarray, 'n 2'],
  scores: Float[np.ndarray, ' n'],
  labels: Sequence[str],
  *,
  method: str = 'greedy',
  **options: Any,
) -> nms.Kept:
  """What each label's NMS keeps of one video's proposals, best first.

  Args:
    segments: `[n, 2]`, any unit.
    scores: `[n]`, at least 0.
    labels: `[n]`.
    method: 'greedy', 'soft', or 'none', which keeps all.
    **options: of `nms.greedy_nms` or `nms.soft_nms`.
  Returns:
    indices into the input and scores, best first; ties by index.
  Raises:
    ValueError: as those do, or on an unknown method.
  """
  many: Callable
  if method == 'greedy':
    many = nms.greedy_nms_many
  elif method == 'soft':
    many = nms.soft_nms_many
  elif method == 'none':
    order = np.argsort(-scores, kind='stable')
    return order, scores[order]
  else:
    raise ValueError(f'method must be one of {METHODS}, got {method!r}')
  _, number = np.unique(np.asarray(labels, object), return_inverse=True)
  order = np.argsort(number, kind='stable')
  borders = np.flatnonzero(np.diff(number[order])) + 1
  groups = np.split(order, borders) if len(order) else []
  found = many(
    [segments[group] for group in groups],
    [scores[group] for group in groups],
    **options,
  )
  none = np.zeros(0, np.int64)
  kept = np.concatenate([none, *(g[k] for g, (k, _) in zip(groups, found))])
  left = np.concatenate([np.zeros(0), *(score for _, score in found)])
  order = np.lexsort((kept, -left))
  return kept[order], left[order]
