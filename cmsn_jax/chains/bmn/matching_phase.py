"""The one training phase of the boundary-matching network."""

import math

import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains import protocol
from cmsn_jax.chains.bmn import losses, targets
from cmsn_jax.chains.bmn import networks as networks_lib
from cmsn_jax.data import augmentation
from cmsn_jax.data import windows as windows_lib


def matching(job: protocol.Job) -> protocol.Phase:
  """Boundaries and confidence maps of windows that hold an instance.

  Raises:
    ValueError: if the config is not `derive.derive`d.
  """
  config, data, networks = job.config, job.data, job.predictor.networks
  settings = config.bmn
  if not settings.durations:
    raise ValueError(
      'config.bmn.durations is not set; fill it in with derive.derive(config, '
      'data)'
    )
  return protocol.Phase(
    name='matching',
    salt=4,
    # By steps: epochs are short where videos are few.
    plan=lambda per_epoch: protocol.Plan(
      settings.steps, math.ceil(settings.steps / settings.evaluations)
    ),
    windows=job.windows(),
    prepare=lambda: _reader(config, data, job.hop),
    init=lambda key: networks.init(key, data.source.snippet_shape[0]),
    loss_fn=_loss(networks),
    bundle=lambda params: {'bmn': params},
    frozen=tuple(config.train.frozen),
    counts=lambda batch: losses.counts(batch, networks.model.durations),
  )


def _reader(config, data, hop):
  """Window, generator -> one training example."""
  length, durations = config.windows.length, tuple(config.bmn.durations)
  source, fps = data.source, data.source.feature_fps
  changes = augmentation.Augmentation(
    scale=config.windows.scale,
    noise=config.windows.noise,
    channel_drop=config.windows.channel_drop,
  )
  instances = {name: data.grid_segments(name) * fps for name in data.train}

  def read_window(window, rng):
    total = source.num_snippets(window.video_id)
    shift = config.windows.jitter * hop
    start = window.start + round(rng.uniform(-shift, shift))
    start = int(np.clip(start, 0, max(0, total - length)))
    stop = min(start + length, total)
    features = source.read(window.video_id, start, stop)
    inside = instances[window.video_id] - start
    inside = inside[(inside[:, 1] > 0) & (inside[:, 0] < stop - start)]
    return {
      'inputs': windows_lib.pad(
        augmentation.perturb(features, changes, rng), length
      ),
      'mask': np.arange(length) < stop - start,
      'boundaries': targets.boundaries(inside, length),
      'tiou': targets.confidences(inside, length, durations),
    }

  return read_window


def _loss(networks: networks_lib.Networks):
  durations = networks.model.durations

  def loss_fn(params, batch, key, totals):
    del key
    found = networks.model.apply(
      {'params': params}, batch['inputs'], batch['mask']
    )
    total, parts = losses.loss(found, batch, durations, totals)
    return total, (jnp.ones(()), parts)

  return loss_fn
