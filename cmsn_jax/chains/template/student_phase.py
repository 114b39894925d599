"""One network learns what all members say together (distillation).

Proposing with it costs one network in place of `template.members`. What it is
taught are not the labels, which the members know by heart, but what the members
say, above all the one that has not learned from a window (`cross_fit`; what is
laid over it may be known to it), of windows that are perturbed and laid over one
another, those without any instance too: there they hesitate, as they will on new
videos (Hinton et al., "Distilling the knowledge in a neural network", 2015; Beyer
et al., "Knowledge distillation: a good teacher is patient and consistent", 2022).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from absl import logging

from cmsn_jax.chains import protocol
from cmsn_jax.chains.template import cross_fit, joint_phase
from cmsn_jax.chains.template import losses as losses_lib
from cmsn_jax.chains.template import networks as networks_lib

# Share of a second window that is laid over the first: up to half.
_MOST_MIXED = 0.5
_HUBER = 0.2
# Of few windows: however often they are seen, the members must be reached.
_LEAST_STEPS = 75


class _Said(NamedTuple):
  """What a member says, or all of them as one."""

  stages: jax.Array
  actions: jax.Array
  match: jax.Array
  offsets: jax.Array
  labels: jax.Array | None


def student(job: protocol.Job) -> protocol.Phase:
  """The student, from the first member on; see the module's text."""
  config, data, networks = job.config, job.data, job.predictor.networks
  windows = job.windows(every=True)
  settings = config.template

  def plan(per_epoch):
    # A short run, a warm start say, has a short second phase.
    steps = min(settings.student_steps, settings.steps)
    if settings.student_epochs:
      enough = max(_LEAST_STEPS, settings.student_epochs * per_epoch)
      steps = min(steps, enough)
    logging.info('student: %d windows, %d steps', len(windows), steps)
    return protocol.Plan(steps, steps)

  def init(key):
    del key
    members = job.earlier('joint')['joint']
    return {
      'student': jax.tree.map(lambda leaf: leaf[:1], members),
      'teachers': members,
    }

  return protocol.Phase(
    name='student',
    salt=4,
    plan=plan,
    windows=windows,
    prepare=lambda: joint_phase.reader(config, data, job.hop),
    init=init,
    loss_fn=_loss(config, networks.model),
    teach=lambda *args: _said(networks.model, *args),
    teachers=networks.count,
    bundle=lambda params: {'joint': params['student']},
    frozen=('^teachers/', *map(_of_student, config.train.frozen)),
    stacked_axes=1,
    begins_anew=False,
    windows_key='template.student_windows',
  )


def _of_student(pattern):
  """An expression of `train.frozen` as one of the student's parameters."""
  start = '^student/' if pattern.startswith('^') else '^student/.*'
  return start + pattern.removeprefix('^')


def _loss(config, model):
  """Cross-entropy with what the members say, and distance from their offsets."""
  weights = joint_phase.loss_weights(config)
  honest = config.template.honest_weight or 1.0

  def loss_fn(params, batch, key):
    mix, dropout = jax.random.split(key)
    inputs, mask = _mixed(mix, batch['inputs'], batch['mask'])
    taught = _together(batch, honest)
    encoding, outputs, labels = model.apply(
      {'params': networks_lib.member(params['student'], 0)},
      inputs, mask, batch['proposals'], train=True, rngs={'dropout': dropout},
    )  # fmt: skip
    valid = mask.astype(jnp.float32)
    parts = losses_lib.LossWeights(
      _cross_entropy(model.stages(encoding), taught.stages, valid),
      _cross_entropy(encoding.actions, taught.actions, valid),
      optax.sigmoid_binary_cross_entropy(outputs.logits, taught.match).mean(),
      _offset_loss(outputs.offsets, taught),
      _cross_entropy(labels, taught.labels, jnp.ones(outputs.logits.shape[:2])),
    )
    total = sum(weight * part for weight, part in zip(weights, parts))
    return total, (jnp.ones(()), parts._asdict())

  return loss_fn


def _mixed(key, inputs, mask):
  """Windows with a second one of the batch laid over every other one."""
  share = jax.random.uniform(key, (len(inputs), 1, 1), maxval=_MOST_MIXED)
  share = share.at[::2].set(0.0)
  inputs = jnp.where(mask[:, :, None], inputs, 0.0)
  return inputs * (1 - share) + jnp.roll(inputs, 1, axis=0) * share, mask


def _said(model, params, batch, key, index):
  """What one member says, without dropout, of windows as the student sees them."""
  mix, _ = jax.random.split(key)
  inputs, mask = _mixed(mix, batch['inputs'], batch['mask'])
  encoding, outputs, labels = model.apply(
    {'params': networks_lib.member(params['teachers'], index)},
    inputs, mask, batch['proposals'],
  )  # fmt: skip
  return _Said(
    jax.nn.softmax(model.stages(encoding)),
    jax.nn.softmax(encoding.actions),
    jax.nn.sigmoid(outputs.logits),
    outputs.offsets,
    None if labels is None else jax.nn.softmax(labels),
  )


def _together(batch, honest):
  """What all members say, one as much as the other, or as they know a window."""
  found = batch['taught']
  count = len(found)
  alike = jax.tree.map(lambda *values: sum(values) / count, *found)

  def weighted(name, part):
    weights = cross_fit.weights(batch[part], count, honest)
    values = (getattr(said, name) for said in found)
    return sum(w[..., None] * value for w, value in zip(weights, values))

  # Not what happens: of labels, who has not seen them knows nothing.
  return alike._replace(
    stages=weighted('stages', 'part'),
    match=weighted('match', 'proposal_part'),
    offsets=weighted('offsets', 'proposal_part'),
  )


def _cross_entropy(logits, taught, valid):
  if taught is None or not logits.shape[-1]:
    return jnp.zeros(())
  losses = -(taught * jax.nn.log_softmax(logits)).sum(axis=-1)
  return (losses * valid).sum() / jnp.maximum(valid.sum(), 1.0)


def _offset_loss(offsets, taught):
  """Of proposals as far as the members say that there is an instance."""
  losses = optax.huber_loss(offsets, taught.offsets, delta=_HUBER) / _HUBER
  weight = taught.match[..., 0]
  return (losses.sum(axis=-1) * weight).sum() / jnp.maximum(weight.sum(), 1e-6)
