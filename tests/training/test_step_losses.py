"""A run followed step by step, with a chain whose steps are known."""

import numpy as np
import pytest

from cmsn_jax.chains import prediction
from cmsn_jax.files import proposal_files
from cmsn_jax.training import step_losses

_TRUE = {
  'a': np.array([[0.0, 10.0], [20.0, 30.0]]),
  'broken': np.array([[0.0, 1.0]]),
  'b': np.array([[0.0, 4.0]]),
}


class _Chain(prediction.Predictor):
  """Hands on the truth as candidates, loses the second half, keeps the first."""

  def __init__(self):
    self._watch = None

  def propose(self, source, video_ids, on_error=None):
    for video_id in video_ids:
      spans = _TRUE[video_id]
      self._watch(video_id, 'candidates', spans)
      if video_id == 'broken':
        on_error(video_id, 'on purpose')
        continue
      self._watch(video_id, 'scored', spans[:1])
      found = proposal_files.Proposals(
        np.array([[90.0, 91.0], *spans[:1]]), np.array([0.9, 0.8])
      )
      yield video_id, prediction.Prediction(found, None)

  def ceilings(self, source, video_id, instances):
    for row in instances:
      yield 'durations', row[None]


def test_each_step_counts_what_was_not_left_out():
  failed, done = [], []
  result = step_losses.diagnose(
    _Chain(), None, _TRUE, on_error=lambda *error: failed.append(error),
    on_video=done.append,
  )  # fmt: skip
  assert failed == [('broken', 'on purpose')] and done == ['a', 'b']
  assert list(result.found) == ['a', 'b']
  assert [(s.name, s.average) for s in result.steps] == [
    ('durations', 1.0), ('candidates', 1.0),
    ('scored', pytest.approx(2 / 3)), ('kept', pytest.approx(2 / 3)),
    *((f'top_{k}', pytest.approx(2 / 3)) for k in (200, 100, 50, 10)),
  ]  # fmt: skip
  assert [s.per_video for s in result.steps][:3] == [1.5, 1.5, 1.0]
