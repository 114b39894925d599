"""Proposals where a number a snippet is above a half; jax and numpy only."""

import numpy as np

from cmsn_jax.chains import prediction
from cmsn_jax.files import proposal_files


class Predictor(prediction.Predictor):
  """A segment for each run of snippets above a half, scored by its mean."""

  def propose(self, source, video_ids, on_error=None):
    for video_id in video_ids:
      snippets = source.read(video_id, 0, source.num_snippets(video_id))
      mask = np.ones((1, len(snippets)), bool)
      chance = np.asarray(self._encode(self.params, snippets[None], mask))[0]
      edges = np.diff(np.pad((chance > self.config.toy.above) * 1, 1))
      runs = np.stack(
        [np.nonzero(edges == 1)[0], np.nonzero(edges == -1)[0]], 1
      )
      scores = np.array([chance[a:b].mean() for a, b in runs], np.float64)
      order = np.argsort(-scores, kind='stable')
      yield (
        video_id,
        prediction.Prediction(
          proposal_files.Proposals(
            runs[order].reshape(-1, 2) / source.feature_fps, scores[order]
          ),
          None,
        ),
      )
