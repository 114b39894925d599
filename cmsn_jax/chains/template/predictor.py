"""Snippets in, proposals out, by the template chain.

pieces of a video -> stage probabilities, averaged over members -> template
candidates -> context evaluator -> mended borders -> evaluator -> threshold-wise
NMS.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from cmsn_jax import segments as segments_lib
from cmsn_jax.candidates import pool, template
from cmsn_jax.chains.paper import predictor
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.files import proposal_files
from cmsn_jax.suppression import calibration, nms, threshold_nms

# Snippets that are encoded in one call, the reach on either side included.
_PIECE = 2048
# Snippets whose candidates are scored together, and the most candidates a call:
# few enough for their pooled features to stay in a CPU's cache.
_REGION = 1024
_MAX_CANDIDATES = 1024
_MIN_CANDIDATES = 256
# Borders move by at most this share of the duration.
_MAX_OFFSET = 0.6
_SHORTEST = 0.5


class TemplatePredictor:
  """Proposals of any videos from trained members.

  Args:
    config: of the run that trained them, `derive.derive`d.
    params: {'joint': parameters of all members, stacked}, or {}.
    members: what computes, as `joint_network.Members` does; None: the networks
      that the config describes.
  """

  def __init__(self, config: Any, params: dict[str, Any], members: Any = None):
    self._config = config
    self._params = jax.device_put(params)
    self.members = _networks(config) if members is None else members
    self._encode = jax.jit(self.members.encode)
    self._evaluate = jax.jit(self.members.evaluate)
    self._reach = self.members.reach

  @property
  def params(self) -> dict[str, Any]:
    """The parameters it predicts with."""
    return self._params

  def with_params(self, params: dict[str, Any]) -> 'TemplatePredictor':
    """The same predictor, compiled programs included, on other parameters."""
    other = copy.copy(self)
    other._params = jax.device_put(params)
    return other

  def propose(
    self,
    source,
    video_ids: Iterable[str],
    on_error: predictor.OnError | None = None,
  ) -> Iterator[tuple[str, predictor.Prediction]]:
    """Yields (video id, prediction) in the order given.

    Args:
      source: snippets of the videos.
      video_ids: which.
      on_error: called with (video id, message) of a video that cannot be
        read, which is then left out; None: the error is raised.
    """
    for video_id in video_ids:
      try:
        prediction = self.video(source, video_id)
      except (ValueError, OSError) as error:
        if on_error is None:
          raise
        on_error(video_id, str(error))
        continue
      yield video_id, prediction

  def video(self, source, video_id: str) -> predictor.Prediction:
    """Proposals and stage probabilities of one video."""
    pooled = self.encode(source, video_id)
    # The evaluator's features end with the stage probabilities.
    probabilities = pooled[:, :, -6:].mean(axis=0)
    settings = self._config.joint
    candidates = template.generate(
      probabilities,
      np.asarray(settings.durations, np.float64),
      per_snippet=settings.per_snippet,
      context_weight=settings.context_weight,
    )
    segments, matches = self._score(pooled, candidates.segments)
    # The evaluator is surer of what it learned by heart than of what is to be
    # seen, so clear borders count beside it. Only now: which candidates are
    # kept is better left to the evaluator alone.
    clear = template.border_scores(
      template.StageSums(probabilities),
      segments,
      reach=settings.clear_reach,
    )
    # Nor does it know that the borders of what is to be seen are never exact.
    exact = template.border_tiou(segments, settings.border_error)
    worth = clear**settings.clear_weight * exact
    matches = matches * worth[:, None]
    kept, scores = self._suppress(segments, matches, len(probabilities))
    scores = calibration.Calibration(*settings.calibration)(scores)
    return predictor.Prediction(
      proposal_files.Proposals(segments[kept] / source.feature_fps, scores),
      probabilities.astype(np.float32),
    )

  def _suppress(self, segments, matches, total):
    """Indices kept and their scores, best first."""
    settings = self._config.nms
    most = settings.max_proposals or max(400, round(0.2 * total))
    if settings.method == 'threshold':
      return threshold_nms.select(segments, matches, max_proposals=most)
    scores = matches.mean(axis=1)
    if settings.method == 'soft':
      return nms.soft_nms(
        segments,
        scores,
        sigma=settings.sigma,
        threshold=settings.threshold,
        max_proposals=most,
      )
    if settings.method == 'greedy':
      return nms.greedy_nms(
        segments, scores, tiou=settings.greedy_tiou, max_proposals=most
      )
    raise ValueError(
      "nms.method must be 'threshold', 'soft' or 'greedy' with generator "
      f"'stage_template', got {settings.method!r}"
    )

  def encode(self, source, video_id: str) -> np.ndarray:
    """Evaluator features of a video by each member, float32 [m, t, c].

    In pieces, which overlap by as much as an output can see: the result is
    that of the whole video at once.
    """
    total = source.num_snippets(video_id)
    out = None
    step = _PIECE - 2 * self._reach
    for start in range(0, max(total, 1), step):
      low = max(0, start - self._reach)
      stop = min(start + step, total)
      features = source.read(video_id, low, min(stop + self._reach, total))
      size = pool.bucket(len(features), _MIN_CANDIDATES)
      mask = np.arange(size)[None, :] < len(features)
      piece = self._encode(
        self._params['joint'], windows_lib.pad(features, size)[None], mask
      )[:, 0]
      if out is None:
        shape = (piece.shape[0], total, piece.shape[2])
        out = np.zeros(shape, np.float32)
      out[:, start:stop] = np.asarray(piece)[:, start - low : stop - low]
    return out

  def _score(self, pooled, segments):
    """Candidates and their mended versions with threshold probabilities."""
    total = pooled.shape[1]
    keep = self._config.joint.keep_per_snippet
    mend = self._config.joint.mend_per_snippet
    found, matches = [segments[:0]], [np.zeros((0, 10))]
    region = np.floor(segments[:, 0] / _REGION).astype(int)
    for index in np.unique(region):
      own = segments[region == index]
      length = min(_REGION, total - index * _REGION)
      match, offsets = self._evaluate_region(pooled, own)
      best = _best(match, int(np.ceil(mend * length)))
      mended = _mended(own[best], offsets[best], total)
      more, _ = self._evaluate_region(pooled, mended)
      own = np.concatenate([own, mended])
      match = np.concatenate([match, more])
      best = _best(match, int(np.ceil(keep * length)))
      found.append(own[best])
      matches.append(match[best])
    return np.concatenate(found), np.concatenate(matches)

  def _evaluate_region(self, pooled, segments):
    """P(tIoU >= t) [n, 10] and offsets [n, 2] of candidates close together."""
    match = np.zeros((len(segments), len(segments_lib.TIOU_THRESHOLDS)))
    offsets = np.zeros((len(segments), 2))
    if not len(segments):
      return match, offsets
    length = segments[:, 1] - segments[:, 0]
    margin = self._config.joint.border + 1
    low = np.min(segments[:, 0] - length / 2) - margin
    high = np.max(segments[:, 1] + length / 2) + margin
    low = max(0, int(np.floor(low)))
    high = min(pooled.shape[1], int(np.ceil(high)))
    size = pool.bucket(high - low, _MIN_CANDIDATES)
    stretch = np.zeros((len(pooled), size, pooled.shape[2]), np.float32)
    stretch[:, : high - low] = pooled[:, low:high]
    stretch = jax.device_put(stretch)
    found = []
    for start in range(0, len(segments), _MAX_CANDIDATES):
      part = segments[start : start + _MAX_CANDIDATES] - low
      count = pool.bucket(len(part), _MIN_CANDIDATES)
      padded = np.tile(np.float32([[0, 1]]), (count, 1))
      padded[: len(part)] = part
      found.append(self._evaluate(self._params['joint'], stretch, padded))
    # Read when all are on their way: the host does not hold up the device.
    for number, parts in enumerate(jax.device_get(found)):
      place = slice(number * _MAX_CANDIDATES, (number + 1) * _MAX_CANDIDATES)
      count = len(segments[place])
      match[place], offsets[place] = (x[:count] for x in parts)
    return match, offsets


def _networks(config):
  # Flax is imported where networks are built: exported models do without it.
  from cmsn_jax.chains.template import networks

  return networks.Members(networks.build(config))


def _mended(segments, offsets, total):
  length = segments[:, 1:] - segments[:, :1]
  moved = segments + np.clip(offsets, -_MAX_OFFSET, _MAX_OFFSET) * length
  moved = np.clip(moved, 0, total)
  return moved[moved[:, 1] - moved[:, 0] > _SHORTEST]


def _best(matches, count):
  return np.argsort(-matches.mean(axis=1), kind='stable')[:count]
