"""The run: two phases, each restored, stepped, evaluated and saved."""

import json
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import flax.struct
import jax
import ml_collections
import numpy as np
from absl import logging

from cmsn_jax import processes
from cmsn_jax import progress as progress_lib
from cmsn_jax.chains.paper import predictor as inference
from cmsn_jax.chains.paper import stages_phase
from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.report import timelines
from cmsn_jax.runs import checkpoints
from cmsn_jax.runs import folder as run_folder
from cmsn_jax.training import (
  config_checks,
  metric_writer,
  optimizer,
  parallel,
  steps,
  stopping,
)

# (loader, first step, one past the last) -> batches.
Batches = Callable[
  [windows_lib.WindowLoader, int, int], Iterator[windows_lib.Batch]
]


class NanLossError(RuntimeError):
  """The loss is no longer a number."""


class Interrupted(Exception):
  """The run was asked to stop, and its state is saved."""


class Result(NamedTuple):
  """The best evaluation of the last phase, {} without held-out videos."""

  metrics: dict[str, float]


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  data: training_data.TrainingData,
  *,
  phase: str = 'all',
  batches: Batches = lambda loader, a, b: windows_lib.prefetched(
    loader.batch, a, b
  ),
  quiet: bool = False,
) -> Result:
  """Trains the phases of a run, continuing where its workdir stands.

  Args:
    config: of the run.
    workdir: checkpoints, metrics and TensorBoard events go here.
    data: training and held-out videos.
    phase: 'all', or one of `phases.names`; 'evaluator' needs finished stages.
    batches: how batches are loaded; launch.train passes the tf.data pipeline.
    quiet: show no progress bar.

  Raises:
    NanLossError: when the loss stops being finite.
    Interrupted: after SIGTERM or SIGINT, once the state is saved.
    run_folder.DiskError: when the disk is full.
    run_folder.RunFolderError: when another run holds the workdir, or it was
      started with another config.
  """
  config_checks.check(config)
  names = stages_phase.names(config)
  if phase not in ('all', *names):
    raise ValueError(
      f"phase must be 'all' or one of {names} with this config, got {phase!r}"
    )
  with (
    run_folder.disk_errors_explained(workdir),
    run_folder.locked(workdir),
    stopping.StopSignal() as stop,
  ):
    run_folder.claim_config(workdir, config)
    run = _Run(config, workdir, data, batches, stop, quiet)
    predictor = inference.create(config, {})
    metrics = {}
    for name in names if phase == 'all' else (phase,):
      metrics = run.finished(name)
      if metrics is None:
        phase_ = _phase(name, config, workdir, data, predictor, quiet)
        metrics = run.train(phase_)
    if 'evaluator' in names and phase in ('all', 'evaluator'):
      _compare(run_folder.read_best(workdir, 'stages').meta['metrics'], metrics)
    return Result(metrics)


def _compare(without: dict[str, float], with_it: dict[str, float]) -> None:
  """Says so where the evaluator does not help."""
  before, after = (m.get('best_metric') for m in (without, with_it))
  if before is not None and after is not None and after < before:
    logging.warning(
      'on the held-out videos the evaluator lowers the mean AR from %.4f to '
      '%.4f; launch.propose --phase=stages leaves it out',
      before, after,
    )  # fmt: skip


def _phase(name, config, workdir, data, predictor, quiet):
  size = batch_size(config)
  if name == 'stages':
    return stages_phase.stages(config, data, predictor, size)
  if name == 'joint':
    from cmsn_jax.chains.template import joint_phase

    return joint_phase.joint(config, data, predictor, size)
  kept = run_folder.read_best(workdir, 'stages')
  params = kept.tree['params']['stages']
  return stages_phase.evaluator(
    config, data, predictor, params, size, workdir, quiet=quiet
  )


def batch_size(config: ml_collections.ConfigDict) -> int:
  """Windows a step over all devices of all processes."""
  return (
    config.train.batch_per_device * config.train.accumulate
  ) * jax.device_count()


@flax.struct.dataclass
class _Best:
  metric: float = -math.inf
  metrics: dict[str, float] = flax.struct.field(default_factory=dict)


class _Run:
  """A workdir, and what every phase of a run shares."""

  def __init__(self, config, workdir, data, batches, stop, quiet):
    self.config, self.workdir, self.data = config, workdir, data
    self.batches, self.stop, self.quiet = batches, stop, quiet

  def finished(self, name: str) -> dict[str, float] | None:
    """Best metrics of a trained evaluator; None: there is something to do.

    Looked at before its phase is made, since that mines candidates anew.
    """
    folder = self.workdir / name / 'resume'
    if name != 'evaluator' or not folder.is_dir():
      return None
    total = stages_phase.evaluator_steps(
      self.config, self.data, batch_size(self.config)
    )
    manager = checkpoints.Checkpoints(folder)
    found = manager.restore_newest()
    manager.close()
    step = 0 if found is None else found.step
    processes.require_same(step, 'the step to go on from')
    if step < total:
      return None
    logging.info('%s: finished before (step %d)', name, step)
    return found.meta['best']

  def train(self, phase: stages_phase.Phase) -> dict[str, float]:
    """Trains one phase to its end; returns its best metrics."""
    settings = self.config.train
    per_epoch = phase.loader.steps_per_epoch
    total = phase.epochs * per_epoch
    rate = self._schedule(total)
    tx = self._optimizer(phase, rate)
    state, best = self._restore(phase, tx)
    start = int(state.step)
    processes.require_same(start, 'the step to go on from')
    if start >= total:
      logging.info('%s: finished before (step %d)', phase.name, start)
      return best.metrics
    step_fn = parallel.parallel_step(
      steps.train_step,
      loss_fn=phase.loss_fn,
      tx=tx,
      accumulate=settings.accumulate,
      ema_decay=settings.ema,
    )
    key = jax.random.key(settings.seed)
    resume = checkpoints.Checkpoints(self.workdir / phase.name / 'resume')
    kept = checkpoints.Checkpoints(self.workdir / phase.name / 'best')
    writer = self._writer(phase)
    eval_every = phase.eval_every or settings.eval_every_epochs * per_epoch
    save_every = settings.checkpoint_every_steps or (
      phase.eval_every or per_epoch
    )
    progress = progress_lib.StepBar(
      phase.name, start, total, per_epoch, rate, self.quiet
    )
    pending = None
    try:
      for step, batch in enumerate(
        self.batches(phase.loader, start, total), start
      ):
        window_ids = batch.pop('window')
        state, metrics = step_fn(state, parallel.shard(batch), key)
        # The step before is read while this one runs.
        if pending is not None:
          self._log(phase, writer, progress, resume, *pending)
        pending = step, metrics, window_ids
        done = step + 1
        last = done == total
        stop = self.stop.reached()
        if last or done % eval_every == 0:
          self._log(phase, writer, progress, resume, *pending)
          pending = None
          best = self._evaluate(phase, writer, kept, state, best)
        if last or done % save_every == 0 or stop:
          if pending is not None:
            self._log(phase, writer, progress, resume, *pending)
            pending = None
          self._save(phase, resume, state, best)
        if stop and not last:
          resume.wait()
          raise Interrupted(
            f'stopped at step {done} of phase {phase.name!r}; the same '
            'command continues there'
          )
    finally:
      progress.close()
      writer.close()
      resume.close()
      kept.close()
    return best.metrics

  def _schedule(self, total):
    settings = self.config.train
    return optimizer.schedule(
      settings.schedule,
      settings.learning_rate,
      warmup_steps=settings.warmup_steps,
      total_steps=total,
    )

  def _optimizer(self, phase, rate):
    settings = self.config.train
    frozen = () if phase.name == 'evaluator' else tuple(settings.frozen)
    if phase.name == 'stages' and self.config.data.input == 'video':
      frozen += run_folder.frozen_extractor_patterns(self.config)
    return optimizer.create(
      settings.optimizer,
      rate,
      weight_decay=settings.weight_decay,
      momentum=settings.momentum,
      clip_norm=settings.clip_norm,
      frozen=frozen,
    )

  def _restore(self, phase, tx):
    """The newest whole state of a phase, or its first."""
    key = jax.random.fold_in(
      jax.random.key(self.config.train.seed),
      1 + stages_phase.NAMES.index(phase.name),
    )
    params = phase.init(key)
    # On the host: of several processes, each places it on its own devices.
    state = jax.device_get(
      steps.create_state(params, tx, ema=self.config.train.ema > 0)
    )
    folder = self.workdir / phase.name / 'resume'
    found = None
    if folder.is_dir():
      manager = checkpoints.Checkpoints(folder)
      found = manager.restore_newest()
      manager.close()
    if found is None:
      logging.info(
        '%s: %s parameters', phase.name,
        f'{sum(x.size for x in jax.tree.leaves(params)):,}',
      )  # fmt: skip
      return state, _Best()
    windows = batch_size(self.config)
    run_folder.check_batch(folder, found.meta.get('windows'), windows)
    logging.info('%s: continues after step %d', phase.name, found.step)
    best = _Best(
      found.meta['best_metric'] if found.meta['best'] else -math.inf,
      found.meta['best'],
    )
    return checkpoints.into(state, found.tree), best

  def _writer(self, phase):
    if jax.process_index():
      return metric_writer.NullWriter()
    writer = metric_writer.WorkdirWriter(self.workdir, f'{phase.name}/')
    text = json.dumps(run_folder.to_json(self.config), indent=2)
    writer.text('config', f'```\n{text}\n```')
    return writer

  def _log(self, phase, writer, progress, resume, step, metrics, window_ids):
    loss = float(metrics.loss)
    if not math.isfinite(loss):
      raise NanLossError(self._nan_message(phase, resume, step, window_ids))
    values = {
      'loss': loss,
      'grad_norm': float(metrics.grad_norm),
      **{name: float(value) for name, value in metrics.extra.items()},
    }
    progress.update(step, values)
    if (step + 1) % self.config.train.log_every_steps == 0:
      writer.scalars(
        step + 1,
        {
          **values,
          'epoch': progress.epoch(step + 1),
          'learning_rate': float(progress.rate(step)),
        },
      )

  def _nan_message(self, phase, resume, step, window_ids):
    windows = [phase.loader.windows[i] for i in np.ravel(window_ids)]
    names = ', '.join(f'{w.video_id} from snippet {w.start}' for w in windows)
    resume.wait()
    kept = resume.steps()
    good = f'step {kept[-1]} in {resume.directory}' if kept else 'none yet'
    return (
      f'phase {phase.name!r}: the loss is not finite at step {step + 1}; '
      f'windows: {names}; last good checkpoint: {good}. Lower '
      'train.learning_rate or set train.clip_norm, and look at these windows'
    )

  def _evaluate(self, phase, writer, kept, state, best):
    """Evaluates the held-out videos and keeps the parameters if best."""
    params = jax.device_get(state.eval_params)
    found = phase.evaluate(params)
    metrics = found.metrics
    step = int(state.step)
    if metrics:
      writer.scalars(step, {f'held_out/{k}': v for k, v in metrics.items()})
      writer.histogram(step, 'held_out/stage_margin', found.margins)
      writer.figure(step, 'held_out/example', _picture(found.example))
      logging.info(
        '%s step %d: %s', phase.name, step,
        '  '.join(f'{k} {v:.4g}' for k, v in metrics.items()),
      )  # fmt: skip
    # Without held-out videos the newest is the best that is known.
    metric = metrics.get('best_metric', math.inf)
    if metrics and metric <= best.metric:
      return best
    kept.save(
      step,
      {
        'params': phase.bundle(params),
        'statistics': run_folder.statistics_tree(self.data),
      },
      {
        'phase': phase.name,
        'config': run_folder.to_json(self.config),
        'data': run_folder.describe_data(self.data),
        'metrics': metrics,
      },
    )
    # The file of the best must not lag behind a resume checkpoint that
    # remembers it.
    kept.wait()
    return _Best(metric if metrics else -math.inf, metrics)

  def _save(self, phase, resume, state, best):
    if int(state.step) in resume.steps():
      return
    resume.save(
      int(state.step),
      state,
      {
        'phase': phase.name,
        'config': run_folder.to_json(self.config),
        'windows': batch_size(self.config),
        'best_metric': best.metric if best.metrics else None,
        'best': best.metrics,
      },
    )


def _picture(example):
  video, prediction = example
  return timelines.figure(
    video.video_id,
    video.duration_sec,
    true_segments=video.segments,
    probabilities=prediction.probabilities,
    feature_fps=len(prediction.probabilities) / video.duration_sec,
    proposals=prediction.proposals.segments,
    scores=prediction.proposals.scores,
  )
