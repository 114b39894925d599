"""The one choice among the ways of suppressing overlapping proposals."""

from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int

from cmsn_jax.suppression import nms, threshold_nms


def select(
  segments: Float[np.ndarray, 'n 2'],
  scores: Float[np.ndarray, ' n'] | Float[np.ndarray, 'n k'],
  method: str,
  settings: Any,
  max_proposals: int | None,
) -> tuple[Int[np.ndarray, ' m'], Float64[np.ndarray, ' m']]:
  """Indices kept and their scores, best first (Sec. 3.3).

  Args:
    segments: any unit.
    scores: of each proposal; or P(tIoU >= threshold) at the ten thresholds, as
      'threshold' needs them, which the other methods average.
    method: 'soft', 'greedy', 'threshold' or 'none', which ranks only.
    settings: with `sigma` and `threshold` of Soft-NMS and `greedy_tiou`.
    max_proposals: kept at most; None: all.

  Raises:
    ValueError: on another method, or 'threshold' without probabilities.
  """
  if method == 'threshold' and scores.ndim == 2:
    return threshold_nms.select(segments, scores, max_proposals=max_proposals)
  if scores.ndim == 2:
    scores = scores.mean(axis=1)
  if method == 'soft':
    return nms.soft_nms(
      segments,
      scores,
      sigma=settings.sigma,
      threshold=settings.threshold,
      max_proposals=max_proposals,
    )
  if method == 'greedy':
    return nms.greedy_nms(
      segments, scores, tiou=settings.greedy_tiou, max_proposals=max_proposals
    )
  if method == 'none':
    order = np.lexsort((segments[:, 1], segments[:, 0], -scores))
    return order[:max_proposals], scores[order[:max_proposals]]
  raise ValueError(
    "nms.method must be 'soft', 'greedy', 'none', or 'threshold' where an "
    f'evaluator gives a probability a threshold, got {method!r}'
  )
