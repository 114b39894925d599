"""A chain of one layer: each snippet is inside an instance, or not."""

import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains import protocol
from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib

from . import predictor as predictor_lib

READS = (
  'toy', 'windows.length', 'windows.overlap', 'windows.require_instance',
  'train.frozen',
)  # fmt: skip
AT_INFERENCE = ('toy.above',)
predictor = predictor_lib.Predictor


class networks:
  """One weight a feature, and a bias."""

  facts = {}

  def __init__(self, config):
    del config

  def encode(self, params, inputs, mask):
    logits = inputs @ params['toy']['weight'] + params['toy']['bias']
    return jnp.where(mask, jax.nn.sigmoid(logits), 0.0)

  def score(self, params, means):
    return means  # A run's mean is its score.

  def shapes(self, snippet_shape):
    return jax.eval_shape(lambda: {'toy': _init(*snippet_shape)})


def phases(config):
  return ('only',)


def problems(config):
  return [] if 0 < config.toy.above < 1 else ['config.toy.above: not in (0, 1)']


def derive(config, data):
  return config.copy_and_resolve_references().lock()


def phase(name, job):
  config, data, length = job.config, job.data, job.config.windows.length

  def read_window(window, rng):
    stop = window.start + window.length
    video = data.train[window.video_id]
    stages = training_data.stage_labels(video, data.source, 'centre')
    inside = (stages >= 2) & (stages <= 4)
    return {
      'inputs': windows_lib.pad(
        data.source.read(window.video_id, window.start, stop), length
      ),
      'inside': windows_lib.pad(inside[window.start : stop], length),
      'mask': np.arange(length) < window.length,
    }

  def loss_fn(params, batch, key):
    chance = job.predictor.networks.encode(
      {'toy': params}, batch['inputs'], batch['mask']
    )
    error = jnp.where(batch['mask'], (chance - batch['inside']) ** 2, 0.0)
    count = batch['mask'].sum()
    return error.sum() / jnp.maximum(count, 1), (count, {})

  return protocol.Phase(
    name=name,
    salt=1,
    plan=lambda per_epoch: protocol.Plan(
      config.toy.epochs * per_epoch, per_epoch
    ),
    windows=job.windows(),
    prepare=lambda: read_window,
    init=lambda key: _init(*data.source.snippet_shape),
    loss_fn=loss_fn,
    bundle=lambda params: {'toy': params},
  )


def programs(config, networks, params, inputs, sizes):
  return protocol.Programs(
    {'stages': protocol.Program(networks.encode, inputs, 'window -> chances')},
    networks.facts,
  )


def _init(width):
  return {'weight': jnp.zeros(width), 'bias': jnp.zeros(())}
