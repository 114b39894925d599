"""Where to cut a ranked list: the least score with the best F1."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from cmsn_jax.evaluation import detection_matching


class Video(NamedTuple):
  """Proposals and ground truth of one video, in seconds.

  Attributes:
    segments: proposals.
    scores: of each.
    instances: the ground truth.
  """

  segments: Float[np.ndarray, 'n 2']
  scores: Float[np.ndarray, ' n']
  instances: Float[np.ndarray, 'm 2']


class OperatingPoint(NamedTuple):
  """A least score, and what it keeps.

  Attributes:
    min_score: half way between the worst proposal kept and the best one left
      out.
    precision: share of the proposals kept that are right.
    recall: share of the instances that are found.
    f1: harmonic mean of both.
    kept: number of proposals.
    instances: number of them.
    tiou: with which a proposal is right.
  """

  min_score: float
  precision: float
  recall: float
  f1: float
  kept: int
  instances: int
  tiou: float

  def __str__(self):
    return (
      f'least score {self.min_score:.4g}: precision {self.precision:.3f}, '
      f'recall {self.recall:.3f}, F1 {self.f1:.3f} at tIoU {self.tiou:g} '
      f'({self.kept} proposals, {self.instances} instances)'
    )


def best_f1(
  videos: Sequence[Video], tiou: float = 0.5
) -> OperatingPoint | None:
  """The least score with the highest F1 over all videos together.

  Each proposal, best first, finds the instance that it overlaps most among
  those that no better one has found, if their tIoU reaches `tiou`; one that
  finds none is wrong. Of equal F1, the highest score.

  Args:
    videos: with proposals as they shall be used but for the score.
    tiou: above 0, at most 1.

  Returns:
    None where no proposal is right.

  Raises:
    ValueError: on another `tiou`.
  """
  _, scores, instance = matched(videos, tiou)
  right = instance >= 0
  if not right.any():
    return None
  instances = sum(len(v.instances) for v in videos)
  last = cuts(scores)
  hits = np.cumsum(right)[last]
  f1 = 2 * hits / (last + 1 + instances)
  best = int(f1.argmax())
  cut = scores[last[best]]
  if best + 1 < len(last):
    cut = (cut + scores[last[best + 1]]) / 2
  kept = int(last[best]) + 1
  return OperatingPoint(
    float(cut),
    float(hits[best] / kept),
    float(hits[best] / instances),
    float(f1[best]),
    kept,
    instances,
    tiou,
  )


class Matched(NamedTuple):
  """All videos' proposals, best first, and what they find.

  Attributes:
    order: of the proposals of all videos, one after the other, `[n]`.
    scores: in that order, `[n]`.
    instance: that each finds, counted over all videos; -1: none, `[n]`.
  """

  order: Int64[np.ndarray, ' n']
  scores: Float64[np.ndarray, ' n']
  instance: Int64[np.ndarray, ' n']


def matched(videos: Sequence[Video], tiou: float | int) -> Matched:
  """Which proposal finds which instance; see `best_f1`.

  Raises:
    ValueError: on a `tiou` that is not above 0 and at most 1.
  """
  if not 0 < tiou <= 1:
    raise ValueError(f'tiou must be above 0 and at most 1, got {tiou:g}')
  scores = np.concatenate([np.zeros(0), *(v.scores for v in videos)])
  order = np.argsort(-scores, kind='stable')
  none = np.zeros((0, 2))
  instances = np.concatenate([none, *(v.instances for v in videos)])
  found = detection_matching.pairs(
    np.concatenate([none, *(v.segments for v in videos)])[order],
    _numbers([len(v.scores) for v in videos])[order],
    instances,
    _numbers([len(v.instances) for v in videos]),
    tiou,
  )
  detection = detection_matching.assign(found, tiou, len(instances))
  is_found = detection >= 0
  instance = np.full(len(order), -1)
  instance[detection[is_found]] = np.flatnonzero(is_found)
  return Matched(order, scores[order], instance)


def cuts(scores: Float[np.ndarray, ' n']) -> Int64[np.ndarray, ' k']:
  """Places of the last proposal that each least score keeps, best first."""
  last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))
  return last[: len(scores)]


def _numbers(counts):
  return np.repeat(np.arange(len(counts)), counts)
