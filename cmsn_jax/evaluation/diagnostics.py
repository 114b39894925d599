"""What the report shows beside AR@AN: where recall, scores, stages go wrong.

Everything here is in seconds and counts each video's best proposals, in the
order of the file: "found at .5" means that one of them has tIoU >= .5 with
the ground-truth segment. AR@AN itself is `metrics`'.
"""

import collections
import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from cmsn_jax import segments, stage_names
from cmsn_jax.evaluation import overlaps

# Ten tIoUs: at 1.0 almost nothing is ever found in seconds.
HIT = 0.5


@dataclasses.dataclass(frozen=True)
class Instances:
  """Every ground-truth segment of a set of videos and its best proposal.

  Attributes:
    video: index of the video in the order given, `[g]`.
    segments_sec: `[g, 2]`.
    labels: one name per segment.
    tiou: tIoU with the best of the video's proposals, 0 without any, `[g]`.
    rank: 0-based rank of that proposal, -1 where nothing overlaps, `[g]`.
  """

  video: Int64[np.ndarray, ' g']
  segments_sec: Float64[np.ndarray, 'g 2']
  labels: tuple[str, ...]
  tiou: Float64[np.ndarray, ' g']
  rank: Int64[np.ndarray, ' g']


@dataclasses.dataclass(frozen=True)
class Group:
  """Recall within one group of ground-truth segments.

  Attributes:
    name: a label, or a range of durations.
    count: ground-truth segments in the group.
    recall: share found at tIoU .5.
    average_recall: mean of the shares found at tIoU .5, .55, ..., .95.
  """

  name: str
  count: int
  recall: float
  average_recall: float


def match(
  true_segments: list[np.ndarray],
  labels: list[tuple[str, ...]],
  proposed_segments: list[np.ndarray],
  *,
  top: int,
) -> tuple[Instances, list[np.ndarray]]:
  """Pairs ground truth with proposals, video by video.

  Args:
    true_segments: `[g_v, 2]` seconds for each video.
    labels: a name for each of them.
    proposed_segments: `[n_v, 2]` seconds for each video, best first.
    top: how many of a video's proposals may count as finding a segment.
  Returns:
    the ground truth of all videos with its best proposal among the `top`, and
    for each video every proposal's best tIoU with any ground truth, `[n_v]`.
  """
  video, best, rank, proposal_tiou = [], [], [], []
  for index, (true, proposed) in enumerate(
    zip(true_segments, proposed_segments, strict=True)
  ):
    video.append(np.full(len(true), index))
    found = _Best(len(true), len(proposed), top)
    for left, right, tiou in overlaps.pairs(true, proposed):
      found.add(left, right, tiou)
    best.append(found.true_tiou)
    rank.append(found.ranks())
    proposal_tiou.append(found.proposal_tiou)
  instances = Instances(
    video=_joined(video, np.int64),
    segments_sec=np.concatenate([segments.empty(), *true_segments]),
    labels=tuple(name for names in labels for name in names),
    tiou=_joined(best, np.float64),
    rank=_joined(rank, np.int64),
  )
  return instances, proposal_tiou


class _Best:
  """The best partner of each true segment and of each proposal."""

  def __init__(self, num_true, num_proposed, top):
    self._top = top
    self.true_tiou = np.zeros(num_true)
    self.proposal_tiou = np.zeros(num_proposed)
    self._rank = np.full(num_true, num_proposed)

  def add(self, true, proposed, tiou):
    np.maximum.at(self.proposal_tiou, proposed, tiou)
    counted = proposed < self._top
    true, proposed, tiou = true[counted], proposed[counted], tiou[counted]
    before = self.true_tiou.copy()
    np.maximum.at(self.true_tiou, true, tiou)
    # Of equal ones the better ranked; those of before may have been beaten.
    self._rank[self.true_tiou > before] = len(self.proposal_tiou)
    is_best = tiou == self.true_tiou[true]
    np.minimum.at(self._rank, true[is_best], proposed[is_best])

  def ranks(self):
    return np.where(self.true_tiou > 0, self._rank, -1)


def _joined(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
  return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)


def _group(name: str, tiou: Float64[np.ndarray, ' g']) -> Group:
  found = tiou[:, None] >= segments.TIOU_THRESHOLDS
  return Group(
    name=name,
    count=len(tiou),
    recall=float((tiou >= HIT).mean()),
    average_recall=float(found.mean()),
  )


def recall_by_label(instances: Instances) -> list[Group]:
  """Recall of each label's segments, best found first."""
  members = collections.defaultdict(list)
  for place, name in enumerate(instances.labels):
    members[name].append(place)
  groups = [
    _group(name, instances.tiou[members[name]]) for name in sorted(members)
  ]
  return sorted(groups, key=lambda group: -group.recall)


def recall_by_duration(instances: Instances) -> list[Group]:
  """Recall within ranges of duration: up to 1 s, then doubling.

  Ranges that hold no segment are left out.
  """
  durations = segments.durations(instances.segments_sec)
  edges = [0.0, 1.0]
  while edges[-1] < durations.max(initial=0.0):
    edges.append(edges[-1] * 2)
  groups = []
  for low, high in zip(edges[:-1], edges[1:]):
    # The last edge is inclusive: a segment of exactly 2^k s lies below it.
    inside = (durations > low) & (durations <= high)
    if low == 0.0:
      inside |= durations == 0.0
    if inside.any():
      name = f'{low:g}–{high:g} s' if low else f'≤ {high:g} s'
      groups.append(_group(name, instances.tiou[inside]))
  return groups


def worst_misses(
  instances: Instances, *, limit: int = 20, per_video: int = 3
) -> Int64[np.ndarray, ' k']:
  """Ground truth that no proposal comes near, worst first.

  Args:
    instances: matched ground truth.
    limit: how many at most.
    per_video: how many of one video at most, so that one bad video does not
      fill the list.
  Returns:
    indices into `instances`, only of segments below tIoU .5; the lowest tIoU
    first, then the longest segment.
  """
  durations = segments.durations(instances.segments_sec)
  order = np.lexsort((-durations, instances.tiou))
  kept, seen = [], {}
  for index in order:
    video = int(instances.video[index])
    if instances.tiou[index] >= HIT or len(kept) == limit:
      break
    if seen.get(video, 0) < per_video:
      seen[video] = seen.get(video, 0) + 1
      kept.append(int(index))
  return np.asarray(kept, np.int64)


def score_edges(
  scores: Float[np.ndarray, ' n'], bins: int
) -> Float64[np.ndarray, ' edges']:
  """Equal bins from 0 (or the lowest score) to just above the highest.

  The upper end is a multiple of .05: scores that NMS has lowered may all lie
  below .2, where bins up to 1 would show little.
  """
  low = min(0.0, float(scores.min(initial=0.0)))
  high = np.ceil(float(scores.max(initial=0.0)) * 20 - 1e-9) / 20
  return np.linspace(low, high if high > low else low + 1.0, bins + 1)


def score_histogram(
  scores: Float[np.ndarray, ' n'], hit: Bool[np.ndarray, ' n'], bins: int = 40
) -> tuple[
  Float64[np.ndarray, ' edges'],
  Int64[np.ndarray, ' bins'],
  Int64[np.ndarray, ' bins'],
]:
  """Counts of scores, apart for proposals that hit ground truth and the rest.

  Returns:
    the bin edges, the counts of hits and of the others.
  """
  edges = score_edges(scores, bins)
  hits, _ = np.histogram(scores[hit], edges)
  others, _ = np.histogram(scores[~hit], edges)
  return edges, hits.astype(np.int64), others.astype(np.int64)


def calibration(
  scores: Float[np.ndarray, ' n'],
  tiou: Float[np.ndarray, ' n'],
  gains: Float[np.ndarray, ' n'],
  bins: int = 10,
) -> list[dict[str, float]]:
  """Real tIoU and gain against predicted score, in equal bins of score.

  The paper's evaluator predicts tIoU, and scores that NMS has decayed lie left
  of it; the template chain's calibrated scores predict the gain.

  Args:
    scores: predicted, `[n]`.
    tiou: the proposal's best tIoU with any ground truth, `[n]`.
    gains: what the proposal adds, see `calibration.gains`, `[n]`.
    bins: how many.
  Returns:
    for each bin that holds a proposal: mean `score`, mean `tiou`, its
    quartiles `low` and `high`, mean `gain`, and `count`.
  """
  edges = score_edges(scores, bins)
  # The topmost score belongs to the last bin, as in np.histogram.
  which = np.clip(np.searchsorted(edges, scores, 'right') - 1, 0, bins - 1)
  rows = []
  for index in range(bins):
    inside = which == index
    if inside.any():
      low, high = np.quantile(tiou[inside], [0.25, 0.75])
      rows.append(
        {
          'score': float(scores[inside].mean()),
          'tiou': float(tiou[inside].mean()),
          'low': float(low),
          'high': float(high),
          'gain': float(gains[inside].mean()),
          'count': int(inside.sum()),
        }
      )
  return rows


def stage_confusion(
  true_stages: Int[np.ndarray, ' t'],
  predicted_stages: Int[np.ndarray, ' t'],
  num_stages: int = stage_names.COUNT,
) -> Int64[np.ndarray, 's s']:
  """Counts of snippets: row = true stage, column = predicted stage."""
  flat = true_stages.astype(np.int64) * num_stages + predicted_stages
  counts = np.bincount(flat, minlength=num_stages**2)
  return counts.reshape(num_stages, num_stages).astype(np.int64)
