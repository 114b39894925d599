"""Pre-training of a feature extractor as a classifier of clips."""

import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from cmsn_jax.features import variables
from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import folders
from cmsn_jax.pretraining import classifier as clip_classifier
from cmsn_jax.pretraining import clips as clips_lib
from cmsn_jax.pretraining import run as classifier_run
from cmsn_jax.runs import config_record, folder


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
    phase_run.NanLossError: see `run.ClassifierRun.train` of this and others.
  """
  _check(config, train)
  with folder.disk_errors_explained(workdir), folder.locked(workdir):
    config_record.claim(workdir, config)
    config = _with_weights_settings(config)
    run = _Run(config, workdir, train, validation, output, quiet)
    return run.train()


class _Run(classifier_run.ClassifierRun):
  """One run: its classifier, data and folders."""

  def __init__(self, config, workdir, train, validation, output, quiet):
    super().__init__(
      config,
      workdir,
      train,
      validation,
      per_video=config.clips.per_video,
      quiet=quiet,
    )
    self.output = output
    self.model = classifier(config, len(train.classes))
    self._scores = jax.jit(
      lambda params, frames: self.model.apply({'params': params}, frames)
    )

  def schedule(self, per_epoch):
    settings = self.config.train
    every = settings.decay_every_epochs * per_epoch
    if not every:
      return optax.constant_schedule(settings.learning_rate)
    return optax.exponential_decay(
      settings.learning_rate, every, settings.decay_factor, staircase=True
    )

  def frozen(self, params):
    count = c3d.count_frozen(self.config.extractor.frozen_layers)
    return [f'extractor/{name}/' for name in c3d.LAYERS[:count]]

  def first_params(self):
    shape = (1, 1, self.config.clips.frames, *self.config.video.crop, 3)
    # Without compiling the network, as `jit(init)` would.
    params = variables.random(
      self.model,
      jax.ShapeDtypeStruct(shape, jnp.uint8),
      seed=self.config.train.seed,
    )['params']
    if not self.config.extractor.weights:
      return params
    found = folders.load(self.config.extractor.weights)
    variables.check(
      found.params, params['extractor'], self.config.extractor.weights
    )
    return {**params, 'extractor': found.params}

  def read_example(self, window, rng):
    index, settings = window.start, self.config
    frames = clips_lib.training_clips(
      self.source, index, rng, segments=settings.clips.segments,
      frames=settings.clips.frames, crop=tuple(settings.video.crop),
      flip=settings.video.random_flip,
    )  # fmt: skip
    return {'frames': frames, 'labels': np.int32(self.source.label(index))}

  def loss(self, params, batch, key):
    logits = self.model.apply(
      {'params': params}, batch['frames'], train=True, rngs={'dropout': key}
    )
    loss, accuracy = clip_classifier.loss(logits, batch['labels'])
    weight = jnp.asarray(logits.shape[0], jnp.float32)
    return loss, (weight, {'accuracy': accuracy})

  def validation_scores(self, params, index):
    frames = clips_lib.validation_clips(
      self.validation, index, clips=self.config.clips.validation,
      frames=self.config.clips.frames, crop=tuple(self.config.video.crop),
    )  # fmt: skip
    return np.asarray(self._scores(params, frames[None]))[0]

  def keep(self, params, step, metrics):
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
      'config': config_record.to_json(self.config),
    }
    folders.save(self.output, folders.Weights(params['extractor'], description))


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
  found = folders.load(config.extractor.weights).description
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.extractor.mean = tuple(found['mean'])
    config.extractor.scale = tuple(found['scale'])
    config.extractor.channel_order = found['channel_order']
  return config
