"""What a run is judged by: proposals and stages of the held-out videos."""

from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from cmsn_jax import processes, sharding, stage_names
from cmsn_jax.chains.paper import predictor as inference
from cmsn_jax.evaluation import metrics
from cmsn_jax.files import proposal_files
from cmsn_jax.stages import targets as stage_targets
from cmsn_jax.suppression import calibration


class Evaluation(NamedTuple):
  """Of one set of parameters.

  Attributes:
    metrics: AR at each AN, `best_metric` (what the best epoch is chosen by),
      stage accuracy, overall and by stage, slope and offset that calibrate the
      template chain's scores; {} without held-out videos.
    margins: of each held-out snippet, log odds of its true stage against the
      best other one, [t]: s times the cosine margin of Eq. (3), (5).
    example: the first video, for a picture: (video, prediction), or None.
  """

  metrics: dict[str, float]
  margins: np.ndarray
  example: tuple[Any, Any] | None


NOTHING = Evaluation({}, np.zeros(0), None)


def evaluate(config, data, predictor) -> Evaluation:
  """Proposes for the held-out videos and compares with the ground truth.

  Each process proposes for its share of the videos; all come to the same
  evaluation.

  Args:
    config: of the run.
    data: a `training_data.TrainingData`.
    predictor: with the parameters to judge.
  """
  if not data.held_out:
    return NOTHING
  found, labels, probabilities, example = {}, [], [], None
  for video_id, prediction in _predictions(data, predictor).items():
    video = data.held_out[video_id]
    found[video_id] = prediction.proposals
    labels.append(stage_labels(config, video, data.source))
    probabilities.append(prediction.probabilities)
    example = example or (video, prediction)
  labels = np.concatenate(labels)
  probabilities = np.concatenate(probabilities)
  return Evaluation(
    {
      **_average_recall(config, data, found),
      **_accuracies(labels, probabilities.argmax(axis=1)),
      'proposals_per_video': float(
        np.mean([len(p.scores) for p in found.values()])
      ),
      **_calibration(config, data, found),
    },
    _margins(labels, probabilities),
    example,
  )


def stage_labels(config, video, source) -> np.ndarray:
  """Stage labels of all snippets of a video, [t]."""
  return stage_targets.stage_labels(
    video.segments,
    source.num_snippets(video.video_id),
    source.feature_fps,
    rule=config.stages.label_rule,
  )


def _predictions(data, predictor):
  """Of all held-out videos, made by all processes."""
  numbers = {video_id: k for k, video_id in enumerate(data.held_out)}
  own = sharding.share(
    {v: data.source.num_snippets(v) for v in data.held_out},
    jax.process_index(),
    jax.process_count(),
  )
  arrays = {}
  own.sort(key=numbers.get)
  for video_id, one in predictor.propose(data.source, own):
    number = numbers[video_id]
    arrays[f'{number}.segments'] = one.proposals.segments
    arrays[f'{number}.scores'] = one.proposals.scores
    arrays[f'{number}.probabilities'] = one.probabilities
  arrays = processes.gather(arrays)
  return {
    video_id: inference.Prediction(
      proposal_files.Proposals(
        arrays[f'{number}.segments'], arrays[f'{number}.scores']
      ),
      arrays[f'{number}.probabilities'],
    )
    for video_id, number in numbers.items()
  }


def _average_recall(config, data, found):
  result = metrics.evaluate(
    {k: (p.segments, p.scores) for k, p in found.items()},
    {k: video.segments for k, video in data.held_out.items()},
    protocol=config.evaluation.protocol,
    ans=tuple(config.evaluation.ans),
  )
  # Where fewer proposals are made than an AN asks for, all of them count.
  last = float(result.curve_ar[-1]) if len(result.curve_ar) else 0.0
  values = {
    f'ar_{an}': last if value is None else float(value)
    for an, value in result.ar_at_an.items()
  }
  best = [values[f'ar_{an}'] for an in config.evaluation.best_ans]
  return {**values, 'best_metric': float(np.mean(best))}


def _calibration(config, data, found):
  """`score_slope` and `score_offset`: see `calibration.Calibration`."""
  if config.proposals.generator != 'stage_template' or config.joint.calibration:
    return {}
  fitted = calibration.fit(
    (p.scores, calibration.gains(p.segments, data.held_out[v].segments))
    for v, p in found.items()
  )
  if fitted is None:
    logging.warning(
      'scores are not calibrated: on the held-out videos too few proposals '
      'match an instance, or better scores match no more often'
    )
    return {}
  return {'score_slope': fitted.slope, 'score_offset': fitted.offset}


def _accuracies(labels, predicted):
  values = {'stage_accuracy': float((labels == predicted).mean())}
  for stage, name in enumerate(stage_names.NAMES):
    chosen = labels == stage
    if chosen.any():
      share = float((predicted[chosen] == stage).mean())
      values[f'stage_recall_{name.lower()}'] = share
  return values


def _margins(labels, probabilities):
  log = np.log(np.maximum(probabilities, 1e-12))
  rows = np.arange(len(labels))
  own = log[rows, labels]
  log[rows, labels] = -np.inf
  return own - log.max(axis=1)
