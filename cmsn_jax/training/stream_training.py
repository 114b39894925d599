"""Pre-training of either stream as a classifier of clips, as TSN does it.

Each example is one clip: a snippet (an RGB frame, or 5 flow fields) from each of
its segments, scored by one network; the mean of the scores is the clip's.
"""

import collections
import concurrent.futures
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from absl import logging

from cmsn_jax import progress
from cmsn_jax.data import clips as clips_lib
from cmsn_jax.data import flow
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.features import (
  clip_classifier,
  clip_consensus,
  tsn_weights,
  two_stream,
  variables,
  weights,
)
from cmsn_jax.training import (
  checkpoints,
  clip_training,
  metric_writer,
  optimizer,
  parallel,
  run_folder,
  steps,
)

NAMES = ('spatial', 'temporal')


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  train: clips_lib.ClipSource,
  validation: clips_lib.ClipSource,
  *,
  output: pathlib.Path,
  quiet: bool = False,
) -> dict[str, float]:
  """Trains a stream, continuing where its workdir stands.

  Args:
    config: of configs/pretrain_stream.py's form.
    workdir: checkpoints and metrics go here.
    train: training clips.
    validation: clips of the same classes.
    output: weight folder of the network that did best on validation.
    quiet: show no progress bar.
  Returns:
    metrics of the last validation, and `best_accuracy`.
  Raises:
    ValueError: settings that do not fit.
    clip_training.NanLossError: when the loss stops being finite.
  """
  if config.extractor.name not in NAMES:
    raise ValueError(
      f'extractor.name must be one of {NAMES}, got {config.extractor.name!r}'
    )
  if not len(train):
    raise ValueError('there are no training clips')
  with run_folder.locked(workdir):
    run_folder.claim_config(workdir, config)
    run = _Run(config, workdir, train, validation, output, quiet)
    return run.train()


class _Run:
  """One run: its network, data and folders."""

  def __init__(self, config, workdir, train, validation, output, quiet):
    self.config, self.workdir = config, workdir
    self.source, self.validation = train, validation
    self.output, self.quiet = output, quiet
    self.is_flow = config.extractor.name == 'temporal'
    self.length = two_stream.FLOW_STACK if self.is_flow else 1
    if self.is_flow:
      self.method = flow.choose(config.flow.method)
    section = config.extractor.copy_and_resolve_references()
    with section.unlocked():
      section.num_classes = len(train.classes)
    self.section, self.look = section, two_stream.pixels(section)
    self.network = two_stream.network(section, jnp.dtype(config.train.dtype))
    self.module = clip_consensus.SegmentConsensus(self.network, **self.look)
    self.loader = windows_lib.WindowLoader(
      self._read_example,
      [windows_lib.Window(train.name(i), i, 1) for i in range(len(train))],
      batch_size=config.train.batch_per_device * jax.device_count(),
      seed=config.train.seed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    self._scores = jax.jit(self.module.apply)

  def train(self) -> dict[str, float]:
    """Trains to the end; returns the last validation's metrics."""
    settings = self.config.train
    per_epoch = self.loader.steps_per_epoch
    total = settings.epochs * per_epoch
    first = self._first_variables()
    rate = optax.piecewise_constant_schedule(
      settings.learning_rate,
      {epoch * per_epoch: settings.decay_factor
       for epoch in settings.decay_at_epochs},
    )  # fmt: skip
    frozen = ['^batch_stats/']
    if self.section.partial_bn:
      frozen += clip_consensus.frozen_batch_norms(first)
    tx = optimizer.create(
      settings.optimizer, rate, weight_decay=settings.weight_decay,
      momentum=settings.momentum, clip_norm=settings.clip_norm, frozen=frozen,
    )  # fmt: skip
    resume = checkpoints.Checkpoints(self.workdir / 'resume')
    state, metrics = _restore(steps.create_state(first, tx), resume)
    start = int(state.step)
    step_fn = parallel.parallel_step(train_step, loss_fn=self._loss, tx=tx)
    key = jax.random.key(settings.seed)
    writer = metric_writer.WorkdirWriter(self.workdir)
    bar = progress.bar(
      total=total, initial=start, unit='step', desc='train', quiet=self.quiet
    )
    try:
      for step, batch in enumerate(self._batches(start, total), start):
        batch.pop('window')
        state, found = step_fn(state, parallel.shard(batch), key)
        self._log(writer, bar, step + 1, found, float(rate(step)))
        if (step + 1) % per_epoch == 0:
          metrics = self._validate(writer, state, metrics)
          resume.save(step + 1, state, {'metrics': metrics})
    finally:
      bar.close()
      writer.close()
      resume.close()
    return metrics

  def _first_variables(self) -> dict[str, Any]:
    """Random, or the config's weights with a new last layer."""
    channels = 2 * self.length if self.is_flow else 3
    inputs = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
    made = variables.random(self.network, inputs, seed=self.config.train.seed)
    if self.section.weights != 'random':
      found, name = tsn_weights.load(
        self.section.weights, self.network,
        variables.shapes(self.network, inputs), new_head=True,
      )  # fmt: skip
      logging.info('starts from %s, with a new last layer', name)
      found['params']['fc'] = made['params']['fc']
      made = found
    # The scores of a new layer start small, as TSN's do.
    made['params']['fc']['kernel'] = made['params']['fc']['kernel'] * 0.02
    return {key: {'network': tree} for key, tree in made.items()}

  def _read(self, source, index, segments, rng):
    """Snippets of a clip: uint8 [k, h, w, 3 | 10]."""
    # A field needs the frame after its own.
    count = self.length + self.is_flow
    total = max(source.num_frames(index), count)
    starts = clip_consensus.segment_starts(total, segments, count, rng)
    images = []
    for start in starts:
      frames = source.read(index, int(start), int(start) + count)
      if not len(frames):
        frames = source.read(index, 0, count)
      if not len(frames):
        raise ValueError(f'{source.name(index)}: no frame could be read')
      # A clip that ends early stands still.
      frames = frames[np.minimum(np.arange(count), len(frames) - 1)]
      if self.is_flow:
        fields = flow.stream(
          [frames], method=self.method, bound=self.config.flow.bound, threads=1
        )
        frames = np.concatenate(list(fields))[: self.length]
      images.append(frames)
    images = np.concatenate(images)
    at = np.arange(segments) * self.length
    return clip_consensus.snippets(images, at, self.length)

  def _read_example(self, window, rng):
    images = self._read(
      self.source, window.start, self.config.clips.segments, rng
    )
    size = self.config.video.crop[0]
    view = clip_consensus.training_view(images, size, rng, is_flow=self.is_flow)
    label = np.int32(self.source.label(window.start))
    return {'clips': view, 'labels': label}

  def _batches(self, start, stop) -> Iterator[windows_lib.Batch]:
    """Batches in order, several loaded ahead by threads."""
    workers = self.config.data.workers
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
      waiting = collections.deque()
      try:
        for step in range(start, stop):
          while len(waiting) < workers + 1 and step + len(waiting) < stop:
            waiting.append(pool.submit(self.loader.batch, step + len(waiting)))
          yield waiting.popleft().result()
      finally:
        for future in waiting:
          future.cancel()

  def _loss(self, params, batch, key):
    logits, updated = self.module.apply(
      {
        'params': params['params'],
        'batch_stats': jax.lax.stop_gradient(params['batch_stats']),
      },
      batch['clips'],
      train=True,
      rngs={'dropout': key},
      mutable=['batch_stats'],
    )
    loss, accuracy = clip_classifier.loss(logits, batch['labels'])
    weight = jnp.asarray(logits.shape[0], jnp.float32)
    extra = {'accuracy': accuracy, 'batch_stats': updated['batch_stats']}
    return loss, (weight, extra)

  def _log(self, writer, bar, done, found, rate):
    loss, accuracy = float(found.loss), float(found.extra['accuracy'])
    if not math.isfinite(loss):
      raise clip_training.NanLossError(
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
    """Accuracy on the validation clips; keeps the network if best."""
    top1 = top5 = 0
    crop = tuple(self.config.video.crop)
    for index in range(len(self.validation)):
      images = self._read(
        self.validation, index, self.config.clips.validation, None
      )
      scores = np.asarray(
        self._scores(state.params, _centre(images, crop)[None])
      )[0]
      rank = int(np.sum(scores > scores[self.validation.label(index)]))
      top1, top5 = top1 + (rank == 0), top5 + (rank < 5)
    accuracy = top1 / len(self.validation)
    metrics = {
      'accuracy': accuracy,
      'top5': top5 / len(self.validation),
      'best_accuracy': max(accuracy, before.get('best_accuracy', -1.0)),
    }
    step = int(state.step)
    writer.scalars(step, {f'validation/{k}': v for k, v in metrics.items()})
    logging.info('step %d: %s', step, metrics)
    if accuracy > before.get('best_accuracy', -1.0):
      self._keep(jax.device_get(state.params), step, metrics)
    return metrics

  def _keep(self, params, step, metrics):
    description = {
      'backbone': self.section.backbone,
      'stream': self.section.name,
      'depth': self.section.depth,
      'num_classes': self.section.num_classes,
      'mean': list(self.look['mean']),
      'std': list(self.look['std']),
      'channel_order': self.look['channel_order'],
      'flow': self.method if self.is_flow else None,
      'source': f'launch.pretrain, step {step}',
      'validation': metrics,
      'classes': list(self.source.classes),
      'config': run_folder.to_json(self.config),
    }
    inner = {key: tree['network'] for key, tree in params.items()}
    weights.save(self.output, weights.Weights(inner, description))


def train_step(
  state: steps.TrainState, batch: dict, key: jax.Array, **kwargs
) -> tuple[steps.TrainState, steps.StepMetrics]:
  """`steps.train_step`, and the batch statistics that the loss reports.

  Args:
    state: its params are {'params', 'batch_stats'}.
    batch: this device's share.
    key: of the run.
    **kwargs: as `steps.train_step` takes them.
  Returns:
    the state after the step, statistics averaged over devices; its metrics.
  """
  state, metrics = steps.train_step(state, batch, key, **kwargs)
  extra = dict(metrics.extra)
  params = {**state.params, 'batch_stats': extra.pop('batch_stats')}
  return state.replace(params=params), metrics._replace(extra=extra)


def _restore(state, resume):
  """The newest whole state, or the first; and the metrics so far."""
  found = resume.restore_newest()
  if found is None:
    return jax.device_get(state), {}
  logging.info('continues after step %d', found.step)
  return checkpoints.into(state, found.tree), found.meta['metrics']


def _centre(images, crop):
  top, left = ((images.shape[i + 1] - crop[i]) // 2 for i in range(2))
  return images[:, top : top + crop[0], left : left + crop[1]]
