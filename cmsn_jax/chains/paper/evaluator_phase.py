"""Phase 2 of Sec. 3.4, Training: the PES learns the tIoU of mined candidates."""

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from cmsn_jax.chains import protocol
from cmsn_jax.chains.paper import hidden_cache
from cmsn_jax.chains.paper import networks as networks_lib
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.scoring import losses, roi_pooling
from cmsn_jax.scoring import targets as scoring_targets


class NoCandidatesError(ValueError):
  """The stage network gives nothing that an evaluator could learn from."""


def evaluator(job: protocol.Job) -> protocol.Phase:
  """The phase, on candidates of the trained stage network, which is frozen.

  `prepare` raises `NoCandidatesError` if no training window has a candidate.
  """
  config, networks = job.config, job.predictor.networks
  length = config.windows.length
  windows = job.windows()
  stages = job.earlier('stages')
  most = config.evaluator.max_rois

  def prepare():
    cache = hidden_cache.build(
      job.workdir / 'evaluator' / 'cache',
      job.predictor.with_params(stages),
      job.data.source,
      windows,
      {v: job.data.grid_segments(v) for v in job.data.train},
      {v: job.data.grid_unknown(v) for v in job.data.train},
      length,
      quiet=job.quiet,
    )
    _report_candidates(cache)
    positions = {window: i for i, window in enumerate(windows)}

    def read_window(window, rng):
      entry = cache.entry(positions[window])
      chosen = scoring_targets.mine(entry.tiou, rng, max(1, most // 3))[:most]
      return {
        'hidden': entry.hidden,
        'starts': windows_lib.pad(entry.starts[chosen], most),
        'ends': windows_lib.pad(entry.ends[chosen], most),
        'tiou': windows_lib.pad(entry.tiou[chosen], most),
        'mask': np.arange(most) < len(chosen),
      }

    return read_window

  return protocol.Phase(
    name='evaluator',
    salt=2,
    plan=lambda per_epoch: protocol.Plan(
      config.train.evaluator_epochs * per_epoch,
      config.train.eval_every_epochs * per_epoch,
    ),
    windows=windows,
    prepare=prepare,
    init=lambda key: networks.init_evaluator(key, networks.width),
    loss_fn=_loss(networks),
    bundle=lambda params: {**stages, 'evaluator': params},
  )


def _loss(networks: networks_lib.Networks):
  def loss_fn(params, batch, key):
    rois = roi_pooling.roi_max_pool_batch(
      batch['hidden'], batch['starts'], batch['ends'], networks.roi_bins
    )
    logits = networks.evaluator.apply(
      {'params': params}, rois, train=True, rngs={'dropout': key}
    )
    scores, mask = jax.nn.sigmoid(logits), batch['mask']
    loss = losses.smooth_l1(scores, batch['tiou'], mask)
    error = jnp.where(mask, jnp.abs(scores - batch['tiou']), 0.0)
    count = jnp.maximum(mask.sum(), 1)
    return loss, (mask.sum(), {'absolute_error': error.sum() / count})

  return loss_fn


def _report_candidates(cache):
  low, high = scoring_targets.SMALL_UP_TO, scoring_targets.BIG_ABOVE
  small, middle, big = cache.tiou_counts(np.array([0, low, high, 1.0001]))
  logging.info(
    'mined candidates: %d with tIoU > %g, %d between, %d below %g',
    big, high, middle, small, low,
  )  # fmt: skip
  if small + middle + big == 0:
    raise NoCandidatesError(
      'the trained stage network gives no candidate in any training window, '
      'so there is nothing to train the evaluator on; train the stages longer '
      'or with a higher learning rate (train.stages_epochs, '
      'train.learning_rate), and check the feature rate'
    )
