"""Average recall at an average number of proposals (AR@AN), three protocols.

All three need one number per ground-truth segment and tIoU threshold: the rank
of the first proposal of its video that reaches the threshold. Recall at any
number of proposals is then a count of ranks.

  thumos  the DAPs/TURN convention behind most THUMOS14 tables. tIoU on
          inclusive frame spans; over the videos that have proposals; for
          p = 1..100 % each video keeps its best int(n_v p), AN is p times the
          average number of proposals.
  anet    ActivityNet's evaluation: tIoU in seconds, over the videos that have
          ground truth, every video cut by one ratio so that AN ends at 100.
  top_k   each video's K best; every video counts, tIoU in seconds, where one
          that falls short of the threshold by rounding alone reaches it.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float64, Int64

from cmsn_jax import segments as segments_lib
from cmsn_jax.evaluation import overlaps

PROTOCOLS = ('thumos', 'anet', 'top_k')

# A hundred steps of 1 %, written as the public evaluations write them: with
# other rounding int(n_v p) would differ (int(100 * .29) is 28).
_SHARES = np.arange(1, 101) / 100.0
_NEVER = np.iinfo(np.int64).max
_NAMED = 5
# Units in the last place that a tIoU may be off: four and a margin for times
# that were computed; never so much that a true difference could count.
_UNITS = 8
_MOST_ROUNDING = 1e-7


class MetricsWarning(UserWarning):
  """Something in the proposals does not go with the ground truth."""


@dataclasses.dataclass(frozen=True, eq=False)
class Metrics:
  """AR@AN of one set of proposals. Fractions in 0..1.

  Attributes:
    protocol: 'thumos', 'anet' or 'top_k'.
    tiou_thresholds: over which AR is the mean, `[k]`.
    ar_at_an: AR by requested AN; None where no AN that high exists.
    auc: area under the AR-AN curve divided by its highest AN; 'top_k': for
      AN up to 100. None where there is no curve.
    recall_at_tiou: recall by tIoU threshold at `recall_an`.
    recall_an: the AN of `recall_at_tiou`: 100, or the highest there is.
    curve_an: AN of the AR-AN curve, ascending, `[a]`; empty without proposals
      in 'thumos'.
    curve_ar: AR at those, `[a]`.
    num_videos: videos that enter the figures (see the protocols).
    num_videos_in_subset: all that were to be evaluated.
    num_ground_truth: ground-truth segments of those videos.
    num_proposals: their proposals.
    average_num_proposals: per video.
    videos_without_proposals: ids, sorted, of the whole subset.
  """

  protocol: str
  tiou_thresholds: Float64[np.ndarray, ' k']
  ar_at_an: dict[int, float | None]
  auc: float | None
  recall_at_tiou: dict[float, float | None]
  recall_an: float | None
  curve_an: Float64[np.ndarray, ' a']
  curve_ar: Float64[np.ndarray, ' a']
  num_videos: int
  num_videos_in_subset: int
  num_ground_truth: int
  num_proposals: int
  average_num_proposals: float
  videos_without_proposals: tuple[str, ...]

  def to_json(self) -> dict:
    """The contents of metrics.json: plain numbers, strings, lists, None."""
    return {
      'protocol': self.protocol,
      'tiou_thresholds': self.tiou_thresholds.round(10).tolist(),
      'ar_at_an': {str(an): ar for an, ar in self.ar_at_an.items()},
      'auc': self.auc,
      'recall_at_tiou': {
        f'{tiou:.2f}': recall for tiou, recall in self.recall_at_tiou.items()
      },
      'recall_an': self.recall_an,
      'num_videos': self.num_videos,
      'num_videos_in_subset': self.num_videos_in_subset,
      'num_ground_truth': self.num_ground_truth,
      'num_proposals': self.num_proposals,
      'average_num_proposals': self.average_num_proposals,
      'videos_without_proposals': list(self.videos_without_proposals),
      'curve': {'an': self.curve_an.tolist(), 'ar': self.curve_ar.tolist()},
    }


def evaluate(
  proposals: Mapping[str, tuple[np.ndarray, np.ndarray]],
  ground_truth: Mapping[str, np.ndarray],
  *,
  ignore: Mapping[str, np.ndarray] | None = None,
  protocol: str = 'thumos',
  ans: Sequence[int] = (10, 20, 50, 100, 200),
  fps: float | int = 30,
  tiou_thresholds: Sequence[float] | None = None,
  recall_an: int = 100,
  anet_max_an: int = 100,
) -> Metrics:
  """AR@AN of proposals against ground truth.

  Proposals count by score, best first; equal scores by start, then end. A
  segment is found at a threshold if a counted proposal has tIoU >= it.

  Args:
    proposals: video id -> (segments in seconds `[n, 2]`, scores `[n]`). A
      missing id is a video without proposals; ids that are not in the ground
      truth are left out with a warning.
    ground_truth: video id -> segments in seconds `[g, 2]`, every video of the
      subset, those without segments too.
    ignore: video id -> spans in seconds `[k, 2]` of which it is not known what
      happens there: proposals mostly within them do not count, as if they had
      not been made.
    protocol: see the module.
    ans: numbers of proposals at which AR is wanted.
    fps: frames per second of 'thumos', whatever the videos' own rate.
    tiou_thresholds: None is .5, .55, ... 1 for 'thumos', ... .95 for others.
    recall_an: AN of the recall-tIoU curve.
    anet_max_an: where the curve of 'anet' ends.
  Returns:
    the figures. 'thumos' and 'anet' interpolate linearly between the curve's
    points (and recall 0 at AN 0); 'top_k' has a value for every AN.
  Raises:
    ValueError: on an unknown protocol, an AN below 1, a malformed segment or
      score, no ground truth at all, or proposals of other videos only.
  References:
    Escorcia et al., `DAPs`, 2016; Gao et al., `TURN TAP
    <https://arxiv.org/abs/1703.06189>`, 2017; Caba Heilbron et al.,
    `ActivityNet`, 2015.
  """
  if protocol not in PROTOCOLS:
    raise ValueError(f'protocol must be one of {PROTOCOLS}, got {protocol!r}')
  if any(an < 1 for an in (*ans, recall_an, anet_max_an)):
    found = (*ans, recall_an, anet_max_an)
    raise ValueError(f'every AN must be at least 1, got {found}')
  thresholds = _thresholds(tiou_thresholds, protocol)
  if protocol == 'thumos' and not (np.isfinite(fps) and fps > 0):
    raise ValueError(f'fps must be above 0, got {fps}')
  check_ids(proposals, ground_truth)
  proposals = {
    k: _known(*found, (ignore or {}).get(k)) for k, found in proposals.items()
  }

  table = _Table(proposals, ground_truth, thresholds, protocol, fps)
  if not table.in_subset_ground_truth:
    raise ValueError(
      f'the ground truth of {len(ground_truth)} videos has no segments'
    )
  if protocol == 'top_k':
    curve_an, recall = table.at_top_k(max(*ans, recall_an, 100))
  elif protocol == 'anet':
    curve_an, recall = table.at_one_ratio(anet_max_an)
  else:
    curve_an, recall = table.at_shares()
  return _summary(table, curve_an, recall, ans, recall_an)


def _thresholds(
  tiou_thresholds: Sequence[float] | None, protocol: str
) -> Float64[np.ndarray, ' k']:
  if tiou_thresholds is None:
    if protocol == 'thumos':
      return np.linspace(0.5, 1.0, 11)
    return segments_lib.TIOU_THRESHOLDS
  thresholds = np.asarray(tiou_thresholds, np.float64)
  if not thresholds.size or not ((thresholds > 0) & (thresholds <= 1)).all():
    raise ValueError(
      f'tiou_thresholds must be numbers above 0 and up to 1, got '
      f'{tiou_thresholds}'
    )
  return np.sort(thresholds)


def _known(segments, scores, spans):
  """The proposals that are not mostly within the spans."""
  if spans is None or not len(segments):
    return segments, scores
  keep = ~segments_lib.mostly_within(segments_lib.check(segments), spans)
  return np.asarray(segments)[keep], np.asarray(scores)[keep]


def check_ids(proposals: Mapping, ground_truth: Mapping) -> None:
  """Warns of proposals of videos that are not in the ground truth.

  Raises:
    ValueError: if there is no ground truth, or no video is in both.
  """
  if not ground_truth:
    raise ValueError('the ground truth has no videos')
  unknown = [k for k in proposals if k not in ground_truth]
  if not unknown:
    return
  if len(unknown) == len(proposals):
    raise ValueError(
      f'the proposals and the ground truth share no video: proposals have '
      f'{some(unknown)}, the ground truth {some(list(ground_truth))}; are '
      f'these the right files and subset?'
    )
  warnings.warn(
    f'left out the proposals of {len(unknown)} of {len(proposals)} videos, '
    f'which are not in the ground truth: {some(unknown)}',
    MetricsWarning,
    stacklevel=3,
  )


def some(ids: Sequence[str]) -> str:
  """The first of many ids, and how many there are."""
  shown = ', '.join(repr(k) for k in ids[:_NAMED])
  return shown if len(ids) <= _NAMED else f'{shown} ... ({len(ids)} in all)'


class _Table:
  """First ranks of all ground truth, and the videos that a protocol counts.

  `ranks[g, k]` is the rank, from 0, of the first proposal that reaches
  threshold k; `owner[g]` the row of its video in `counts`.
  """

  def __init__(self, proposals, ground_truth, thresholds, protocol, fps):
    self.protocol, self.thresholds = protocol, thresholds
    self.num_videos_in_subset = len(ground_truth)
    self.in_subset_ground_truth = 0
    # ActivityNet's ratio counts proposals of videos without ground truth.
    self.in_subset_proposals = 0
    without, counts, owner, ranks = [], [], [], []
    for video_id, truth in ground_truth.items():
      truth = segments_lib.check(truth, f'ground truth of {video_id!r}')
      found = _best_first(video_id, proposals.get(video_id))
      self.in_subset_ground_truth += len(truth)
      self.in_subset_proposals += len(found)
      if not len(found):
        without.append(video_id)
      counted = {
        'thumos': len(found) > 0,
        'anet': len(truth) > 0,
        'top_k': True,
      }[protocol]
      if not counted:
        continue
      if protocol == 'thumos':
        truth, found = (
          _inclusive_frames(truth, fps),
          _inclusive_frames(found, fps),
        )
      owner.append(np.full(len(truth), len(counts)))
      counts.append(len(found))
      # The public evaluations compare as they compute; so do theirs here.
      rounding = _rounding(truth, found) if protocol == 'top_k' else None
      ranks.append(_first_ranks(truth, found, thresholds, rounding))
    self.without = tuple(sorted(without))
    self.counts = np.array(counts, np.int64)
    self.owner = np.concatenate([*owner, np.zeros(0, np.int64)])
    self.ranks = np.concatenate(
      [*ranks, np.zeros((0, len(thresholds)), np.int64)]
    )

  def at_shares(self):
    """AN and recall `[k, a]` of 'thumos'."""
    if not len(self.counts):
      return np.zeros(0), np.zeros((len(self.thresholds), 0))
    kept = (self.counts[:, None] * _SHARES).astype(np.int64)
    average = float(self.counts.sum()) / len(self.counts)
    return _SHARES * average, self._recall(kept)

  def at_one_ratio(self, max_an: int):
    """AN and recall `[k, a]` of 'anet'."""
    num_videos = len(self.counts)
    if not self.counts.any():
      return _SHARES * max_an, np.zeros((len(self.thresholds), len(_SHARES)))
    ratio = max_an * float(num_videos) / self.in_subset_proposals
    cut = np.minimum((self.counts * ratio).astype(np.int64), self.counts)
    total = int(cut.sum())
    if not total:
      return _SHARES * max_an, np.zeros((len(self.thresholds), len(_SHARES)))
    shares = _SHARES * (max_an * float(num_videos) / total)
    kept = np.minimum((cut[:, None] * shares).astype(np.int64), cut[:, None])
    return shares * (float(total) / num_videos), self._recall(kept)

  def at_top_k(self, largest: int):
    """AN and recall `[k, a]` of 'top_k', for K = 1 .. largest."""
    number = max(len(self.ranks), 1)
    recall = [
      np.cumsum(np.bincount(rank[rank < largest], minlength=largest)) / number
      for rank in self.ranks.T
    ]
    return np.arange(1.0, largest + 1), np.array(recall)

  def _recall(
    self, kept: Int64[np.ndarray, 'v a']
  ) -> Float64[np.ndarray, 'k a']:
    """Recall by threshold where video v keeps its `kept[v, a]` best."""
    recall = np.full((len(self.thresholds), kept.shape[1]), np.nan)
    if len(self.ranks):
      limit = kept[self.owner]
      for k, rank in enumerate(self.ranks.T):
        recall[k] = np.count_nonzero(rank[:, None] < limit, axis=0)
      recall /= len(self.ranks)
    return recall


def _best_first(video_id: str, pair) -> Float64[np.ndarray, 'n 2']:
  if pair is None:
    return segments_lib.empty()
  segments = segments_lib.check(pair[0], f'proposals of {video_id!r}')
  scores = np.asarray(pair[1], np.float64)
  if scores.shape != (len(segments),) or not np.isfinite(scores).all():
    raise ValueError(
      f'proposals of {video_id!r} need one finite score a segment, got '
      f'{len(segments)} segments and scores of shape {list(scores.shape)}'
    )
  return segments[np.lexsort((segments[:, 1], segments[:, 0], -scores))]


def _inclusive_frames(
  segments: Float[np.ndarray, 'n 2'], fps: float | int
) -> Float64[np.ndarray, 'n 2']:
  """The frames from start to end, both included, as `[first, last + 1)`."""
  frames = np.round(segments * fps)
  frames[:, 1] += 1
  return frames


def _rounding(
  truth: Float[np.ndarray, 'g 2'], found: Float[np.ndarray, 'n 2']
) -> Float64[np.ndarray, ' g']:
  """By how much rounding can lower the tIoU of each ground truth.

  Seconds as 1/30 are no floats: each is off by up to half a unit in the last
  place of the latest of them, the intersection by one unit, the union, which
  is as long as the ground truth at least, by three.
  """
  latest = max(np.abs(x).max(initial=0.0) for x in (truth, found))
  duration = truth[:, 1] - truth[:, 0]
  unit = np.spacing(latest) / np.where(duration > 0, duration, np.inf)
  return np.minimum(_UNITS * (unit + np.finfo(np.float64).eps), _MOST_ROUNDING)


def _first_ranks(
  truth: Float[np.ndarray, 'g 2'],
  found: Float[np.ndarray, 'n 2'],
  thresholds: Float[np.ndarray, ' k'],
  rounding: Float[np.ndarray, ' g'] | None = None,
) -> Int64[np.ndarray, 'g k']:
  """Rank of the first of `found` with tIoU >= threshold, or `_NEVER`.

  `rounding`: by how much the tIoU of each ground truth may fall short.
  """
  ranks = np.full((len(truth), len(thresholds)), _NEVER)
  for index, rank, tiou in overlaps.pairs(truth, found):
    if rounding is not None:
      tiou = tiou + rounding[index]
    # How many thresholds it reaches: it counts for the highest of them, and
    # so for those below.
    reached = np.searchsorted(thresholds, tiou, side='right')
    any_reached = reached > 0
    np.minimum.at(
      ranks,
      (index[any_reached], reached[any_reached] - 1),
      rank[any_reached],
    )
  return np.minimum.accumulate(ranks[:, ::-1], axis=1)[:, ::-1]


def _summary(
  table: _Table,
  curve_an: Float64[np.ndarray, ' a'],
  recall: Float64[np.ndarray, 'k a'],
  ans: Sequence[int],
  recall_an: int,
) -> Metrics:
  defined = recall.size > 0 and not np.isnan(recall).any()
  if not defined:
    curve_an, recall = np.zeros(0), np.zeros((len(table.thresholds), 0))
  curve_ar = recall.mean(axis=0)
  ar_at_an = {int(an): _at(an, curve_an, curve_ar) for an in ans}
  shown_an = float(min(recall_an, curve_an[-1])) if defined else None
  recall_at_tiou = {
    float(tiou): _at(shown_an, curve_an, row)
    for tiou, row in zip(table.thresholds, recall)
  }
  return Metrics(
    protocol=table.protocol,
    tiou_thresholds=table.thresholds,
    ar_at_an=ar_at_an,
    auc=_area(curve_an[:100], curve_ar[:100]),
    recall_at_tiou=recall_at_tiou,
    recall_an=shown_an,
    curve_an=curve_an,
    curve_ar=curve_ar,
    num_videos=len(table.counts),
    num_videos_in_subset=table.num_videos_in_subset,
    num_ground_truth=len(table.ranks),
    num_proposals=int(table.counts.sum()),
    average_num_proposals=float(table.counts.sum()) / max(len(table.counts), 1),
    videos_without_proposals=table.without,
  )


def _at(an, curve_an, values) -> float | None:
  """A curve's value at an AN, None beyond its end."""
  # ActivityNet's last AN is 100 but for rounding.
  if an is None or not len(curve_an) or an > curve_an[-1] * (1 + 1e-9):
    return None
  return float(np.interp(an, np.append(0.0, curve_an), np.append(0.0, values)))


def _area(curve_an, curve_ar) -> float | None:
  if not len(curve_an):
    return None
  return float(np.trapezoid(curve_ar, curve_an) / curve_an[-1])
