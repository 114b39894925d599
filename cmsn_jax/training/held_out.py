"""What a run is judged by: proposals and stages of the held-out videos."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from cmsn_jax import processes, segments, sharding, stage_names
from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import prediction as prediction_lib
from cmsn_jax.data import training_data
from cmsn_jax.evaluation import detection, metrics
from cmsn_jax.files import proposal_files
from cmsn_jax.runs import judged_lists
from cmsn_jax.suppression import calibration, label_calibration


class Evaluation(NamedTuple):
  """Of one set of parameters.

  Attributes:
    metrics: AR at each AN, `best_metric` (what the best epoch is chosen by),
      stage accuracy, overall and by stage, slope and offset that calibrate the
      scores; {} without held-out videos.
    margins: of each held-out snippet, log odds of its true stage against the
      best other one, [t]: s times the cosine margin of Eq. (3), (5).
    example: the first video, for a picture: (video, prediction), or None.
    lists: calibrated proposals of each held-out video beside its instances.
    label_calibration: slope and offsets of the labels; () where there are none.
  """

  metrics: dict[str, float]
  margins: np.ndarray
  example: tuple[Any, Any] | None
  lists: dict[str, judged_lists.Judged] = {}
  label_calibration: tuple[float, ...] = ()


NOTHING = Evaluation({}, np.zeros(0), None)


def evaluate(
  data: training_data.TrainingData,
  predictor: prediction_lib.Predictor,
  *,
  protocol: str,
  ans: tuple[int, ...],
  best_ans: tuple[int, ...],
  label_rule: str = 'centre',
  calibrate: bool = False,
  calibrate_labels: bool = False,
) -> Evaluation:
  """Proposes for the held-out videos and compares with the ground truth.

  Each process proposes for its share of the videos; all come to the same
  evaluation.

  Args:
    data: its held-out videos count.
    predictor: with the parameters to judge.
    protocol: of the AR, see `metrics.evaluate`.
    ans: numbers of proposals.
    best_ans: those whose mean AR is `best_metric`.
    label_rule: see `targets.stage_labels`.
    calibrate: fit what calibrates the scores.
    calibrate_labels: fit what calibrates the labels.
  """
  if not data.held_out:
    return NOTHING
  found, labels, probabilities, example = {}, [], [], None
  for video_id, prediction in predictions(data, predictor).items():
    video = data.held_out[video_id]
    found[video_id] = prediction
    if prediction.probabilities is not None:
      known = ~data.unknown_snippets(video_id)
      own = training_data.stage_labels(video, data.source, label_rule)
      labels.append(own[known])
      probabilities.append(prediction.probabilities[known])
    example = example or (video, prediction)
  # A chain may have no stages.
  accuracies, margins = {}, np.zeros(0)
  labels = np.concatenate([np.zeros(0, int), *labels])
  if len(labels):
    probabilities = np.concatenate(probabilities)
    accuracies = _accuracies(labels, probabilities.argmax(axis=1))
    margins = _margins(labels, probabilities)
  judgements = {}
  if any(len(video.segments) for video in data.held_out.values()):
    judgements = _average_recall(data, found, protocol, ans, best_ans)
    judgements |= labels_judged(data.held_out, found)
  else:
    calibrate = False
    logging.warning(
      'none of the %d held-out videos has an instance: no AR can be measured, '
      'and the newest parameters are kept. Hold others out: '
      '--config.data.eval_subset, --config.data.holdout', len(data.held_out),
    )  # fmt: skip
  fitted = fit_calibration(data, found) if calibrate else None
  # Measured before: on these videos a fit would praise itself.
  of_labels = ()
  if calibrate_labels:
    of_labels = fit_label_calibration(data.held_out, found)
  return Evaluation(
    {
      **judgements,
      **accuracies,
      'proposals_per_video': float(
        np.mean([len(p.proposals.scores) for p in found.values()])
      ),
      **(
        {'score_slope': fitted.slope, 'score_offset': fitted.offset}
        if fitted
        else {}
      ),
    },
    margins,
    example,
    judged(data, found, fitted),
    of_labels,
  )


def predictions(
  data: training_data.TrainingData, predictor: prediction_lib.Predictor
) -> dict[str, prediction_lib.Prediction]:
  """Of all held-out videos, made by all processes.

  Args:
    data: its held-out videos count.
    predictor: with its parameters.
  """
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
    if one.probabilities is not None:
      arrays[f'{number}.probabilities'] = one.probabilities
    if one.labels is not None:
      arrays[f'{number}.labels'] = one.labels.probabilities
  arrays = processes.gather(arrays)
  names = predictor.label_names
  return {
    video_id: prediction_lib.labelled(
      proposal_files.Proposals(
        arrays[f'{number}.segments'], arrays[f'{number}.scores']
      ),
      arrays.get(f'{number}.probabilities'),
      prediction_lib.LabelScores(names, arrays[f'{number}.labels'])
      if names
      else None,
    )
    for video_id, number in numbers.items()
  }


def recall(
  videos: Mapping[str, Any],
  found: Mapping[str, prediction_lib.Prediction],
  *,
  protocol: str,
  ans: tuple[int, ...],
) -> metrics.Metrics:
  """What `metrics.evaluate` says of predictions; unknown spans do not count.

  Args:
    videos: with their instances, by id.
    found: by video id.
    protocol: see `metrics.evaluate`.
    ans: numbers of proposals.
  """
  return metrics.evaluate(
    {k: (p.proposals.segments, p.proposals.scores) for k, p in found.items()},
    {k: video.segments for k, video in videos.items()},
    ignore=activitynet.unknown(videos),
    protocol=protocol,
    ans=ans,
  )


def _average_recall(data, found, protocol, ans, best_ans):
  result = recall(data.held_out, found, protocol=protocol, ans=ans)
  # Where fewer proposals are made than an AN asks for, all of them count.
  last = float(result.curve_ar[-1]) if len(result.curve_ar) else 0.0
  values = {
    f'ar_{an}': last if value is None else float(value)
    for an, value in result.ar_at_an.items()
  }
  best = [values[f'ar_{an}'] for an in best_ans]
  return {**values, 'best_metric': float(np.mean(best))}


def labels_judged(
  videos: Mapping[str, Any], found: Mapping[str, prediction_lib.Prediction]
) -> dict[str, float]:
  """`map`, over tIoU .3 to .7, and `label_accuracy`; {} without labels.

  Accuracy is the share of instances whose closest proposal, of tIoU .5 at
  least, has their label first.

  Args:
    videos: with their instances, by id.
    found: by video id.
  """
  if any(one.labels is None for one in found.values()):
    return {}
  rows = {k: _known(p, videos[k]).rows('all') for k, p in found.items()}
  clear, ambiguous = detection.clear_and_ambiguous(
    {k: (v.segments, v.labels) for k, v in videos.items()}
  )
  if not any(names for _, names in clear.values()):
    return {}
  with warnings.catch_warnings():
    # A label that no held-out instance has is no news here.
    warnings.simplefilter('ignore', metrics.MetricsWarning)
    measured = detection.evaluate(
      {k: (r.segments, r.scores, r.labels or ()) for k, r in rows.items()},
      clear,
      ambiguous=ambiguous,
    )
  right = [
    found[k].proposals.labels[one] == videos[k].labels[instance]
    for k in found
    for one, instance in zip(*_known_by(found[k], videos[k]))
  ]
  accuracy = {'label_accuracy': float(np.mean(right))} if right else {}
  return {'map': measured.average_map, **accuracy}


def _known(found, video):
  """The proposals that are right or wrong: not mostly in unknown spans."""
  unknown = segments.mostly_within(found.proposals.segments, video.unknown)
  return found.take(np.flatnonzero(~unknown)) if unknown.any() else found


def fit_label_calibration(
  videos: Mapping[str, Any], found: Mapping[str, prediction_lib.Prediction]
) -> tuple[float, ...]:
  """Slope and offsets that calibrate labels; () where nothing does.

  Args:
    videos: with their instances, by id.
    found: by video id.
  """
  rows, labels = [], []
  for video_id, one in found.items():
    if one.labels is None:
      return ()
    video, names = videos[video_id], one.labels.names
    for place, instance in zip(*_known_by(one, video)):
      if video.labels[instance] in names:
        rows.append(one.labels.probabilities[place])
        labels.append(names.index(video.labels[instance]))
  if not rows:
    return ()
  fitted = label_calibration.fit(np.stack(rows), np.array(labels))
  return () if fitted is None else (fitted.slope, *fitted.offsets)


def _known_by(found, video):
  return label_calibration.examples(found.proposals.segments, video.segments)


def fit_calibration(
  data: training_data.TrainingData,
  found: Mapping[str, prediction_lib.Prediction],
) -> calibration.Calibration | None:
  """What calibrates the scores of the held-out videos; None: nothing does.

  Args:
    data: its held-out videos count.
    found: what is proposed for each of them.
  """
  fitted = calibration.fit(
    scores_and_gains(p.proposals, data.held_out[v]) for v, p in found.items()
  )
  if fitted is None:
    logging.warning(
      'scores are not calibrated: on the held-out videos too few proposals '
      'match an instance, or better scores match no more often'
    )
  return fitted


def scores_and_gains(
  found: proposal_files.Proposals, video: activitynet.Video
) -> tuple[np.ndarray, np.ndarray]:
  """What `calibration.fit` takes of a video: of proposals that count."""
  counts = ~segments.mostly_within(found.segments, video.unknown)
  return found.scores[counts], calibration.gains(
    found.segments[counts], video.segments
  )


def judged(
  data: training_data.TrainingData,
  found: Mapping[str, prediction_lib.Prediction],
  calibrated: calibration.Calibration | None = None,
) -> dict[str, judged_lists.Judged]:
  """What is proposed for the held-out videos, beside their instances.

  Args:
    data: its held-out videos count.
    found: by video id.
    calibrated: of the scores; None: they stay as they are.
  """
  calibrated = calibrated or calibration.Calibration()
  return {
    video_id: judged_lists.Judged(
      dataclasses.replace(
        one.proposals, scores=calibrated(one.proposals.scores)
      ),
      data.held_out[video_id].segments,
      data.held_out[video_id].duration_sec,
      data.held_out[video_id].unknown,
    )
    for video_id, one in found.items()
  }


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
