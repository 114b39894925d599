"""Snippets in, proposals out, by the template chain.

pieces of a video -> stage probabilities, averaged over members -> template
candidates -> context evaluator -> mended borders -> evaluator -> threshold-wise
NMS.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from cmsn_jax import segments as segments_lib
from cmsn_jax import stage_names
from cmsn_jax.candidates import pool, template
from cmsn_jax.chains import device, prediction
from cmsn_jax.data import sources
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.files import proposal_files
from cmsn_jax.scoring import doubt
from cmsn_jax.stages import targets
from cmsn_jax.suppression import calibration, keep, label_calibration

# Snippets that are encoded in one call, the reach on either side included.
PIECE = 2048
# Snippets whose candidates are scored together, and the most candidates a call:
# few enough for their pooled features to stay in a CPU's cache.
_REGION = 1024
_MAX_CANDIDATES = 1024
_MIN_CANDIDATES = 256
# Snippets around a proposal that the evaluator looks at, beside its context:
# `ContextEvaluator.border` and one to interpolate.
_MARGIN = 3.0
# Of the evaluator's features those that are stage probabilities: the last.
_STAGES = slice(-stage_names.COUNT, None)
# Borders move by at most this share of the duration.
_MAX_OFFSET = 0.6
_SHORTEST = 0.5


class Predictor(prediction.Predictor):
  """Proposals of any videos from trained members.

  Args:
    config: of the run that trained them, `derive.derive`d.
    networks: see `networks.Networks`.
    params: {'joint': parameters of all members, stacked}, or {}.
    piece: snippets that are encoded in one call.
  """

  def __init__(
    self,
    config: Any,
    networks: Any,
    params: dict[str, Any],
    *,
    piece: int = PIECE,
  ):
    super().__init__(config, networks, params)
    self._piece = piece
    self._reach = networks.facts['reach']
    # 0 until it is derived.
    self._temper = config.template.temper or 1.0
    # Runs and exports of earlier versions have no labels.
    self._label = None
    if self.label_names:
      self._label = device.compiled(networks.label)

  @property
  def label_names(self) -> tuple[str, ...]:
    """The labels that proposals are given."""
    if not self.networks.facts.get('labels'):
      return ()
    return tuple(self.config.template.label_names)

  def propose(
    self,
    source: Any,
    video_ids: Iterable[str],
    on_error: prediction.OnError | None = None,
  ) -> Iterator[tuple[str, prediction.Prediction]]:
    """Yields (video id, prediction) in the order given."""
    for video_id in video_ids:
      try:
        found = self.video(source, video_id)
      except (ValueError, OSError) as error:
        if on_error is None:
          raise
        on_error(video_id, str(error))
        continue
      yield video_id, found

  def video(self, source: Any, video_id: str) -> prediction.Prediction:
    """Proposals and stage probabilities of one video."""
    pooled, probabilities = self._encoded(source, video_id)
    settings = self.config.template
    candidates = self._candidates(probabilities)
    segments, matches = self._mended_and_scored(pooled, candidates.segments)
    if self._watch:
      for step, spans in (
        ('candidates', candidates.segments), ('scored', segments),
      ):  # fmt: skip
        self._watch(video_id, step, _seconds(source, video_id, spans))
    # The evaluator is surer of what it learned by heart than of what is to be
    # seen, so clear borders count beside it. Only now: what of the scored is kept
    # (`template.keep_per_snippet`) is better left to the evaluator alone.
    clear = template.border_scores(template.StageSums(probabilities), segments)
    # Nor does it know that the borders of what is to be seen are never exact.
    exact = template.border_tiou(segments, settings.border_error)
    matches = doubt.doubted(
      matches, segments, self._temper, settings.doubt_snippets
    )
    # In place: of a hundred hours they are half a gigabyte.
    matches *= (clear**settings.clear_weight * exact)[:, None]
    kept, scores = keep.select(
      segments,
      matches,
      self.config.nms.method,
      self.config.nms,
      self._most(len(probabilities)),
    )
    scores = calibration.Calibration(*self.config.calibration.given)(scores)
    return prediction.labelled(
      proposal_files.Proposals(
        _seconds(source, video_id, segments[kept]), scores
      ),
      probabilities.astype(np.float32),
      self._labels(pooled, segments[kept]),
    )

  def _encoded(self, source, video_id):
    """Evaluator features of each member, and stage probabilities of all.

    Returns:
      float32 [m, t, c], and averaged over the members [t, 6].
    """
    settings = self.config.template
    # 0 until they are derived.
    features, stages = settings.slow_features or 1, settings.slow_stages or 1
    found = self.encode(source, video_id, {features, stages})
    return found[features], found[stages][:, :, _STAGES].mean(axis=0)

  def _labels(self, pooled, segments):
    """Of kept proposals only: labels decide nothing before."""
    if self._label is None:
      return None
    names = self.label_names
    likely = np.zeros((len(segments), len(names)))
    for _, own in _regions(segments):
      (likely[own],) = self._on_region(self._label, pooled, segments[own])
    likely = label_calibration.applied(self.config.calibration.labels, likely)
    return prediction.LabelScores(names, likely)

  def _candidates(self, probabilities):
    settings = self.config.template
    return template.generate(
      probabilities,
      np.asarray(settings.durations, np.float64),
      per_snippet=settings.per_snippet,
      different_per_snippet=settings.different_per_snippet,
      clear_weight=settings.clear_candidates,
    )

  def ceilings(
    self, source: Any, video_id: str, instances: Float[np.ndarray, 'g 2']
  ) -> Iterator[tuple[str, Float[np.ndarray, 'n 2']]]:
    """See `prediction.Predictor.ceilings`."""
    total = source.num_snippets(video_id)
    durations = np.asarray(self.config.template.durations, np.float64)
    for spans in template.grid(total, durations):
      yield 'durations', _seconds(source, video_id, spans)
    stages = targets.stage_labels(
      sources.clock(source, video_id).to_grid(instances),
      total,
      source.feature_fps,
    )
    perfect = np.eye(stage_names.COUNT)[stages]
    found = self._candidates(perfect).segments
    yield 'perfect_stages', _seconds(source, video_id, found)

  def _most(self, total):
    """Proposals kept of a video of so many snippets; None: all."""
    settings = self.config.template
    own = max(settings.most_at_least, round(settings.most_per_snippet * total))
    return self.config.nms.max_proposals or own or None

  def encode(
    self, source: Any, video_id: str, slowness: Collection[float | int] = (1,)
  ) -> dict[float | int, Float[np.ndarray, 'm t c']]:
    """Evaluator features of a video by each member.

    In pieces, each with as much around it as an output can see: the result is
    that of the whole video at once.

    Args:
      source: of the snippets.
      video_id: which video.
      slowness: how many times as slowly networks see it played: they tell the
        stages of short instances better where these last longer.
    Returns:
      of each slowness, float32, one a snippet of the video as it is.
    """
    total, found = source.num_snippets(video_id), {}
    # What is interpolated has neighbours.
    around = self._reach + 2
    step = max(1, int((self._piece - 2 * around) / max(slowness)))
    for start in range(0, max(total, 1), step):
      own = np.arange(start, min(start + step, total))
      low = max(0, start - around)
      rows = source.read(video_id, low, min(start + step + around, total))
      for each in slowness:
        piece = self._played(rows, low, own, each, total)
        if each not in found:
          shape = len(piece), total, piece.shape[2]
          found[each] = np.zeros(shape, np.float32)
        found[each][:, own] = piece
    return found

  def _played(self, rows, low, own, slowness, total):
    """Features of the snippets `own`, from rows that begin with `low`."""
    end = math.ceil(round(total * slowness, 6))
    place = sources.centres(own, 1 / slowness)
    first, stop = 0, 0
    if total:
      first = max(0, int(place[0]) - self._reach)
      stop = min(int(np.ceil(place[-1])) + 1 + self._reach, end)
    slow = sources.centres(np.arange(first, stop), slowness)
    features = sources.between(rows, slow - low)
    size = pool.bucket(len(features), _MIN_CANDIDATES)
    mask = np.arange(size)[None, :] < len(features)
    features = windows_lib.pad(features, size)[None]
    found = np.asarray(self._encode(self.params, features, mask)[:, 0])
    return np.stack([sources.between(x, place - first) for x in found])

  def _mended_and_scored(self, pooled, segments):
    """Candidates and their mended versions with threshold probabilities."""
    total = pooled.shape[1]
    keep = self.config.template.keep_per_snippet
    mend = self.config.template.mend_per_snippet
    found, matches = [segments[:0]], [np.zeros((0, 10))]
    for index, inside in _regions(segments):
      own = segments[inside]
      length = min(_REGION, total - index * _REGION)
      match, offsets = self._evaluate_region(pooled, own)
      best = _best(match, int(np.ceil(mend * length)))
      mended = _mended(own[best], offsets[best], total)
      more, _ = self._evaluate_region(pooled, mended)
      own = np.concatenate([own, mended])
      match = np.concatenate([match, more])
      most = int(np.ceil(keep * length)) if keep else len(match)
      best = _best(match, most)
      found.append(own[best])
      matches.append(match[best])
    return np.concatenate(found), np.concatenate(matches)

  def _evaluate_region(self, pooled, segments):
    """P(tIoU >= t) [n, 10] and offsets [n, 2] of candidates close together."""
    if not len(segments):
      return np.zeros((0, len(segments_lib.TIOU_THRESHOLDS))), np.zeros((0, 2))
    return self._on_region(self._score, pooled, segments)

  def _on_region(self, program, pooled, segments):
    """What a program says of segments close together, float64 [n, ...] each."""
    length = segments[:, 1] - segments[:, 0]
    low = np.min(segments[:, 0] - length / 2) - _MARGIN
    high = np.max(segments[:, 1] + length / 2) + _MARGIN
    low = max(0, int(np.floor(low)))
    total = pooled.shape[1]
    high = min(total, int(np.ceil(high)))
    # One size for all regions of a video, and for all long videos, but where a
    # candidate is very long: zeros cost less than a size more to compile.
    usual = pool.bucket(min(total, 2 * _REGION), _MIN_CANDIDATES)
    size = pool.bucket(high - low, usual)
    stretch = np.zeros((len(pooled), size, pooled.shape[2]), np.float32)
    stretch[:, : high - low] = pooled[:, low:high]
    stretch = device.put(stretch)
    found = []
    for start in range(0, len(segments), _MAX_CANDIDATES):
      part = segments[start : start + _MAX_CANDIDATES] - low
      count = pool.bucket(len(part), _MIN_CANDIDATES)
      padded = np.tile(np.float32([[0, 1]]), (count, 1))
      padded[: len(part)] = part
      found.append((program(self.params, stretch, padded), len(part)))
    # Read when all are on their way: the host does not hold up the device.
    parts = [
      [x[:count] for x in (one if isinstance(one, tuple) else (one,))]
      for one, count in device.fetch(found)
    ]
    return [np.concatenate(x).astype(np.float64) for x in zip(*parts)]


def _regions(segments):
  """Number and members, in their order, of each stretch where segments begin."""
  region = np.floor(segments[:, 0] / _REGION).astype(int)
  # Not a mask a region: their bytes would grow with the square of the video.
  members = np.argsort(region, kind='stable')
  numbers, first = np.unique(region[members], return_index=True)
  # Without any segment there is a part, and no number.
  return zip(numbers, np.split(members, first[1:]))


def _seconds(source, video_id, segments):
  clock = sources.clock(source, video_id)
  return clock.to_sec(segments / source.feature_fps)


def _mended(segments, offsets, total):
  length = segments[:, 1:] - segments[:, :1]
  moved = segments + np.clip(offsets, -_MAX_OFFSET, _MAX_OFFSET) * length
  moved = np.clip(moved, 0, total)
  return moved[moved[:, 1] - moved[:, 0] > _SHORTEST]


def _best(matches, count):
  return np.argsort(-matches.mean(axis=1), kind='stable')[:count]
