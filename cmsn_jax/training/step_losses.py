"""A run's proposals for videos with ground truth, and where recall is lost."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cmsn_jax.chains import prediction
from cmsn_jax.evaluation import step_recall


class Diagnosis(NamedTuple):
  """What a run proposes, and what its steps leave within reach.

  Attributes:
    found: proposals and stages by video id.
    steps: in the order of the flow.
  """

  found: dict[str, prediction.Prediction]
  steps: list[step_recall.Step]


def diagnose(
  predictor: prediction.Predictor,
  source: Any,
  instances: Mapping[str, np.ndarray],
  *,
  on_error: prediction.OnError | None = None,
  on_video: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
  """Proposes for videos with ground truth and follows what the steps hand on.

  Args:
    predictor: with its parameters.
    source: snippets of the videos.
    instances: ground truth by video id, seconds.
    on_error: see `Predictor.propose`; what fails is left out of all.
    on_video: called after each video.
  Raises:
    ValueError: if no video has an instance.
  """
  found, steps = {}, {}

  def watch(video_id, step, spans):
    steps[video_id].note(video_id, step, spans)

  # Each video's own until it is done: one that fails half-way is left out.
  for video_id, spans in instances.items():
    steps[video_id] = step_recall.StepRecall({video_id: spans})
  for video_id, one in predictor.watched(watch).propose(
    source, list(instances), on_error
  ):
    own = steps[video_id]
    for step, spans in predictor.ceilings(
      source, video_id, instances[video_id]
    ):
      own.note(video_id, step, spans)
    own.note_ranked(video_id, one.proposals.segments)
    found[video_id] = one
    on_video(video_id)
  total = step_recall.StepRecall({v: instances[v] for v in found})
  for video_id in found:
    total.join(steps[video_id])
  return Diagnosis(found, total.steps())
