"""From a ranked list to the one that is used: filters, which leave scores alone.

Scores that are calibrated stay so. Every filter keeps or drops a proposal for
what better ones there are, never for what is worse: with a higher least score
the list is the beginning of the same list.
"""

import bisect
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64


class Settings(NamedTuple):
  """What the list is limited to; as it stands: not at all.

  Attributes:
    min_score: proposals of lower scores are left out; None: none.
    non_overlapping: each must begin after, or end before, all better ones.
    max_per_minute: most proposals a minute of the video, on average over all of
      it, rounded up; 0: any number.
  """

  min_score: float | None = None
  non_overlapping: bool = False
  max_per_minute: float = 0.0

  def check(self) -> None:
    """Checks the values.

    Raises:
      ValueError: naming the flag that sets one that cannot be.
    """
    if self.min_score is not None and not math.isfinite(self.min_score):
      raise ValueError(f'--min_score must be a number, got {self.min_score}')
    if not 0 <= self.max_per_minute < math.inf:
      raise ValueError(
        '--max_per_minute must be at least 0 (0: any number), got '
        f'{self.max_per_minute:g}'
      )


# A ranked list as it is.
NO_LIMITS = Settings()


def select(
  segments: Float[np.ndarray, 'n 2'],
  scores: Float[np.ndarray, ' n'],
  duration_sec: float,
  settings: Settings,
) -> Int64[np.ndarray, ' k']:
  """Indices of the proposals that are kept, best first.

  Args:
    segments: of one video, seconds.
    scores: of each; equal ones keep their order.
    duration_sec: of the video, for `max_per_minute`.
    settings: see `Settings`.
  """
  order = np.argsort(-scores, kind='stable')
  if settings.min_score is not None:
    order = order[scores[order] >= settings.min_score]
  if settings.non_overlapping:
    order = order[_apart(segments[order])]
  if settings.max_per_minute:
    # Not 6 of 5.0000000001.
    most = math.ceil(settings.max_per_minute * duration_sec / 60 - 1e-6)
    order = order[:most]
  return order


def _apart(segments):
  """Of segments, best first: places of those apart from all kept before."""
  kept, starts, ends = [], [], []
  for place, (start, end) in enumerate(segments.tolist()):
    # What is kept lies in a row: neighbours alone can overlap.
    at = bisect.bisect_right(starts, start)
    if at and (ends[at - 1] > start or starts[at - 1] == start):
      continue
    if at < len(starts) and starts[at] < end:
      continue
    starts.insert(at, start)
    ends.insert(at, end)
    kept.append(place)
  return np.array(kept, np.int64)
