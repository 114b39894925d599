"""Snippets in, scored proposals out: the paper's flow (Sec. 3.4, Prediction).

windows -> stage scores -> candidates -> PES x pre-score -> NMS.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from cmsn_jax import segments, stage_names
from cmsn_jax.candidates import pool, runs
from cmsn_jax.chains import prediction, windowed
from cmsn_jax.chains.paper import window_scores
from cmsn_jax.data import sources
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.files import proposal_files
from cmsn_jax.stages import decoding, targets
from cmsn_jax.suppression import calibration, keep, label_calibration

# Least padded number of proposals that the evaluator scores in one call; the
# numbers above are its doublings, so that few programs are compiled.
_MIN_ROIS = 64
_MAX_ROIS = 1024
# Of a label that no snippet inside looks like.
_UNSEEN = 1e-6


class Predictor(prediction.Predictor):
  """Proposals of any videos from trained parameters.

  Args:
    config: of the run that trained them.
    networks: see `networks.Networks`.
    params: {'stages': ..., 'evaluator': ...}; without 'evaluator' candidates
      keep their pre-scores and no NMS is applied (Table 4).
  """

  def __init__(self, config: Any, networks: Any, params: dict[str, Any]):
    super().__init__(config, networks, params)
    self._length = config.windows.length
    self._hop = windows_lib.hop_snippets(
      config.windows.length, config.windows.overlap
    )

  @property
  def label_names(self) -> tuple[str, ...]:
    """The labels that proposals are given: those that snippets have."""
    return tuple(self.config.stages.label_names)

  def propose(
    self,
    source: Any,
    video_ids: Iterable[str],
    on_error: prediction.OnError | None = None,
  ) -> Iterator[tuple[str, prediction.Prediction]]:
    """Yields (video id, prediction) in the order given.

    Memory is bounded by one batch of windows and, with `stitch: "average"`,
    one video's hidden features.
    """

    def found(video_id, group):
      total = source.num_snippets(video_id)
      if self.config.proposals.stitch == 'average':
        group = [window_scores.stitch(list(group), total)]
      clock = sources.clock(source, video_id)
      return self._video_proposals(
        video_id, group, total, source.feature_fps, clock
      )

    yield from windowed.each_video(
      lambda note: self.stage_windows(source, video_ids, note), found, on_error
    )

  def stage_windows(
    self,
    source: Any,
    video_ids: Iterable[str],
    on_error: prediction.OnError | None = None,
  ) -> Iterator[window_scores.WindowScores]:
    """Stage scores of half-overlapping windows, videos in the order given.

    Batches run across the borders of videos, so that many short ones cost no
    more than one long one.
    """
    places = windowed.window_places(
      source, video_ids, self._length, self._hop, on_error
    )
    yield from self.score_windows(source, places, on_error)

  def score_windows(
    self,
    source: Any,
    places: Iterable[windows_lib.Window],
    on_error: prediction.OnError | None = None,
  ) -> Iterator[window_scores.WindowScores]:
    """Stage scores of any windows, in the order given."""
    encode = lambda inputs, mask: self._encode(self.params, inputs, mask)
    yield from window_scores.of_windows(
      encode, self._length, source, places, on_error
    )

  def candidates(self, probabilities: np.ndarray) -> runs.Candidates:
    """Candidate proposals of one window or one stitched video (Sec. 3.2)."""
    return self._limited(self._every(probabilities))

  def ceilings(
    self, source: Any, video_id: str, instances: Float[np.ndarray, 'g 2']
  ) -> Iterator[tuple[str, Float[np.ndarray, 'n 2']]]:
    """See `prediction.Predictor.ceilings`; the generator has no grid."""
    clock = sources.clock(source, video_id)
    stages = targets.stage_labels(
      clock.to_grid(instances),
      source.num_snippets(video_id),
      source.feature_fps,
    )
    found = self._generated(stages, None)
    spans = segments.snippets_to_sec(
      found.starts, found.ends, source.feature_fps
    )
    yield 'perfect_stages', clock.to_sec(spans)

  def _every(self, probabilities):
    stages = decoding.decode(probabilities, self.config.proposals.decoder)
    return self._generated(stages, probabilities)

  def _generated(self, stages, probabilities):
    settings = self.config.proposals
    return runs.generate(
      stages,
      probabilities,
      decay_rate=settings.decay_rate,
      split=settings.split_runs,
      stage_set=tuple(settings.required_stages),
      stage_rule=settings.required_rule,
    )

  def _limited(self, found):
    most = self.config.proposals.max_candidates or None
    return runs.Candidates(*(column[:most] for column in found))

  def _video_proposals(self, video_id, windows, total, feature_fps, clock):
    found, waiting = [segments.empty()], []
    sums = np.zeros((total, stage_names.COUNT))
    counts = np.zeros((total, 1))
    actions = np.zeros((total, len(self.label_names)))

    def candidates_of(window):
      stop = window.start + len(window.probabilities)
      sums[window.start : stop] += window.probabilities
      counts[window.start : stop] += 1
      if window.actions is not None:
        actions[window.start : stop] += window.actions
      every = self._every(window.probabilities)
      if self._watch:
        spans = segments.snippets_to_sec(
          every.starts + window.start, every.ends + window.start, feature_fps
        )
        self._watch(video_id, 'candidates', clock.to_sec(spans))
      return window, self._limited(every)

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
    if self._watch:
      self._watch(video_id, 'scored', clock.to_sec(found))
    settings = self.config.nms
    kept, scores = keep.select(
      found,
      scores,
      settings.method if 'evaluator' in self.params else 'none',
      settings,
      settings.max_proposals or None,
    )
    scores = calibration.Calibration(*self.config.calibration.given)(scores)
    counts = np.maximum(counts, 1)
    return prediction.labelled(
      proposal_files.Proposals(clock.to_sec(found[kept]), scores),
      (sums / counts).astype(np.float32),
      self._labels(actions / counts, found[kept] * feature_fps),
    )

  def _labels(self, actions, proposals):
    """Mean probabilities of the snippets inside, given an action."""
    if not self.label_names:
      return None
    sums = np.concatenate([np.zeros_like(actions[:1]), actions.cumsum(axis=0)])
    places = np.rint(proposals).astype(np.int64).clip(0, len(actions))
    likely = (sums[places[:, 1]] - sums[places[:, 0]]).clip(_UNSEEN)
    likely /= likely.sum(axis=1, keepdims=True)
    likely = label_calibration.applied(self.config.calibration.labels, likely)
    return prediction.LabelScores(self.label_names, likely)

  def _scores(self, window, candidates):
    """A function that waits for the PES scores of a window's candidates.

    1 without an evaluator.
    """
    out = np.ones(len(candidates.starts))
    if 'evaluator' not in self.params:
      return lambda: out
    running = []
    longest = self.networks.facts.get('max_snippets')
    for block, start, length in pool.blocks(
      candidates.starts, candidates.ends, self._length, _MAX_ROIS
    ):
      if longest is not None and length > longest:
        raise ValueError(
          f'a candidate is too long for this exported model: its stretch is of '
          f'{length} snippets, at most {longest} are possible; use '
          'launch.propose'
        )
      count = pool.bucket(len(block), _MIN_ROIS)
      hidden = windows_lib.pad(window.hidden[start : start + length], length)
      scores = self._score(
        self.params,
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
