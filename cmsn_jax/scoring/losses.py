"""The evaluator's loss."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def smooth_l1(
  pred: Float[Array, '*n'],
  target: Float[Array, '*n'],
  mask: Bool[Array, '*n'],
  *,
  beta: float = 1.0,
) -> Float[Array, '']:
  """Mean smooth-L1 distance over the valid entries.

  e²/(2·beta) where |e| < beta, |e| − beta/2 beyond. Masked entries add
  nothing, NaN included; without valid entries loss and gradient are 0.

  Args:
    pred: predicted tIoU (after the sigmoid), [...].
    target: tIoU with the ground truth, [...].
    mask: true where valid, [...].
    beta: where the parabola meets the line, positive.
  Returns:
    the loss, a float32 scalar.
  Raises:
    ValueError: beta is not positive.
  References:
    Girshick, `Fast R-CNN <https://arxiv.org/abs/1504.08083>`, 2015, Eq. (3).
  """
  if not beta > 0:
    raise ValueError(f'beta must be positive, got {beta}')
  error = pred.astype(jnp.float32) - target.astype(jnp.float32)
  size = jnp.abs(jnp.where(mask, error, 0.0))
  loss = jnp.where(size < beta, size * size / (2 * beta), size - beta / 2)
  return jnp.sum(loss) / jnp.maximum(jnp.sum(mask), 1)
