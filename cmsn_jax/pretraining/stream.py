"""Pre-training of either stream as a classifier of clips, as TSN does it.

Each example is one clip: a snippet (an RGB frame, or 5 flow fields) from each of
its segments, scored by one network; the mean of the scores is the clip's.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from absl import logging

from cmsn_jax.features import two_stream, variables
from cmsn_jax.features.weights import folders, tsn
from cmsn_jax.pretraining import classifier, consensus
from cmsn_jax.pretraining import clips as clips_lib
from cmsn_jax.pretraining import run as classifier_run
from cmsn_jax.runs import config_record, folder
from cmsn_jax.training import steps
from cmsn_jax.video import flow

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
    phase_run.NanLossError: see `run.ClassifierRun.train` of this and others.
  """
  if config.extractor.name not in NAMES:
    raise ValueError(
      f'extractor.name must be one of {NAMES}, got {config.extractor.name!r}'
    )
  if not len(train):
    raise ValueError('there are no training clips')
  with folder.disk_errors_explained(workdir), folder.locked(workdir):
    config_record.claim(workdir, config)
    run = _Run(config, workdir, train, validation, output, quiet)
    return run.train()


class _Run(classifier_run.ClassifierRun):
  """One run: its network, data and folders."""

  def __init__(self, config, workdir, train, validation, output, quiet):
    super().__init__(config, workdir, train, validation, quiet=quiet)
    self.output = output
    self.is_flow = config.extractor.name == 'temporal'
    self.length = two_stream.FLOW_STACK if self.is_flow else 1
    if self.is_flow:
      self.method = flow.choose(config.flow.method)
    section = config.extractor.copy_and_resolve_references()
    with section.unlocked():
      section.num_classes = len(train.classes)
    self.section, self.look = section, two_stream.frame_values(section)
    self.network = two_stream.network(section, jnp.dtype(config.train.dtype))
    self.module = consensus.SegmentConsensus(self.network, **self.look)
    self._scores = jax.jit(self.module.apply)

  @staticmethod
  def train_step(state, batch, key, **kwargs):
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

  def schedule(self, per_epoch):
    settings = self.config.train
    return optax.piecewise_constant_schedule(
      settings.learning_rate,
      {epoch * per_epoch: settings.decay_factor
       for epoch in settings.decay_at_epochs},
    )  # fmt: skip

  def frozen(self, params):
    patterns = ['^batch_stats/']
    if self.section.partial_bn:
      patterns += consensus.frozen_batch_norms(params)
    return patterns

  def first_params(self) -> dict[str, Any]:
    """Random, or the config's weights with a new last layer."""
    channels = 2 * self.length if self.is_flow else 3
    inputs = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
    made = variables.random(self.network, inputs, seed=self.config.train.seed)
    if self.section.weights != 'random':
      found, name = tsn.load(
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
    starts = consensus.segment_starts(total, segments, count, rng)
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
    return consensus.snippets(images, at, self.length)

  def read_example(self, window, rng):
    images = self._read(
      self.source, window.start, self.config.clips.segments, rng
    )
    size = self.config.video.crop[0]
    view = consensus.training_view(images, size, rng, is_flow=self.is_flow)
    label = np.int32(self.source.label(window.start))
    return {'clips': view, 'labels': label}

  def loss(self, params, batch, key):
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
    loss, accuracy = classifier.loss(logits, batch['labels'])
    weight = jnp.asarray(logits.shape[0], jnp.float32)
    extra = {'accuracy': accuracy, 'batch_stats': updated['batch_stats']}
    return loss, (weight, extra)

  def validation_scores(self, params, index):
    images = self._read(
      self.validation, index, self.config.clips.validation, None
    )
    view = _centre(images, tuple(self.config.video.crop))
    return np.asarray(self._scores(params, view[None]))[0]

  def keep(self, params, step, metrics):
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
      'config': config_record.to_json(self.config),
    }
    inner = {key: tree['network'] for key, tree in params.items()}
    folders.save(self.output, folders.Weights(inner, description))


def _centre(images, crop):
  top, left = ((images.shape[i + 1] - crop[i]) // 2 for i in range(2))
  return images[:, top : top + crop[0], left : left + crop[1]]
