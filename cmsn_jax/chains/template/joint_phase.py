"""The one training phase of the template chain: stages and evaluator at once.

Several networks ("members") are trained side by side, each on its own share of
every batch, and where `template.cross_fit` says so on other videos (`cross_fit`);
their averaged predictions are worth more than a larger network.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from cmsn_jax import segments
from cmsn_jax.chains import protocol
from cmsn_jax.chains.template import cross_fit, derive, losses
from cmsn_jax.chains.template import networks as networks_lib
from cmsn_jax.data import augmentation, training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.scoring import context_targets
from cmsn_jax.stages import cosine_margin
from cmsn_jax.stages import targets as stage_targets

# From so many labels on, telling them apart weighs in full.
_MANY_LABELS = 7


def joint(job: protocol.Job) -> protocol.Phase:
  """ASS and evaluator learn from randomly placed, stretched windows.

  Raises:
    ValueError: if the config is not `derive.derive`d, or the members cannot
      share a device's windows evenly.
  """
  config, data, networks = job.config, job.data, job.predictor.networks
  settings = config.template
  _check(config, job.batch_size)
  length = config.windows.length
  windows = job.windows()

  def plan(per_epoch):
    logging.info(
      'joint: %d windows, %d steps an epoch, %d steps',
      len(windows), per_epoch, settings.steps,
    )  # fmt: skip
    # Epochs are short where videos are few: by steps, not by epochs.
    return protocol.Plan(
      settings.steps, math.ceil(settings.steps / settings.evaluations)
    )

  def init(key):
    return networks_lib.init_members(
      networks.model, key, networks.count, length, data.source.snippet_shape[0]
    )

  return protocol.Phase(
    name='joint',
    salt=3,
    plan=plan,
    windows=windows,
    prepare=lambda: reader(config, data, job.hop),
    init=init,
    loss_fn=_loss(config, networks),
    bundle=lambda params: {'joint': params},
    frozen=tuple(config.train.frozen),
    stacked_axes=1,
    counts=_counts(config, networks),
    members=networks.count,
  )


def _check(config, batch_size):
  settings = config.template
  if not settings.typical_duration or not settings.durations:
    raise ValueError(
      'config.template.durations and typical_duration are not set; fill them in '
      'with derive.derive(config, data)'
    )
  per_device = batch_size // jax.device_count() // config.train.accumulate
  if per_device % settings.members:
    raise ValueError(
      f'train.batch_per_device must be divisible by the {settings.members} '
      f'of template.members, got {per_device}'
    )


class _Known(NamedTuple):
  """What is known of the training videos, by id, in snippets.

  Attributes:
    instances: by their start, [g, 2].
    actions: their numbers, from 1, [g].
    unknown: spans of which it is not known what happens, [k, 2].
    weights: of no action and of each; empty where proposals get no labels.
    parts: see `cross_fit.parts`.
  """

  instances: dict[str, np.ndarray]
  actions: dict[str, np.ndarray]
  unknown: dict[str, np.ndarray]
  weights: np.ndarray
  parts: cross_fit.PartsOf


def _known(config, data):
  fps = data.source.feature_fps
  numbers = {name: i for i, name in enumerate(derive.actions(data), start=1)}
  instances, actions, unknown = {}, {}, {}
  for video_id, video in data.train.items():
    order = np.argsort(video.segments[:, 0])
    instances[video_id] = data.grid_segments(video_id)[order] * fps
    actions[video_id] = np.array([numbers[video.labels[i]] for i in order], int)
    unknown[video_id] = data.grid_unknown(video_id) * fps
  members = config.template.members if config.template.cross_fit else 1
  return _Known(
    instances,
    actions,
    unknown,
    _label_weights(config, data, numbers),
    cross_fit.parts(data, members),
  )


def reader(
  config: ml_collections.ConfigDict,
  data: training_data.TrainingData,
  hop: int,
) -> protocol.ReadWindow:
  """Window, generator -> one training example.

  Args:
    config: of the run, `derive.derive`d.
    data: its training videos.
    hop: snippets from one window to the next: each lies at random within.
  """
  length, source = config.windows.length, data.source
  changes = augmentation.Augmentation(
    time_stretch=config.windows.time_stretch,
    scale=config.windows.scale,
    noise=config.windows.noise,
    channel_drop=config.windows.channel_drop,
  )
  known = _known(config, data)
  durations = context_targets.duration_range(
    np.concatenate([x[:, 1] - x[:, 0] for x in known.instances.values()])
  )

  def read_window(window, rng):
    video_id = window.video_id
    factor = augmentation.stretch_factor(changes, rng)
    total = source.num_snippets(video_id)
    first = window.start + rng.uniform(-hop / 2, hop / 2)
    first = float(np.clip(first, 0, max(0.0, total - length / factor)))
    low = max(0, math.floor(first) - 1)
    high = min(total, math.ceil(first + length / factor) + 1)
    features = augmentation.resample(
      source.read(video_id, low, high), first - low, factor, length
    )
    valid = len(features)
    inside = (known.instances[video_id] - first) * factor
    seen = (inside[:, 1] > 0) & (inside[:, 0] < valid)
    inside, actions = inside[seen], known.actions[video_id][seen]
    hidden = (known.unknown[video_id] - first) * factor
    proposals = context_targets.sample(
      inside, valid, config.template.proposals, durations, rng
    )

    def parts(at):
      return known.parts(video_id, first + at / factor)

    return {
      'inputs': windows_lib.pad(
        augmentation.perturb(features, changes, rng), length
      ),
      'mask': np.arange(length) < valid,
      'part': parts(np.arange(length) + 0.5),
      **_snippet_targets(inside, actions, hidden, valid, length),
      'proposals': proposals.astype(np.float32),
      'proposal_part': parts(proposals.mean(axis=1)),
      **_proposal_targets(proposals, inside, actions, hidden, known.weights),
    }

  return read_window


def _snippet_targets(inside, actions, hidden, valid, length):
  """What a window's `valid` snippets shall say, padded to `length`."""
  targets = {
    'known': ~stage_targets.within(hidden, valid),
    'labels': stage_targets.stage_labels(inside, valid, 1.0),
    'actions': stage_targets.action_labels(inside, actions, valid),
  }
  return {name: windows_lib.pad(x, length) for name, x in targets.items()}


def _proposal_targets(proposals, inside, actions, hidden, weights):
  """What the evaluator shall say of proposals."""
  tiou, offsets = context_targets.assign(proposals, inside)
  return {
    'judged': ~segments.mostly_within(proposals, hidden),
    'tiou': tiou.astype(np.float32),
    'offsets': offsets.astype(np.float32),
    'proposal_labels': context_targets.label_targets(
      proposals, inside, actions, weights
    ),
  }


def _label_weights(config, data, numbers):
  """Of no action and of each; empty where proposals get no labels."""
  if not (config.template.label_weight and config.template.num_actions):
    return np.zeros(0)
  labels = [numbers[x] for v in data.train.values() for x in v.labels]
  return context_targets.label_weights(
    np.bincount(labels, minlength=len(numbers) + 1)[1:]
  )


def _counts(config, networks):
  """Batch -> `losses.Counts` of each member, [m]."""
  parts, members = config.train.accumulate, networks.count

  def share(x):
    # Not -1, which no array without numbers can have: labels left out.
    each = len(x) // (parts * members)
    return x.reshape(parts, members, each, *x.shape[1:])

  def count(batch):
    names = (
      'part', 'proposal_part', 'known', 'judged', 'tiou', 'proposal_labels',
    )  # fmt: skip

    def of_member(share, index):
      return losses.counts(cross_fit.learned(share, index))

    shares = {name: share(batch[name]) for name in names}
    found = jax.vmap(jax.vmap(of_member), (0, None))(
      shares, jnp.arange(members)
    )
    return jax.tree.map(lambda x: x.sum(axis=0), found)

  return count


def loss_weights(
  config: ml_collections.ConfigDict,
) -> losses.LossWeights:
  """Of the parts of the loss, as a config has them.

  That of the labels is less where there are few: two of them are soon known by
  heart, which costs features and recall more than it names.
  """
  many = min(1.0, config.template.num_actions / _MANY_LABELS)
  return losses.LossWeights(
    stages=config.template.stage_weight,
    actions=config.template.action_weight,
    match=config.template.match_weight,
    offset=config.template.offset_weight,
    labels=config.template.label_weight * many,
  )


def _loss(config, networks):
  """Of one member, on its share of the batch.

  They are not one program: in it they would have to be written out one after
  the other, for a vmapped convolution becomes a grouped one, and inside a loop
  CPUs compute convolutions four times slower.
  """
  members = networks.count
  margins = cosine_margin.margin_matrix(
    config.stages.margin_m, config.stages.margin_n, config.stages.margin_form
  )
  weights = loss_weights(config)

  def loss_fn(params, batch, key, totals, *, index):
    own = jax.tree.map(
      lambda x: x.reshape(members, len(x) // members, *x.shape[1:])[index],
      batch,
    )
    value, parts = losses.loss(
      networks.model,
      params,
      cross_fit.learned(own, index),
      jax.random.fold_in(key, index),
      margins,
      weights,
      config.stages.lmcl_margin,
      networks_lib.member(totals, index),
    )
    return value, (jnp.ones(()), parts)

  return loss_fn
