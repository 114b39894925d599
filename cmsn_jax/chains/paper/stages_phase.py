"""Phase 1 of Sec. 3.4, Training: FES and ASS learn the stage of every snippet."""

import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains import protocol
from cmsn_jax.chains.paper import networks as networks_lib
from cmsn_jax.chains.paper import pretrained
from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.features.backbones import c3d
from cmsn_jax.stages import cosine_margin
from cmsn_jax.stages import targets as stage_targets


def stages(job: protocol.Job) -> protocol.Phase:
  """The phase, on windows of the training videos."""
  config, data, networks = job.config, job.data, job.predictor.networks
  length = config.windows.length

  def prepare():
    labels = {
      video_id: training_data.stage_labels(
        video, data.source, config.stages.label_rule
      )
      for video_id, video in data.train.items()
    }
    known = {name: ~data.unknown_snippets(name) for name in data.train}

    actions = _actions(config, data)

    def read_window(window, rng):
      total = len(labels[window.video_id])
      start = _jittered(window, config.windows.jitter * job.hop, rng, total)
      stop = start + window.length
      snippets = data.source.read_training(window.video_id, start, stop, rng)
      rows = length * (len(snippets) // window.length)
      return {
        'inputs': windows_lib.pad(snippets, rows),
        'labels': windows_lib.pad(labels[window.video_id][start:stop], length),
        'mask': np.arange(length) < window.length,
        **_padded('actions', actions.get(window.video_id), start, stop, length),
        'known': windows_lib.pad(known[window.video_id][start:stop], length),
      }

    return read_window

  return protocol.Phase(
    name='stages',
    salt=1,
    plan=lambda per_epoch: protocol.Plan(
      config.train.stages_epochs * per_epoch,
      config.train.eval_every_epochs * per_epoch,
    ),
    windows=job.windows(),
    prepare=prepare,
    init=lambda key: pretrained.insert(
      config, networks.init_stages(key, length, data.source.snippet_shape)
    ),
    loss_fn=_loss(config.stages, networks),
    bundle=lambda params: {'stages': params},
    frozen=(*config.train.frozen, *_frozen_layers(config)),
  )


def _actions(config, data):
  """Label of every snippet by video id; {} where none are told apart."""
  names = config.stages.label_names
  if not names:
    return {}
  numbers = {name: k for k, name in enumerate(names, start=1)}
  return {
    video_id: stage_targets.action_labels(
      data.grid_segments(video_id) * data.source.feature_fps,
      np.array([numbers[x] for x in video.labels], np.int64),
      data.source.num_snippets(video_id),
    )
    for video_id, video in data.train.items()
  }


def _padded(name, values, start, stop, length):
  if values is None:
    return {}
  return {name: windows_lib.pad(values[start:stop], length)}


def _loss(settings, networks: networks_lib.Networks):
  margins = cosine_margin.margin_matrix(
    settings.margin_m, settings.margin_n, settings.margin_form
  )

  def loss_fn(params, batch, key):
    # The network sees all snippets, and is told of those that are known.
    known, labels = batch['known'], batch['labels']
    outputs = networks.stages.apply(
      {'params': params}, batch['inputs'], batch['mask'], train=True,
      rngs={'dropout': key},
    )  # fmt: skip
    loss = cosine_margin.stage_loss(
      outputs.scores, labels, known,
      kind=settings.loss, scale=settings.scale, margins=margins,
      margin=settings.lmcl_margin,
    )  # fmt: skip
    if outputs.actions is not None:
      loss += settings.action_weight * cosine_margin.softmax_loss(
        outputs.actions, batch['actions'], known
      )
    correct = (outputs.scores.argmax(-1) == labels) & known
    count = jnp.maximum(known.sum(), 1)
    return loss, (known.sum(), {'accuracy': correct.sum() / count})

  return loss_fn


def _jittered(window, most, rng, total):
  # Drawn where it is 0 too, so that the draws after it stay the same.
  shift = round(rng.uniform(-most, most))
  return int(np.clip(window.start + shift, 0, total - window.length))


def _frozen_layers(config):
  """Expressions of the extractor's layers that stay as they are."""
  if config.data.input != 'video':
    return ()
  names = c3d.LAYERS[: config.extractor.frozen_layers]
  return tuple(f'^extractor/{name}/' for name in names)
