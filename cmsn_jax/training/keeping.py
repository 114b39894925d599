"""What a phase keeps: the parameters that did best on the held-out videos."""

import json
import math
import pathlib
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import logging

from cmsn_jax.chains import prediction, protocol
from cmsn_jax.data import training_data
from cmsn_jax.files import replacing
from cmsn_jax.report import timelines
from cmsn_jax.runs import checkpoints, config_record, judged_lists, trained
from cmsn_jax.training import held_out

_RECORD = 'evaluated.json'


class MeasuringError(RuntimeError):
  """The parameters are kept, but could not be measured."""


class Best(NamedTuple):
  """The best evaluation so far.

  Attributes:
    step: of the newest evaluation, better or not; -1: there was none.
    metric: `best_metric` of the best one.
    metrics: of the best one, {} without held-out videos.
  """

  step: int = -1
  metric: float = -math.inf
  metrics: dict[str, float] = {}


class Keeper:
  """Measures parameters, and keeps them in `<workdir>/<phase>/best`.

  Args:
    config: of the run.
    data: training and held-out videos.
    predictor: of the chain, without parameters.
    phase: whose parameters.
    folder: `<workdir>/<phase>`.
    writer: of metrics; see `metric_writer`.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    data: training_data.TrainingData,
    predictor: prediction.Predictor,
    phase: protocol.Phase,
    folder: pathlib.Path,
    writer: Any,
  ):
    self._config, self._data, self._predictor = config, data, predictor
    self._phase, self._folder, self._writer = phase, folder, writer
    self._kept = checkpoints.Checkpoints(folder / 'best')

  def keep(self, step: int, params: Any, best: Best) -> Best:
    """Measures parameters and keeps them if none before were better.

    Whatever fails on the way, parameters are kept: where nothing better is.

    Args:
      step: that they are of.
      params: of the phase, on the host.
      best: so far.

    Returns:
      the best, this one included.

    Raises:
      MeasuringError: where they could not be measured.
      checkpoints.CheckpointError: where they could not be written.
    """
    bundle = self._phase.bundle(params)
    failure = None
    try:
      found = self._judged(bundle)
    except Exception as error:
      found, failure = held_out.NOTHING, error
    metrics = found.metrics
    # Without held-out videos the newest is the best that is known.
    metric = metrics.get('best_metric', -math.inf)
    if failure is None or not best.metrics:
      # Of equals the newer: until anything is found all are 0, and the first of
      # them has learned least.
      if metric >= best.metric or 'best_metric' not in metrics:
        self._save(step, bundle, found)
        if found.lists:
          judged_lists.write(self._folder, step, 'held-out', found.lists)
        best = Best(step, metric, metrics)
    best = best._replace(step=step)
    if failure is not None:
      raise MeasuringError(
        f'phase {self._phase.name!r}: the parameters of step {step} are kept in '
        f'{self._folder}, but measuring them on the held-out videos failed: '
        f'{type(failure).__name__}: {failure}'
      ) from failure
    self._tell(step, found)
    if jax.process_index() == 0:
      record = best._asdict() | {
        'metric': best.metric if math.isfinite(best.metric) else None
      }
      with replacing.file(self._folder / _RECORD) as file:
        json.dump(record, file)
    return best

  def close(self) -> None:
    """Waits for what is being written."""
    self._kept.close()

  def _judged(self, bundle):
    config = self._config
    return held_out.evaluate(
      self._data,
      self._predictor.with_params(bundle),
      protocol=config.evaluation.protocol,
      ans=tuple(config.evaluation.ans),
      best_ans=tuple(config.evaluation.best_ans),
      label_rule=config.stages.label_rule,
      calibrate=config.calibration.fit and not config.calibration.given,
      calibrate_labels=(
        config.calibration.fit and not config.calibration.labels
      ),
    )

  def _save(self, step, bundle, found):
    # It was kept without a metric where it could not be measured.
    self._kept.replace(
      step,
      {
        'params': bundle,
        'statistics': trained.statistics_tree(self._data),
      },
      {
        'phase': self._phase.name,
        'config': config_record.to_json(self._config),
        'data': trained.describe_data(self._data),
        'metrics': found.metrics,
        'label_calibration': list(found.label_calibration),
      },
    )

  def _tell(self, step, found):
    """Logs and draws; a picture that fails costs nothing but itself."""
    metrics, writer = found.metrics, self._writer
    if not metrics:
      return
    logging.info(
      '%s step %d: %s', self._phase.name, step,
      '  '.join(f'{k} {v:.4g}' for k, v in metrics.items()),
    )  # fmt: skip
    try:
      writer.scalars(step, {f'held_out/{k}': v for k, v in metrics.items()})
      if len(found.margins):
        writer.histogram(step, 'held_out/stage_margin', found.margins)
      if found.example[1].probabilities is not None:
        writer.figure(step, 'held_out/example', _picture(found.example))
    except Exception as error:
      logging.warning(
        'step %d: metrics are not drawn: %s: %s',
        step, type(error).__name__, error,
      )  # fmt: skip


def read(folder: pathlib.Path, resumed: checkpoints.Restored) -> Best:
  """The best evaluation that a phase remembers.

  Args:
    folder: `<workdir>/<phase>`.
    resumed: the checkpoint that it goes on from.
  """
  path = folder / _RECORD
  if path.is_file():
    try:
      found = Best(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
      logging.warning('%s is not read: %s', path, error)
    else:
      if found.metric is None:
        found = found._replace(metric=-math.inf)
      return found
  # Of runs that remembered it in the checkpoint, after evaluating.
  metrics = resumed.meta.get('best')
  if metrics is None:
    return Best()
  metric = resumed.meta['best_metric'] if metrics else -math.inf
  return Best(resumed.step, metric, metrics)


def _picture(example):
  video, found = example
  return timelines.figure(
    video.video_id,
    video.duration_sec,
    true_segments=video.segments,
    ignore=video.unknown,
    probabilities=found.probabilities,
    feature_fps=len(found.probabilities) / video.duration_sec,
    proposals=found.proposals.segments,
    scores=found.proposals.scores,
  )
