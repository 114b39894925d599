"""What every pre-training of a classifier of clips does; the kinds differ in
what they read, compute and keep (clip_training.py, stream_training.py).
"""

import abc
import collections
import concurrent.futures
import json
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
import optax
from absl import logging

from cmsn_jax import progress
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.files import replacing
from cmsn_jax.pretraining import clips as clips_lib
from cmsn_jax.runs import checkpoints, config_record
from cmsn_jax.training import (
  keeping,
  metric_writer,
  optimizer,
  parallel,
  phase_run,
  save_times,
  steps,
  stopping,
)

# What was measured last, and of which step.
_RECORD = 'validated.json'


class ClassifierRun(abc.ABC):
  """One run: its data and folders.

  Args:
    config: of the run.
    workdir: checkpoints and metrics go here.
    train: training clips.
    validation: clips of the same classes.
    per_video: examples of each training clip in an epoch.
    quiet: show no progress bar.
  """

  # What computes a step, as `steps.train_step` does.
  train_step: Callable = staticmethod(steps.train_step)

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    train: clips_lib.ClipSource,
    validation: clips_lib.ClipSource,
    *,
    per_video: int = 1,
    quiet: bool = False,
  ):
    self.config, self.workdir = config, workdir
    self.source, self.validation = train, validation
    self.quiet = quiet
    self.loader = windows_lib.WindowLoader(
      self.read_example,
      [
        windows_lib.Window(train.name(index), index, 1)
        for index in range(len(train))
        for _ in range(per_video)
      ],
      batch_size=config.train.batch_per_device * jax.device_count(),
      seed=config.train.seed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )

  @abc.abstractmethod
  def read_example(
    self, window: windows_lib.Window, rng: np.random.Generator
  ) -> dict[str, np.ndarray]:
    """One training example, `labels` among its arrays."""

  @abc.abstractmethod
  def first_params(self) -> Any:
    """Parameters that training starts from."""

  @abc.abstractmethod
  def schedule(self, per_epoch: int) -> optax.Schedule:
    """Learning rate of each step."""

  @abc.abstractmethod
  def frozen(self, params: Any) -> list[str]:
    """Patterns of parameters that stay as they are."""

  @abc.abstractmethod
  def loss(self, params: Any, batch: dict, key: jax.Array) -> tuple:
    """Loss, (weight, extra), with `accuracy` in extra."""

  @abc.abstractmethod
  def validation_scores(self, params: Any, index: int) -> np.ndarray:
    """Scores of the classes of one validation clip."""

  @abc.abstractmethod
  def keep(self, params: Any, step: int, metrics: dict[str, float]) -> None:
    """Writes the weights that are the best so far."""

  def train(self) -> dict[str, float]:
    """Trains to the end; returns the last validation's metrics.

    Raises:
      phase_run.NanLossError: when the loss stops being finite.
      phase_run.Interrupted: when asked to stop, once the state is saved.
      keeping.MeasuringError: if the parameters, which are kept, could not be
        measured.
      config_record.RunFolderError: if its checkpoint is of other batches.
    """
    with stopping.StopSignal() as stop:
      return self._train(stop)

  def _train(self, stop):
    settings = self.config.train
    per_epoch = self.loader.steps_per_epoch
    total = settings.epochs * per_epoch
    first, rate = self.first_params(), self.schedule(per_epoch)
    tx = optimizer.create(
      settings.optimizer, rate, weight_decay=settings.weight_decay,
      momentum=settings.momentum, clip_norm=settings.clip_norm,
      frozen=self.frozen(first),
    )  # fmt: skip
    resume = checkpoints.Checkpoints(self.workdir / 'resume')
    state, metrics, measured = self._restore(
      steps.create_state(first, tx), resume
    )
    start = int(state.step)
    step_fn = parallel.parallel_step(self.train_step, loss_fn=self.loss, tx=tx)
    key = jax.random.key(settings.seed)
    writer = metric_writer.WorkdirWriter(self.workdir)
    bar = progress.bar(
      total=total, initial=start, unit='step', desc='train', quiet=self.quiet
    )
    every = settings.checkpoint_every_steps
    times = save_times.SaveTimes(settings.checkpoint_every_sec)

    def measures(done):
      return done == total or done % per_epoch == 0

    try:
      if start and measures(start) and measured < start:
        # Done before, but not measured.
        metrics = self._validate(writer, state, metrics)
      state = parallel.replicate(state)
      for step, batch in enumerate(self._batches(start, total), start):
        batch.pop('window')
        state, found = step_fn(state, parallel.shard(batch), key)
        done = step + 1
        self._log(writer, bar, done, found, float(rate(step)))
        stops = stop.reached()
        saves = times.due() or measures(done) or stops
        if saves or (every and done % every == 0):
          before = time.monotonic()
          resume.save(done, state, {'windows': self.loader.batch_size})
          if measures(done) or stops:
            # Whatever happens to the measuring, the run is on disk.
            resume.wait()
          times.saved(time.monotonic() - before)
        if measures(done):
          metrics = self._validate(writer, state, metrics)
        if stops and done < total:
          raise phase_run.Interrupted(
            f'stopped at step {done}; the same command continues there'
          )
    finally:
      bar.close()
      writer.close()
      resume.close()
    return metrics

  def _restore(self, state, resume):
    """The newest whole state, or the first; metrics so far, and their step."""
    found = resume.restore_newest()
    if found is None:
      return jax.device_get(state), {}, 0
    config_record.check_batch(
      resume.directory, found.meta.get('windows'), self.loader.batch_size
    )
    logging.info('continues after step %d', found.step)
    state, path = checkpoints.into(state, found.tree), self.workdir / _RECORD
    # Runs of before measured first, and kept that with the state.
    record = {'step': found.step, 'metrics': found.meta.get('metrics', {})}
    if 'metrics' not in found.meta:
      record['step'] = 0
    if path.is_file():
      record = json.loads(path.read_text())
    return state, record['metrics'], record['step']

  def _batches(self, start, stop) -> Iterator[windows_lib.Batch]:
    """Batches in order, several loaded ahead by threads."""
    workers = self.config.data.workers
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
      waiting = collections.deque()
      try:
        for step in range(start, stop):
          while len(waiting) < workers + 1 and step + len(waiting) < stop:
            ahead = step + len(waiting)
            waiting.append(pool.submit(self.loader.batch, ahead))
          yield waiting.popleft().result()
      finally:
        for future in waiting:
          future.cancel()

  def _log(self, writer, bar, done, found, rate):
    loss, accuracy = float(found.loss), float(found.extra['accuracy'])
    if not math.isfinite(loss):
      raise phase_run.NanLossError(
        f'the loss is not finite at step {done}; lower train.learning_rate or '
        'set train.clip_norm'
      )
    bar.update()
    bar.set_postfix(loss=f'{loss:.3f}', accuracy=f'{accuracy:.2f}')
    if done % self.config.train.log_every_steps == 0:
      writer.scalars(
        done,
        {
          'loss': loss,
          'accuracy': accuracy,
          'grad_norm': found.grad_norm,
          'learning_rate': rate,
        },
      )

  def _validate(self, writer, state, before):
    """Accuracy on the validation clips; keeps weights if none were better."""
    step = int(state.step)
    try:
      metrics = self._accuracy(state.params, before)
    except Exception as error:
      if 'best_accuracy' not in before:
        self.keep(jax.device_get(state.params), step, {})
      raise keeping.MeasuringError(
        f'the state of step {step} is kept in {self.workdir}, but measuring it '
        f'on the validation clips failed: {type(error).__name__}: {error}'
      ) from error
    writer.scalars(step, {f'validation/{k}': v for k, v in metrics.items()})
    logging.info('step %d: %s', step, metrics)
    # Of equals the newer, which has learned more.
    if metrics['accuracy'] >= before.get('best_accuracy', -1.0):
      self.keep(jax.device_get(state.params), step, metrics)
    if jax.process_index() == 0:
      with replacing.file(self.workdir / _RECORD) as file:
        json.dump({'step': step, 'metrics': metrics}, file)
    return metrics

  def _accuracy(self, params, before):
    top1 = top5 = 0
    for index in range(len(self.validation)):
      scores = self.validation_scores(params, index)
      rank = int(np.sum(scores > scores[self.validation.label(index)]))
      top1, top5 = top1 + (rank == 0), top5 + (rank < 5)
    accuracy = top1 / len(self.validation)
    return {
      'accuracy': accuracy,
      'top5': top5 / len(self.validation),
      'best_accuracy': max(accuracy, before.get('best_accuracy', -1.0)),
    }
