"""Snippets in, proposals out, by the boundary-matching network.

windows -> boundaries and confidence maps -> pairs of borders, pooled over the
windows -> NMS.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from cmsn_jax.chains import prediction, windowed
from cmsn_jax.chains.bmn import pairs
from cmsn_jax.data import sources
from cmsn_jax.files import proposal_files
from cmsn_jax.suppression import calibration, keep


class Predictor(windowed.Predictor):
  """Proposals of any videos from a trained network.

  Args:
    config: of the run that trained it, `derive.derive`d.
    networks: see `networks.Networks`.
    params: {'bmn': parameters}, or {}.
  """

  def video(
    self, source: Any, video_id: str, windows: Iterable[windowed.Outputs]
  ) -> prediction.Prediction:
    """See `windowed.Predictor.video`."""
    durations = np.asarray(self.config.bmn.durations)
    segments, scores = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for window in windows:
      found = pairs.generate(*window.arrays, durations)
      borders = np.stack([found.starts, found.ends], axis=1)
      segments.append(borders + window.start)
      scores.append(found.scores)
    most = self.config.bmn.per_snippet * source.num_snippets(video_id)
    segments, scores = best(
      np.concatenate(segments), np.concatenate(scores), int(np.ceil(most))
    )
    settings = self.config.nms
    kept, scores = keep.select(
      segments.astype(np.float64),
      scores,
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
      None,
    )


def best(
  segments: np.ndarray, scores: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
  """Each segment once, with its best score; of these the best, best first.

  Args:
    segments: borders, [n, 2] whole numbers.
    scores: of each, [n].
    most: kept at most; 0: all.
  """
  order = np.lexsort((segments[:, 1], segments[:, 0], -scores))
  segments, scores = segments[order], scores[order]
  # The first of equal ones is the best.
  _, first = np.unique(segments, axis=0, return_index=True)
  first = np.sort(first)[: most or None]
  return segments[first], scores[first]
