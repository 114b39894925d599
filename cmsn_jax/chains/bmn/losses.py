"""Losses of the boundary-matching network (Sec. 4.2), and what they count."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from cmsn_jax.chains.bmn import networks

# Weight of the regressed tIoU beside the classified one (Eq. 7).
_REGRESSION = 10.0
# tIoU above which a proposal is right, and that part those to regress.
_RIGHT = 0.9
_HIGH, _LOW = 0.7, 0.3


class Counts(NamedTuple):
  """Of a batch, each a float32 number, or where they lie."""

  start: Array
  no_start: Array
  end: Array
  no_end: Array
  right: Array
  wrong: Array
  high: Array
  middle: Array
  low: Array


def counts(batch: dict[str, Any], durations: tuple[int, ...]) -> Counts:
  """What the means of `loss` are over."""
  found = _masks(batch, durations)
  return jax.tree.map(lambda x: jnp.sum(x, dtype=jnp.float32), found)


def loss(
  found: networks.Logits,
  batch: dict[str, Any],
  durations: tuple[int, ...],
  totals: Counts,
) -> tuple[Float[Array, ''], dict[str, Array]]:
  """Boundary, classification and regression loss, weighted as the paper's.

  Both logistic losses weigh right and wrong equally: the mean over what is
  right plus the mean over what is not. The regressed tIoU learns from as many
  proposals above .7 as between .3 and .7 and below: the paper draws them, here
  all count, by the chance with which they would be drawn.

  Args:
    found: logits.
    batch: `mask` [b, t], `boundaries` [b, t, 2], `tiou` [b, t, d].
    durations: of the proposals.
    totals: `counts` of the larger batch that this one is a part of: the losses
      of the parts add up to its own.
  Returns:
    the loss, and its parts by name.
  References:
    Lin et al., `BMN <https://arxiv.org/abs/1907.09702>`, 2019, Eq. (4) to (7).
  """
  masks = _masks(batch, durations)
  start, end = (found.boundaries[..., side] for side in (0, 1))
  classified, regressed = (found.maps[..., kind] for kind in (0, 1))
  boundary = _balanced(
    start, masks.start, masks.no_start, totals.start, totals.no_start
  ) + _balanced(end, masks.end, masks.no_end, totals.end, totals.no_end)
  right = _balanced(
    classified, masks.right, masks.wrong, totals.right, totals.wrong
  )
  share = lambda number: jnp.minimum(1.0, totals.high / jnp.maximum(number, 1))
  middle, low = share(totals.middle), share(totals.low)
  weight = masks.high + middle * masks.middle + low * masks.low
  total = totals.high + middle * totals.middle + low * totals.low
  error = jnp.where(
    masks.high | masks.middle | masks.low,
    jax.nn.sigmoid(regressed) - batch['tiou'],
    0.0,
  )
  regression = jnp.sum(weight * error**2) / jnp.maximum(total, 1.0)
  parts = {'boundary': boundary, 'right': right, 'regression': regression}
  return boundary + right + _REGRESSION * regression, parts


def _balanced(logits, positive, negative, positives, negatives):
  """Mean -log p over the positive plus mean -log(1 - p) over the negative."""
  yes = jnp.where(positive, -jax.nn.log_sigmoid(logits), 0.0)
  no = jnp.where(negative, -jax.nn.log_sigmoid(-logits), 0.0)
  return jnp.sum(yes) / jnp.maximum(positives, 1.0) + (
    jnp.sum(no) / jnp.maximum(negatives, 1.0)
  )


def _masks(batch, durations) -> Counts:
  mask: Bool[Array, 'b t'] = batch['mask']
  start, end = (batch['boundaries'][..., side] > 0.5 for side in (0, 1))
  cells, tiou = networks.valid_cells(mask, durations), batch['tiou']
  return Counts(
    start & mask,
    ~start & mask,
    end & mask,
    ~end & mask,
    cells & (tiou > _RIGHT),
    cells & (tiou <= _RIGHT),
    cells & (tiou > _HIGH),
    cells & (tiou > _LOW) & (tiou <= _HIGH),
    cells & (tiou <= _LOW),
  )
