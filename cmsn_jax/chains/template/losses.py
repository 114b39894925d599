"""What the template chain learns by: five losses of one network, weighted.

All are means, of snippets, proposals or labels; `counts` says over how many, so
that a batch learns the same however it is split.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cmsn_jax.chains.template import networks
from cmsn_jax.scoring import context_evaluator, label_classifier
from cmsn_jax.stages import cosine_margin


class LossWeights(NamedTuple):
  """Weights of the parts of the loss."""

  stages: float = 2.0
  actions: float = 0.25
  match: float = 4.0
  offset: float = 1.0
  labels: float = 1.0


class Counts(NamedTuple):
  """What the means of the loss are over.

  Attributes:
    snippets: known ones, of the stage and the action loss.
    proposals: judged ones of windows with a known snippet, of the match loss.
    fair: those of them that have borders to learn, of the offset loss.
    labels: weights of the label loss, added up.
  """

  snippets: Float[Array, '...']
  proposals: Float[Array, '...']
  fair: Float[Array, '...']
  labels: Float[Array, '...']


def counts(batch: dict[str, Any]) -> Counts:
  """Of a batch of windows; of a larger one they are the sums of its parts'."""
  valid = _judged(batch)
  fair = valid & (batch['tiou'] > context_evaluator.OFFSET_MIN_TIOU)
  labels = jnp.where(valid[..., None], batch['proposal_labels'], 0)
  found = map(jnp.sum, (batch['known'], valid, fair, labels))
  return Counts(*(number.astype(jnp.float32) for number in found))


def loss(
  model: networks.JointNetwork,
  params: Any,
  batch: dict[str, Any],
  key: Array,
  margins: Float[Array, 's s'] | Float[np.ndarray, 's s'],
  weights: LossWeights,
  lmcl_margin: float = 0.35,
  totals: Counts | None = None,
) -> tuple[Float[Array, ''], dict[str, Array]]:
  """Stage, action, match, offset and label loss of windows, weighted.

  Args:
    model: the network.
    params: its parameters.
    batch: `inputs` [b, t, d], `mask` [b, t] (valid), `known` [b, t] (valid, and
      what happens there is known), `labels` [b, t], `actions` [b, t] (0: none),
      `proposals` [b, n, 2] in snippets, `judged` [b, n] (not where it is
      unknown what happens), `tiou` [b, n], `offsets` [b, n, 2],
      `proposal_labels` [b, n, 1 + actions] (see `context_targets.label_targets`).
    key: of dropout.
    margins: of the variable margin losses.
    weights: of the parts.
    lmcl_margin: m of Eq. 3.
    totals: `counts` of the larger batch that this one is a part of: the losses
      of its parts then add up to its own; None: it is the whole.
  Returns:
    the loss, and its parts by name.
  """
  encoding, outputs, label_logits = model.apply(
    {'params': params}, batch['inputs'], batch['mask'], batch['proposals'],
    train=True, rngs={'dropout': key},
  )  # fmt: skip
  stages = cosine_margin.stage_loss(
    encoding.scores, batch['labels'], batch['known'], kind=model.loss,
    scale=model.scale, margins=margins, margin=lmcl_margin,
  )  # fmt: skip
  actions = jnp.zeros(())
  if model.num_actions:
    actions = cosine_margin.softmax_loss(
      encoding.actions, batch['actions'], batch['known']
    )
  valid = _judged(batch)
  match = context_evaluator.match_loss(outputs.logits, batch['tiou'], valid)
  offset = context_evaluator.offset_loss(
    outputs.offsets, batch['offsets'], batch['tiou'], valid
  )
  labels = jnp.zeros(())
  if model.num_labels:
    labels = label_classifier.loss(
      label_logits, jnp.where(valid[..., None], batch['proposal_labels'], 0)
    )
  parts = LossWeights(stages, actions, match, offset, labels)
  if totals is not None:
    own = counts(batch)
    share = Counts(*(a / jnp.maximum(b, 1.0) for a, b in zip(own, totals)))
    parts = LossWeights(
      stages * share.snippets,
      actions * share.snippets,
      match * share.proposals,
      offset * share.fair,
      labels * share.labels,
    )
  total = sum(weight * part for weight, part in zip(weights, parts))
  return total, parts._asdict()


def _judged(batch):
  """Proposals of a window without a single known snippet teach nothing."""
  return batch['judged'] & jnp.any(batch['known'], axis=1, keepdims=True)
