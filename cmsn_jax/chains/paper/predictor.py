"""Snippets in, scored proposals out: the whole flow of Sec. 3.4, Prediction.

windows -> stage scores -> candidates -> PES x pre-score -> NMS.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from cmsn_jax import segments, stage_names
from cmsn_jax.candidates import pool
from cmsn_jax.candidates import runs as proposals_lib
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.files import proposal_files
from cmsn_jax.stages import decoding
from cmsn_jax.suppression import nms

# Windows computed in one call, fewer where they hold more pixels than this: the
# full-size network needs gigabytes for a single one.
_BATCH = 8
_BATCH_PIXELS = 2**23
# Least padded number of proposals that the evaluator scores in one call; the
# numbers above are its doublings, so that few programs are compiled.
_MIN_ROIS = 64
_MAX_ROIS = 1024


# (video id, message) of a video that cannot be read.
OnError = Callable[[str, str], None]


class WindowScores(NamedTuple):
  """Stage scores of one window's valid snippets."""

  video_id: str
  start: int
  probabilities: np.ndarray
  hidden: np.ndarray


class Prediction(NamedTuple):
  """Proposals of a video, best first, and its stage probabilities [t, 6]."""

  proposals: proposal_files.Proposals
  probabilities: np.ndarray


def create(config: Any, params: dict[str, Any]):
  """The predictor of the config's generator, with given parameters.

  Raises:
    ValueError: on an unknown generator.
  """
  generator = config.proposals.generator
  if generator == 'stage_runs':
    return Predictor(config, params)
  if generator == 'stage_template':
    from cmsn_jax.chains.template import predictor

    return predictor.TemplatePredictor(config, params)
  raise ValueError(
    "proposals.generator must be 'stage_runs' or 'stage_template', got "
    f'{generator!r}'
  )


class Predictor:
  """Proposals of any videos from trained parameters.

  Args:
    config: of the run that trained them.
    params: {'stages': ..., 'evaluator': ...}; without 'evaluator' candidates
      keep their pre-scores and no NMS is applied (Table 4).
    model: what computes, with `stage_scores` and `proposal_scores` as
      `model.Model` has them; None: the networks that the config describes.
  """

  def __init__(self, config: Any, params: dict[str, Any], model: Any = None):
    self._config = config
    self._params = jax.device_put(params)
    self.model = _networks(config) if model is None else model
    self._stage_scores = jax.jit(self.model.stage_scores)
    self._proposal_scores = jax.jit(self.model.proposal_scores)
    self._length = config.windows.length
    self._hop = hop_snippets(config)

  @property
  def params(self) -> dict[str, Any]:
    """The parameters it predicts with."""
    return self._params

  def with_params(self, params: dict[str, Any]) -> 'Predictor':
    """The same predictor, compiled programs included, on other parameters."""
    other = copy.copy(self)
    other._params = jax.device_put(params)
    return other

  def propose(
    self, source, video_ids: Iterable[str], on_error: OnError | None = None
  ) -> Iterator[tuple[str, Prediction]]:
    """Yields (video id, prediction) in the order given.

    Memory is bounded by one batch of windows and, with `stitch: "average"`,
    one video's hidden features.

    Args:
      source: snippets of the videos.
      video_ids: which.
      on_error: called with (video id, message) of a video that cannot be
        read, which is then left out; None: the error is raised.
    """
    failed = set()

    def note(video_id, message):
      failed.add(video_id)
      on_error(video_id, message)

    stream = self.stage_windows(source, video_ids, on_error and note)
    for video_id, group in itertools.groupby(stream, lambda w: w.video_id):
      total = source.num_snippets(video_id)
      if self._config.proposals.stitch == 'average':
        group = [stitch(list(group), total)]
      prediction = self._video_proposals(group, total, source.feature_fps)
      if video_id not in failed:
        yield video_id, prediction

  def stage_windows(
    self, source, video_ids: Iterable[str], on_error: OnError | None = None
  ) -> Iterator[WindowScores]:
    """Stage scores of half-overlapping windows, videos in the order given.

    Batches run across the borders of videos, so that many short ones cost no
    more than one long one.
    """
    places = window_places(source, video_ids, self._length, self._hop, on_error)
    yield from self.score_windows(source, places, on_error)

  def score_windows(
    self,
    source,
    places: Iterable[windows_lib.Window],
    on_error: OnError | None = None,
  ) -> Iterator[WindowScores]:
    """Stage scores of any windows, in the order given."""
    pending = None
    for group in _batched(_read(source, places, on_error), self._length):
      batch = [window for window, _ in group]
      outputs = self._compute([snippets for _, snippets in group], batch)
      # One batch is computed while the host works on the one before.
      if pending is not None:
        yield from _unbatch(*pending)
      pending = batch, outputs
    if pending is not None:
      yield from _unbatch(*pending)

  def candidates(self, probabilities: np.ndarray) -> proposals_lib.Candidates:
    """Candidate proposals of one window or one stitched video (Sec. 3.2)."""
    settings = self._config.proposals
    found = proposals_lib.generate(
      decoding.decode(probabilities, settings.decoder),
      probabilities,
      decay_rate=settings.decay_rate,
      split=settings.split_runs,
      stage_set=tuple(settings.required_stages),
      stage_rule=settings.required_rule,
    )
    most = settings.max_candidates or None
    return proposals_lib.Candidates(*(column[:most] for column in found))

  def _compute(self, arrays, batch):
    rows = self._length * (
      len(arrays[0]) // batch[0].length if batch[0].length else 1
    )
    size = batch_size((rows, *arrays[0].shape[1:]))
    inputs = np.stack([windows_lib.pad(a, rows) for a in arrays])
    inputs = windows_lib.pad(inputs, size)
    lengths = np.array([w.length for w in batch] + [0] * (size - len(batch)))
    mask = np.arange(self._length)[None, :] < lengths[:, None]
    return self._stage_scores(self._params['stages'], inputs, mask)

  def _video_proposals(self, windows, total, feature_fps):
    found, waiting = [segments.empty()], []
    sums = np.zeros((total, stage_names.COUNT))
    counts = np.zeros((total, 1))

    def candidates_of(window):
      stop = window.start + len(window.probabilities)
      sums[window.start : stop] += window.probabilities
      counts[window.start : stop] += 1
      return window, self.candidates(window.probabilities)

    for window, candidates in pool.distinct(map(candidates_of, windows)):
      found.append(
        segments.snippets_to_sec(
          candidates.starts + window.start,
          candidates.ends + window.start,
          feature_fps,
        )
      )
      waiting.append((candidates.pre_scores, self._scores(window, candidates)))
    found = np.concatenate(found)
    scores = [pre_scores * finish() for pre_scores, finish in waiting]
    scores = np.concatenate([np.zeros(0), *scores])
    kept, scores = self.suppress(found, scores)
    return Prediction(
      proposal_files.Proposals(found[kept], scores),
      (sums / np.maximum(counts, 1)).astype(np.float32),
    )

  def _scores(self, window, candidates):
    """A function that waits for the PES scores of a window's candidates.

    1 without an evaluator.
    """
    out = np.ones(len(candidates.starts))
    if 'evaluator' not in self._params:
      return lambda: out
    running = []
    for block, start, length in pool.blocks(
      candidates.starts, candidates.ends, self._length, _MAX_ROIS
    ):
      count = pool.bucket(len(block), _MIN_ROIS)
      hidden = windows_lib.pad(window.hidden[start : start + length], length)
      scores = self._proposal_scores(
        self._params['evaluator'],
        hidden,
        windows_lib.pad(
          (candidates.starts[block] - start).astype(np.int32), count
        ),
        windows_lib.pad(
          (candidates.ends[block] - start).astype(np.int32), count
        ),
      )
      running.append((block, scores))

    def finish():
      for block, scores in running:
        # Cut on the host: on the device each length would be a program.
        out[block] = np.asarray(scores)[: len(block)]
      return out

    return finish

  def suppress(
    self, found: np.ndarray, scores: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Indices kept and their scores, best first (Sec. 3.3)."""
    settings = self._config.nms
    method = settings.method if 'evaluator' in self._params else 'none'
    most = settings.max_proposals or None
    if method == 'soft':
      return nms.soft_nms(
        found,
        scores,
        sigma=settings.sigma,
        threshold=settings.threshold,
        max_proposals=most,
      )
    if method == 'greedy':
      return nms.greedy_nms(
        found, scores, tiou=settings.greedy_tiou, max_proposals=most
      )
    if method != 'none':
      raise ValueError(
        f"nms.method must be 'soft', 'greedy' or 'none', got {method!r}"
      )
    order = np.lexsort((found[:, 1], found[:, 0], -scores))[:most]
    return order, scores[order]


def batch_size(window_shape: tuple[int, ...]) -> int:
  """Windows computed in one call.

  Args:
    window_shape: (t, d) of features, (f, h, w, 3) of frames.
  """
  if len(window_shape) == 2:
    return _BATCH
  frames, height, width, _ = window_shape
  return min(_BATCH, max(1, _BATCH_PIXELS // (frames * height * width)))


def hop_snippets(config: Any) -> int:
  """Snippets between neighbouring windows.

  Raises:
    ValueError: if the overlap is not within [0, 1).
  """
  overlap = config.windows.overlap
  if not 0 <= overlap < 1:
    raise ValueError(f'windows.overlap must be within [0, 1), got {overlap}')
  return max(1, round(config.windows.length * (1 - overlap)))


def stitch(windows: list[WindowScores], total: int) -> WindowScores:
  """Averages overlapping windows into one window of the whole video."""
  first = windows[0]
  sums = [
    np.zeros((total, first.probabilities.shape[1]), np.float32),
    np.zeros((total, first.hidden.shape[1]), np.float32),
  ]
  counts = np.zeros((total, 1), np.float32)
  for window in windows:
    stop = window.start + len(window.probabilities)
    sums[0][window.start : stop] += window.probabilities
    sums[1][window.start : stop] += window.hidden
    counts[window.start : stop] += 1
  np.maximum(counts, 1, out=counts)
  return WindowScores(first.video_id, 0, sums[0] / counts, sums[1] / counts)


def _networks(config):
  # Flax is imported where networks are built: exported models do without it.
  from cmsn_jax.chains.paper import networks

  return networks.build(config)


def window_places(
  source,
  video_ids: Iterable[str],
  length: int,
  hop: int,
  on_error: OnError | None = None,
) -> Iterator[windows_lib.Window]:
  """The windows of videos, in order; see `Predictor.propose` of `on_error`."""
  for video_id in video_ids:
    try:
      total = source.num_snippets(video_id)
    except (ValueError, OSError) as error:
      if on_error is None:
        raise
      on_error(video_id, str(error))
      continue
    for start in windows_lib.window_starts(total, length, hop):
      yield windows_lib.Window(video_id, start, min(length, total - start))


def _read(source, places, on_error):
  """Yields (window, snippets), without the videos that cannot be read."""
  failed = None
  for window in places:
    if window.video_id == failed:
      continue
    try:
      stop = window.start + window.length
      snippets = source.read(window.video_id, window.start, stop)
    except (ValueError, OSError) as error:
      if on_error is None:
        raise
      failed = window.video_id
      on_error(failed, str(error))
      continue
    yield window, snippets


def _batched(items, length):
  """Lists of (window, snippets), as many as are computed in one call."""
  items = iter(items)
  for window, snippets in items:
    rows = len(snippets) // max(window.length, 1) * length
    size = batch_size((rows, *snippets.shape[1:]))
    yield [(window, snippets), *itertools.islice(items, size - 1)]


def _unbatch(batch, outputs):
  probabilities, hidden = jax.device_get(tuple(outputs))
  for i, window in enumerate(batch):
    yield WindowScores(
      window.video_id,
      window.start,
      probabilities[i, : window.length],
      hidden[i, : window.length],
    )
