"""One phase of a run: restored, stepped, evaluated and saved."""

import dataclasses
import json
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from cmsn_jax import processes
from cmsn_jax import progress as progress_lib
from cmsn_jax.chains import prediction, protocol
from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.runs import checkpoints, config_record
from cmsn_jax.settings import recipes
from cmsn_jax.training import (
  keeping,
  memory,
  metric_writer,
  optimizer,
  parallel,
  phase_step,
  save_times,
  steps,
  stopping,
  warm_start,
)

# (loader, first step, one past the last) -> batches.
Batches = Callable[
  [windows_lib.WindowLoader, int, int], Iterator[windows_lib.Batch]
]


class NanLossError(RuntimeError):
  """The loss is no longer a number."""


class Interrupted(Exception):
  """The run was asked to stop, and its state is saved."""


def batch_size(
  config: ml_collections.ConfigDict, key: str = 'train.batch_per_device'
) -> int:
  """Windows a step over all devices of all processes.

  Args:
    config: of the run.
    key: of the config, see `protocol.Phase.windows_key`.
  """
  per_device = recipes.flat(config)[key]
  return per_device * config.train.accumulate * jax.device_count()


def _evaluates(plan, done):
  """Whether the parameters are measured when so many steps are done."""
  return done == plan.steps or (done > 0 and done % plan.eval_every == 0)


@dataclasses.dataclass
class _Work:
  """A phase at work."""

  phase: protocol.Phase
  plan: protocol.Plan
  loader: windows_lib.WindowLoader | None
  tx: Any
  writer: Any
  progress: progress_lib.StepBar
  resume: checkpoints.Checkpoints
  keeper: keeping.Keeper


class PhaseRun:
  """A workdir, and what every phase of a run shares.

  Args:
    config: of the run.
    workdir: of it.
    data: training and held-out videos.
    predictor: of the chain, without parameters.
    batches: how batches are loaded.
    stop: asked after every step.
    quiet: show no progress bar.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data: training_data.TrainingData,
    predictor: prediction.Predictor,
    batches: Batches,
    stop: stopping.StopSignal,
    quiet: bool,
  ):
    self.config, self.workdir, self.data = config, workdir, data
    self.predictor = predictor
    self.batches, self.stop, self.quiet = batches, stop, quiet

  def train(self, phase: protocol.Phase) -> dict[str, float]:
    """Trains one phase to its end; returns its best metrics.

    Raises:
      NanLossError: when the loss stops being finite.
      Interrupted: when asked to stop, once the state is saved.
      memory.OutOfMemoryError: where a step does not fit, with what to turn.
    """
    per_epoch = windows_lib.steps_per_epoch(
      len(phase.windows), self._batch_size(phase)
    )
    plan = phase.plan(per_epoch)
    rate = self._schedule(plan.steps)
    tx = self._optimizer(phase, rate)
    state, best = self._restore(phase, tx)
    start = int(state.step)
    processes.require_same(start, 'the step to go on from')
    if start >= plan.steps and best.step >= plan.steps:
      logging.info('%s: finished before (step %d)', phase.name, start)
      return best.metrics
    # Only now: it may take long.
    loader = None
    if start < plan.steps:
      loader = self._loader(phase, phase.prepare())
    folder = self.workdir / phase.name
    writer = self._writer(phase)
    work = _Work(
      phase,
      plan,
      loader,
      tx,
      writer,
      progress_lib.StepBar(
        phase.name, start, plan.steps, per_epoch, rate, self.quiet
      ),
      checkpoints.Checkpoints(folder / 'resume'),
      keeping.Keeper(
        self.config, self.data, self.predictor, phase, folder, writer
      ),
    )
    try:
      if best.step < start and _evaluates(plan, start):
        # It was killed, or failed, when its step was done but not measured.
        best = self._keep(work, state, best)
      if loader is not None:
        best = self._steps(work, state, best)
      return best.metrics
    except Exception as error:
      if memory.is_out_of_memory(error):
        raise memory.explained(self.config, error, phase.windows_key) from error
      raise
    finally:
      work.progress.close()
      work.writer.close()
      work.resume.close()
      work.keeper.close()

  def _steps(self, work, state, best):
    """From the step of `state` to the last; returns the best evaluation."""
    settings = self.config.train
    phase, plan = work.phase, work.plan
    step_fn = phase_step.phase_step(
      phase,
      work.tx,
      accumulate=settings.accumulate,
      ema_decay=settings.ema,
    )
    key = jax.random.key(settings.seed)
    save_every = settings.checkpoint_every_steps
    times = save_times.SaveTimes(settings.checkpoint_every_sec)
    start, pending = int(state.step), None
    state = parallel.replicate(state)
    for step, batch in enumerate(
      self.batches(work.loader, start, plan.steps), start
    ):
      window_ids = batch.pop('window')
      state, metrics = step_fn(state, parallel.shard(batch), key)
      # The step before is read while this one runs.
      if pending is not None:
        self._log(work, *pending)
      pending = step, metrics, window_ids
      done = step + 1
      last = done == plan.steps
      stop = self.stop.reached()
      evaluates = _evaluates(plan, done)
      saves = times.due() or evaluates or stop
      if saves or (save_every and done % save_every == 0):
        # Nothing is kept of a step whose loss is not a number.
        self._log(work, *pending)
        pending = None
        before = time.monotonic()
        self._save(work, state)
        if last or stop:
          work.resume.wait()
        times.saved(time.monotonic() - before)
      if evaluates:
        # Only now: whatever happens to the measuring, the run is on disk.
        best = self._keep(work, state, best)
      if stop and not last:
        work.resume.wait()
        raise Interrupted(
          f'stopped at step {done} of phase {phase.name!r}; the same '
          'command continues there'
        )
    return best

  def _batch_size(self, phase):
    return batch_size(self.config, phase.windows_key)

  def _loader(self, phase, read_window):
    """This process's share of the batches, shuffled by the config's seed."""
    return windows_lib.WindowLoader(
      read_window,
      phase.windows,
      batch_size=self._batch_size(phase),
      seed=self.config.train.seed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )

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
    return optimizer.create(
      settings.optimizer,
      rate,
      weight_decay=settings.weight_decay,
      momentum=settings.momentum,
      clip_norm=settings.clip_norm,
      frozen=phase.frozen,
      stacked_axes=phase.stacked_axes,
    )

  def _restore(self, phase, tx):
    """The newest whole state of a phase, or its first."""
    folder = self.workdir / phase.name / 'resume'
    found = None
    if folder.is_dir():
      manager = checkpoints.Checkpoints(folder)
      found = manager.restore_newest()
      manager.close()
    params = self._first_params(phase, found is None)
    # On the host: of several processes, each places it on its own devices.
    state = jax.device_get(
      steps.create_state(params, tx, ema=self.config.train.ema > 0)
    )
    if found is None:
      logging.info(
        '%s: %s parameters', phase.name,
        f'{sum(x.size for x in jax.tree.leaves(params)):,}',
      )  # fmt: skip
      return state, keeping.Best()
    windows = self._batch_size(phase)
    config_record.check_batch(
      folder, found.meta.get('windows'), windows, phase.windows_key
    )
    logging.info('%s: continues after step %d', phase.name, found.step)
    best = keeping.read(self.workdir / phase.name, found)
    return checkpoints.into(state, found.tree), best

  def _first_params(self, phase, begins):
    """Of the phase's `init`, or where it begins those of an earlier run."""
    settings = self.config.train
    key = jax.random.fold_in(jax.random.key(settings.seed), phase.salt)
    params = jax.device_get(phase.init(key))
    if begins and settings.init_from and phase.begins_anew:
      return warm_start.begin(
        phase,
        params,
        settings.init_from,
        self.workdir,
        tuple(settings.frozen),
        self.data.source.feature_fps,
      )
    return params

  def _writer(self, phase):
    if jax.process_index():
      return metric_writer.NullWriter()
    writer = metric_writer.WorkdirWriter(self.workdir, f'{phase.name}/')
    text = json.dumps(config_record.to_json(self.config), indent=2)
    writer.text('config', f'```\n{text}\n```')
    return writer

  def _log(self, work, step, metrics, window_ids):
    loss = float(metrics.loss)
    if not math.isfinite(loss):
      raise NanLossError(self._nan_message(work, step, window_ids))
    values = {
      'loss': loss,
      'grad_norm': float(metrics.grad_norm),
      **{name: float(value) for name, value in metrics.extra.items()},
    }
    work.progress.update(step, values)
    if (step + 1) % self.config.train.log_every_steps == 0:
      work.writer.scalars(
        step + 1,
        {
          **values,
          'epoch': work.progress.epoch(step + 1),
          'learning_rate': float(work.progress.rate(step)),
        },
      )

  def _nan_message(self, work, step, window_ids):
    resume = work.resume
    windows = [work.phase.windows[i] for i in np.ravel(window_ids)]
    names = ', '.join(f'{w.video_id} from snippet {w.start}' for w in windows)
    resume.wait()
    kept = resume.steps()
    good = f'step {kept[-1]} in {resume.directory}' if kept else 'none yet'
    return (
      f'phase {work.phase.name!r}: the loss is not finite at step {step + 1}; '
      f'windows: {names}; last good checkpoint: {good}. Lower '
      'train.learning_rate or set train.clip_norm, and look at these windows'
    )

  def _keep(self, work, state, best):
    """Measures the parameters on the held-out videos, keeps the best."""
    params = jax.device_get(state.eval_params)
    return work.keeper.keep(int(state.step), params, best)

  def _save(self, work, state):
    if int(state.step) in work.resume.steps():
      return
    work.resume.save(
      int(state.step),
      state,
      {
        'phase': work.phase.name,
        'config': config_record.to_json(self.config),
        'windows': self._batch_size(work.phase),
      },
    )
