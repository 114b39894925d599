"""The two training phases (Sec. 3.4): stages, then evaluator."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from cmsn_jax import stage_names
from cmsn_jax.chains.paper import hidden_cache, pretrained
from cmsn_jax.chains.paper import networks as model_lib
from cmsn_jax.chains.paper import predictor as inference
from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.scoring import losses, roi_pooling
from cmsn_jax.scoring import targets as scoring_targets
from cmsn_jax.stages import cosine_margin
from cmsn_jax.training import held_out, steps

# Every phase there is, in the order in which they follow each other.
NAMES = ('stages', 'evaluator', 'joint')


def names(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """The phases of a run: those of Sec. 3.4, or the template chain's one."""
  if config.proposals.generator == 'stage_template':
    return ('joint',)
  return ('stages', 'evaluator') if config.evaluator.enabled else ('stages',)


class NoCandidatesError(ValueError):
  """The stage network gives nothing that an evaluator could learn from."""


@dataclasses.dataclass(frozen=True)
class Phase:
  """What the loop needs to know of a phase.

  Attributes:
    name: 'stages' or 'evaluator'.
    epochs: how often each window is seen.
    loader: batches of any step.
    init: random key -> parameters.
    loss_fn: see `steps.LossFn`.
    evaluate: parameters -> how they do on the held-out videos.
    bundle: parameters -> all that inference needs.
    eval_every: steps between evaluations; None: as config.train says.
  """

  name: str
  epochs: int
  loader: windows_lib.WindowLoader
  init: Callable[[jax.Array], dict]
  loss_fn: steps.LossFn
  evaluate: Callable[[dict], held_out.Evaluation]
  bundle: Callable[[dict], dict[str, Any]]
  eval_every: int | None = None


def stages(
  config: ml_collections.ConfigDict,
  data: training_data.TrainingData,
  predictor: inference.Predictor,
  batch_size: int,
) -> Phase:
  """Phase 1: FES and ASS learn the stage of every snippet."""
  model = predictor.model
  labels = {
    video_id: held_out.stage_labels(config, video, data.source)
    for video_id, video in data.train.items()
  }
  windows = training_windows(config, data)
  length = config.windows.length

  def read_window(window, rng):
    start = _jittered(config, window, rng, len(labels[window.video_id]))
    stop = start + window.length
    snippets = data.source.read_training(window.video_id, start, stop, rng)
    rows = length * (len(snippets) // window.length)
    return {
      'inputs': windows_lib.pad(snippets, rows),
      'labels': windows_lib.pad(labels[window.video_id][start:stop], length),
      'mask': np.arange(length) < window.length,
    }

  def evaluate(params):
    return held_out.evaluate(
      config, data, predictor.with_params({'stages': params})
    )

  return Phase(
    name='stages',
    epochs=config.train.stages_epochs,
    loader=window_loader(config, read_window, windows, batch_size),
    init=lambda key: pretrained.insert(
      config, model.init_stages(key, length, data.source.snippet_shape)
    ),
    loss_fn=_stage_loss(config, model, _class_weights(config, labels)),
    evaluate=evaluate,
    bundle=lambda params: {'stages': params},
  )


def evaluator(
  config: ml_collections.ConfigDict,
  data: training_data.TrainingData,
  predictor: inference.Predictor,
  stage_params: dict,
  batch_size: int,
  workdir: pathlib.Path,
  *,
  quiet: bool = False,
) -> Phase:
  """Phase 2: the PES learns the tIoU of mined candidates, the rest is frozen.

  Raises:
    NoCandidatesError: if no training window has a candidate.
  """
  model = predictor.model
  windows = training_windows(config, data)
  cache = hidden_cache.build(
    workdir / 'evaluator' / 'cache',
    predictor.with_params({'stages': stage_params}),
    data.source,
    windows,
    {video_id: video.segments for video_id, video in data.train.items()},
    config.windows.length,
    quiet=quiet,
  )
  _report_candidates(config, cache)
  most = config.evaluator.max_rois
  positions = {window: i for i, window in enumerate(windows)}

  def read_window(window, rng):
    entry = cache.entry(positions[window])
    chosen = scoring_targets.mine(
      entry.tiou,
      rng,
      max(1, most // 3),
    )[:most]
    return {
      'hidden': entry.hidden,
      'starts': windows_lib.pad(entry.starts[chosen], most),
      'ends': windows_lib.pad(entry.ends[chosen], most),
      'tiou': windows_lib.pad(entry.tiou[chosen], most),
      'mask': np.arange(most) < len(chosen),
    }

  def bundle(params):
    return {'stages': stage_params, 'evaluator': params}

  return Phase(
    name='evaluator',
    epochs=config.train.evaluator_epochs,
    loader=window_loader(config, read_window, windows, batch_size),
    init=lambda key: model.init_evaluator(key, cache.channels),
    loss_fn=_evaluator_loss(model),
    evaluate=lambda params: held_out.evaluate(
      config, data, predictor.with_params(bundle(params))
    ),
    bundle=bundle,
  )


def evaluator_steps(
  config: ml_collections.ConfigDict,
  data: training_data.TrainingData,
  batch_size: int,
) -> int:
  """Steps of `evaluator`, known without mining candidates."""
  unread = lambda window, rng: {}
  loader = window_loader(
    config, unread, training_windows(config, data), batch_size
  )
  return config.train.evaluator_epochs * loader.steps_per_epoch


def _stage_loss(config, model: model_lib.Model, class_weights):
  settings = config.stages
  margins = cosine_margin.margin_matrix(
    settings.margin_m, settings.margin_n, settings.margin_form
  )

  def loss_fn(params, batch, key):
    mask, labels = batch['mask'], batch['labels']
    outputs = model.stages.apply(
      {'params': params}, batch['inputs'], mask, train=True,
      rngs={'dropout': key},
    )  # fmt: skip
    loss = cosine_margin.stage_loss(
      outputs.scores, labels, mask,
      kind=settings.loss, scale=settings.scale, margins=margins,
      margin=settings.lmcl_margin, class_weights=class_weights,
      label_smoothing=settings.label_smoothing,
    )  # fmt: skip
    correct = (outputs.scores.argmax(-1) == labels) & mask
    count = jnp.maximum(mask.sum(), 1)
    return loss, (mask.sum(), {'accuracy': correct.sum() / count})

  return loss_fn


def _evaluator_loss(model: model_lib.Model):
  def loss_fn(params, batch, key):
    rois = roi_pooling.roi_max_pool_batch(
      batch['hidden'], batch['starts'], batch['ends'], model.roi_bins
    )
    logits = model.evaluator.apply(
      {'params': params}, rois, train=True, rngs={'dropout': key}
    )
    scores, mask = jax.nn.sigmoid(logits), batch['mask']
    loss = losses.smooth_l1(scores, batch['tiou'], mask)
    error = jnp.where(mask, jnp.abs(scores - batch['tiou']), 0.0)
    count = jnp.maximum(mask.sum(), 1)
    return loss, (mask.sum(), {'absolute_error': error.sum() / count})

  return loss_fn


def training_windows(
  config: ml_collections.ConfigDict, data: training_data.TrainingData
) -> list[windows_lib.Window]:
  """The windows of the training videos that a config describes."""
  return windows_lib.training_windows(
    {video_id: data.source.num_snippets(video_id) for video_id in data.train},
    {video_id: video.segments for video_id, video in data.train.items()},
    data.source.feature_fps,
    length=config.windows.length,
    hop=inference.hop_snippets(config),
    require_instance=config.windows.require_instance,
  )


def window_loader(
  config: ml_collections.ConfigDict,
  read_window: Callable[
    [windows_lib.Window, np.random.Generator], windows_lib.Batch
  ],
  windows: Sequence[windows_lib.Window],
  batch_size: int,
) -> windows_lib.WindowLoader:
  """This process's share of the batches, shuffled by the config's seed."""
  return windows_lib.WindowLoader(
    read_window,
    windows,
    batch_size=batch_size,
    seed=config.train.seed,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )


def _jittered(config, window, rng, total):
  most = config.windows.jitter * inference.hop_snippets(config)
  shift = round(rng.uniform(-most, most))
  return int(np.clip(window.start + shift, 0, total - window.length))


def _class_weights(config, labels):
  balance = config.stages.class_balance
  if not balance:
    return None
  counts = np.bincount(
    np.concatenate(list(labels.values())), minlength=stage_names.COUNT
  )
  weights = (counts / counts.sum() + 1e-3) ** -balance
  return jnp.asarray(weights / weights.mean(), jnp.float32)


def _report_candidates(config, cache):
  edges = np.array(
    [0, config.evaluator.low_tiou, config.evaluator.high_tiou, 1.0001]
  )
  small, middle, big = cache.tiou_counts(edges)
  logging.info(
    'mined candidates: %d with tIoU > %g, %d between, %d below %g',
    big, edges[2], middle, small, edges[1],
  )  # fmt: skip
  if small + middle + big == 0:
    raise NoCandidatesError(
      'the trained stage network gives no candidate in any training window, '
      'so there is nothing to train the evaluator on; train the stages longer '
      'or with a higher learning rate (train.stages_epochs, '
      'train.learning_rate), and check the feature rate'
    )
