"""Snippets in, proposals out, by grouping what the stage network says.

windows -> stage probabilities, averaged where windows overlap -> actionness ->
watershed -> Greedy-NMS.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from cmsn_jax import stage_names
from cmsn_jax.chains import prediction, windowed
from cmsn_jax.chains.tag import watershed
from cmsn_jax.data import sources
from cmsn_jax.files import proposal_files
from cmsn_jax.suppression import calibration, keep

# Of an instance itself: Start, Confirm, End.
_INSIDE = (2, 3, 4)


class Predictor(windowed.Predictor):
  """Proposals of any videos from a trained stage network.

  Args:
    config: of the run that trained it.
    networks: see `paper.networks.Networks`.
    params: {'stages': parameters}, or {}.
  """

  def video(
    self, source: Any, video_id: str, windows: Iterable[windowed.Outputs]
  ) -> prediction.Prediction:
    """See `windowed.Predictor.video`."""
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
