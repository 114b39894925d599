"""Snippets in, proposals out, by grouping what the stage network says.

windows -> stage probabilities, averaged where windows overlap -> actionness ->
watershed -> Greedy-NMS.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cmsn_jax import stage_names
from cmsn_jax.chains import prediction, windowed
from cmsn_jax.chains.tag import watershed
from cmsn_jax.data import sources
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.files import proposal_files
from cmsn_jax.suppression import calibration, keep

# Of an instance itself: Start, Confirm, End.
_INSIDE = (2, 3, 4)


class Predictor(prediction.Predictor):
  """Proposals of any videos from a trained stage network.

  Args:
    config: of the run that trained it.
    networks: see `paper.networks.Networks`.
    params: {'stages': parameters}, or {}.
  """

  def propose(
    self,
    source: Any,
    video_ids: Iterable[str],
    on_error: prediction.OnError | None = None,
  ) -> Iterator[tuple[str, prediction.Prediction]]:
    """Yields (video id, prediction) in the order given."""
    failed = set()

    def note(video_id, message):
      failed.add(video_id)
      on_error(video_id, message)

    length = self.config.windows.length
    places = windowed.window_places(
      source,
      video_ids,
      length,
      windows_lib.hop_snippets(length, self.config.windows.overlap),
      on_error and note,
    )
    stream = windowed.outputs(
      lambda inputs, mask: self._encode(self.params, inputs, mask),
      length,
      source,
      places,
      on_error and note,
    )
    for video_id, group in itertools.groupby(stream, lambda w: w.video_id):
      found = self._video(source, video_id, group)
      if video_id not in failed:
        yield video_id, found

  def _video(self, source, video_id, windows):
    total = source.num_snippets(video_id)
    sums = np.zeros((total, stage_names.COUNT))
    counts = np.zeros((total, 1))
    for window in windows:
      probabilities = window.arrays[0]
      stop = window.start + len(probabilities)
      sums[window.start : stop] += probabilities
      counts[window.start : stop] += 1
    probabilities = sums / np.maximum(counts, 1)
    actionness = probabilities[:, _INSIDE].sum(axis=1)
    segments = watershed.group(actionness)
    settings = self.config.nms
    kept, scores = keep.select(
      segments.astype(np.float64),
      watershed.mean_inside(actionness, segments),
      settings.method,
      settings,
      settings.max_proposals or None,
    )
    scores = calibration.Calibration(*self.config.calibration.given)(scores)
    clock = sources.clock(source, video_id)
    return prediction.Prediction(
      proposal_files.Proposals(
        clock.to_sec(segments[kept] / source.feature_fps), scores
      ),
      probabilities.astype(np.float32),
    )
