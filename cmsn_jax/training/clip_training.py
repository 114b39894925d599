"""Pre-training of a feature extractor as a classifier of clips."""

import collections
import concurrent.futures
import math
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from absl import logging

from cmsn_jax import progress
from cmsn_jax.data import clips as clips_lib
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.features import c3d, clip_classifier, variables, weights
from cmsn_jax.training import (
  checkpoints,
  metric_writer,
  optimizer,
  parallel,
  run_folder,
  steps,
)


class NanLossError(RuntimeError):
  """The loss is no longer a number."""


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  train: clips_lib.ClipSource,
  validation: clips_lib.ClipSource,
  *,
  output: pathlib.Path,
  quiet: bool = False,
) -> dict[str, float]:
  """Trains a classifier of clips, continuing where its workdir stands.

  Args:
    config: of configs/pretrain_ucf101.py's form.
    workdir: checkpoints and metrics go here.
    train: training clips.
    validation: clips of the same classes.
    output: weight folder of the extractor that did best on validation.
    quiet: show no progress bar.
  Returns:
    metrics of the last validation, and `best_accuracy`.
  Raises:
    ValueError: settings that do not fit.
    NanLossError: when the loss stops being finite.
  """
  _check(config, train)
  with run_folder.locked(workdir):
    run_folder.claim_config(workdir, config)
    config = _with_weights_settings(config)
    run = _Run(config, workdir, train, validation, output, quiet)
    return run.train()


class _Run:
  """One run: its classifier, data and folders."""

  def __init__(self, config, workdir, train, validation, output, quiet):
    self.config, self.workdir = config, workdir
    self.source, self.validation = train, validation
    self.output, self.quiet = output, quiet
    self.model = classifier(config, len(train.classes))
    self.loader = windows_lib.WindowLoader(
      self._read_example,
      [
        windows_lib.Window(train.name(index), index, 1)
        for index in range(len(train))
        for _ in range(config.clips.per_video)
      ],
      batch_size=config.train.batch_per_device * jax.device_count(),
      seed=config.train.seed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    self._scores = jax.jit(
      lambda params, frames: self.model.apply({'params': params}, frames)
    )

  def train(self) -> dict[str, float]:
    """Trains to the end; returns the last validation's metrics."""
    settings = self.config.train
    per_epoch = self.loader.steps_per_epoch
    total = settings.epochs * per_epoch
    rate = _schedule(settings, per_epoch)
    tx = optimizer.create(
      settings.optimizer, rate, weight_decay=settings.weight_decay,
      momentum=settings.momentum, clip_norm=settings.clip_norm,
      frozen=_frozen(self.config),
    )  # fmt: skip
    resume = checkpoints.Checkpoints(self.workdir / 'resume')
    state, metrics = self._restore(tx, resume)
    start = int(state.step)
    step_fn = parallel.parallel_step(
      steps.train_step, loss_fn=self._loss, tx=tx
    )
    key = jax.random.key(settings.seed)
    writer = metric_writer.WorkdirWriter(self.workdir)
    bar = progress.bar(
      total=total, initial=start, unit='step', desc='train', quiet=self.quiet
    )
    save_every = settings.checkpoint_every_steps or per_epoch
    try:
      for step, batch in enumerate(self._batches(start, total), start):
        batch.pop('window')
        state, found = step_fn(state, parallel.shard(batch), key)
        done = step + 1
        self._log(writer, bar, done, found, float(rate(step)))
        if done % per_epoch == 0 or done == total:
          metrics = self._validate(writer, state, metrics)
        if done % save_every == 0 or done == total:
          resume.save(done, state, {'metrics': metrics})
    finally:
      bar.close()
      writer.close()
      resume.close()
    return metrics

  def _restore(self, tx, resume):
    """The newest whole state, or the first."""
    state = steps.create_state(self._init(), tx)
    found = resume.restore_newest()
    if found is None:
      return jax.device_get(state), {}
    logging.info('continues after step %d', found.step)
    return checkpoints.into(state, found.tree), found.meta['metrics']

  def _init(self):
    shape = (1, 1, self.config.clips.frames, *self.config.video.crop, 3)
    # Without compiling the network, as `jit(init)` would.
    params = variables.random(
      self.model,
      jax.ShapeDtypeStruct(shape, jnp.uint8),
      seed=self.config.train.seed,
    )['params']
    if not self.config.extractor.weights:
      return params
    found = weights.load(self.config.extractor.weights)
    variables.check(
      found.params, params['extractor'], self.config.extractor.weights
    )
    return {**params, 'extractor': found.params}

  def _read_example(self, window, rng):
    index, settings = window.start, self.config
    frames = clips_lib.training_clips(
      self.source, index, rng, segments=settings.clips.segments,
      frames=settings.clips.frames, crop=tuple(settings.video.crop),
      flip=settings.video.random_flip,
    )  # fmt: skip
    return {'frames': frames, 'labels': np.int32(self.source.label(index))}

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

  def _loss(self, params, batch, key):
    logits = self.model.apply(
      {'params': params}, batch['frames'], train=True, rngs={'dropout': key}
    )
    loss, accuracy = clip_classifier.loss(logits, batch['labels'])
    weight = jnp.asarray(logits.shape[0], jnp.float32)
    return loss, (weight, {'accuracy': accuracy})

  def _log(self, writer, bar, done, found, rate):
    loss = float(found.loss)
    if not math.isfinite(loss):
      raise NanLossError(
        f'the loss is not finite at step {done}; lower train.learning_rate or '
        'set train.clip_norm'
      )
    bar.update()
    bar.set_postfix(
      loss=f'{loss:.3f}', accuracy=f'{float(found.extra["accuracy"]):.2f}'
    )
    if done % self.config.train.log_every_steps == 0:
      writer.scalars(
        done,
        {
          'loss': loss,
          'accuracy': found.extra['accuracy'],
          'grad_norm': found.grad_norm,
          'learning_rate': rate,
        },
      )

  def _validate(self, writer, state, before):
    """Accuracy on the validation videos; keeps the extractor if best."""
    params, step = state.params, int(state.step)
    top1 = top5 = 0
    for index in range(len(self.validation)):
      frames = clips_lib.validation_clips(
        self.validation, index, clips=self.config.clips.validation,
        frames=self.config.clips.frames, crop=tuple(self.config.video.crop),
      )  # fmt: skip
      scores = np.asarray(self._scores(params, frames[None]))[0]
      rank = int(np.sum(scores > scores[self.validation.label(index)]))
      top1, top5 = top1 + (rank == 0), top5 + (rank < 5)
    accuracy = top1 / len(self.validation)
    best = max(accuracy, before.get('best_accuracy', -1.0))
    metrics = {
      'accuracy': accuracy,
      'top5': top5 / len(self.validation),
      'best_accuracy': best,
    }
    writer.scalars(step, {f'validation/{k}': v for k, v in metrics.items()})
    logging.info('step %d: %s', step, metrics)
    if accuracy > before.get('best_accuracy', -1.0):
      self._keep(jax.device_get(params['extractor']), step, metrics)
    return metrics

  def _keep(self, params, step, metrics):
    extractor = self.config.extractor
    description = {
      'backbone': extractor.name,
      'layout': 'cmsn_jax',
      'widths': list(extractor.widths),
      'channel_order': extractor.channel_order,
      'mean': list(extractor.mean),
      'scale': list(extractor.scale),
      'frame_size': list(self.config.video.size),
      'crop': list(self.config.video.crop),
      'source': f'launch.pretrain, step {step}',
      'validation': metrics,
      'classes': list(self.source.classes),
      'config': run_folder.to_json(self.config),
    }
    weights.save(self.output, weights.Weights(params, description))


def classifier(
  config: ml_collections.ConfigDict, num_classes: int
) -> clip_classifier.ClipClassifier:
  """The classifier that a config describes.

  Raises:
    ValueError: on an unknown extractor.
  """
  extractor = config.extractor
  if extractor.name != 'c3d':
    raise ValueError(f"extractor.name must be 'c3d', got {extractor.name!r}")
  dtype = jnp.dtype(config.train.dtype).type
  return clip_classifier.ClipClassifier(
    extractor=c3d.C3D(
      widths=tuple(extractor.widths),
      frozen_layers=extractor.frozen_layers,
      remat=extractor.remat,
      dtype=dtype,
    ),
    num_classes=num_classes,
    head=config.head.name,
    hidden=config.head.hidden,
    dropout=config.head.dropout,
    mean=tuple(extractor.mean),
    scale=tuple(extractor.scale),
    channel_order=extractor.channel_order,
    dtype=dtype,
  )


def _check(config, train):
  if config.clips.frames % c3d.STRIDE_FRAMES or config.clips.frames <= 0:
    raise ValueError(
      f'clips.frames must be a positive multiple of {c3d.STRIDE_FRAMES}, got '
      f'{config.clips.frames}'
    )
  if config.train.dtype not in ('float32', 'bfloat16'):
    raise ValueError(
      f"train.dtype must be 'float32' or 'bfloat16', got {config.train.dtype!r}"
    )
  if not len(train):
    raise ValueError('there are no training clips')


def _with_weights_settings(config):
  """Mean, scale and channel order of the weights that training starts from."""
  if not config.extractor.weights:
    return config
  found = weights.load(config.extractor.weights).description
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.extractor.mean = tuple(found['mean'])
    config.extractor.scale = tuple(found['scale'])
    config.extractor.channel_order = found['channel_order']
  return config


def _schedule(settings, per_epoch) -> optax.Schedule:
  every = settings.decay_every_epochs * per_epoch
  if not every:
    return optax.constant_schedule(settings.learning_rate)
  return optax.exponential_decay(
    settings.learning_rate, every, settings.decay_factor, staircase=True
  )


def _frozen(config) -> tuple[str, ...]:
  count = c3d.count_frozen(config.extractor.frozen_layers)
  return tuple(f'extractor/{name}/' for name in c3d.LAYERS[:count])
