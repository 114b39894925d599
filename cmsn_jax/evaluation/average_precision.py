"""Interpolated average precision, as the public ActivityNet evaluation has it."""

import numpy as np
from jaxtyping import Bool, Float64, Int64


def by_class(
  right: Bool[np.ndarray, ' n'],
  counts: Bool[np.ndarray, ' n'],
  bounds: Int64[np.ndarray, ' c1'],
  num_instances: Int64[np.ndarray, ' c'],
) -> Float64[np.ndarray, ' c']:
  """Interpolated average precision of each class.

  Args:
    right: of detections by class, then best first.
    counts: false for those that are left out.
    bounds: where the detections of each class begin, and where the last end.
    num_instances: ground truth of each class, above 0.
  """
  ap = np.zeros(len(num_instances))
  for label, (low, high) in enumerate(zip(bounds[:-1], bounds[1:])):
    ranks = np.cumsum(counts[low:high])[right[low:high]]
    # Recall rises at the right ones alone, where precision is highest.
    precision = np.arange(1, len(ranks) + 1) / ranks
    best = np.maximum.accumulate(precision[::-1])
    ap[label] = best.sum() / num_instances[label]
  return ap
