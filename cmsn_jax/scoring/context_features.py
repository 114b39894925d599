"""Pooled features of a proposal, its context and its borders.

RoI mean-pooling by prefix sums: exact for borders between snippets,
differentiable in the features, and at a cost that does not depend on the
proposals' durations.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

# Rows that are summed at once.
_BLOCK = 16


def num_bins(inner_bins: int, context_bins: int) -> int:
  """Rows that `context_pool` returns for one proposal."""
  return inner_bins + 2 * context_bins + 4


def context_pool(
  features: Float[Array, 't d'],
  segments: Float[Array, 'n 2'],
  *,
  inner_bins: int = 8,
  context_bins: int = 2,
  border: float = 2.0,
) -> Float[Array, 'n r d']:
  """Means of the features over each proposal's bins.

  In this order: `context_bins` equal bins over the half duration before the
  proposal (where the template has Ready), `inner_bins` over the proposal,
  `context_bins` over the half duration after it (Follow), then the `border`
  snippets before and after the start, and before and after the end. What lies
  outside the features counts 0.

  Args:
    features: [t, d]; 0 at padded snippets.
    segments: [start, end) in snippets, fractions allowed, [n, 2]; durations
      must be positive.
    inner_bins: bins inside a proposal.
    context_bins: bins on either side of it.
    border: width of the bins at the borders, in snippets.
  Returns:
    float32, [n, inner_bins + 2·context_bins + 4, d].
  """
  start, end = segments[:, :1], segments[:, 1:]
  duration = end - start

  def steps(count, last=False):
    return jnp.arange(count + last, dtype=jnp.float32)[None, :] / count

  edges = jnp.concatenate(
    [
      start - duration / 2 * (1 - steps(context_bins)),
      start + duration * steps(inner_bins),
      end + duration / 2 * steps(context_bins, last=True),
      start - border, start, start + border,
      end - border, end, end + border,
    ],
    axis=1,
  )  # fmt: skip
  means = _means(features, edges)
  # Between the groups of edges lie differences that are no bins. Slices: to
  # look the rows up by index takes a CPU six times as long as all the rest.
  count = inner_bins + 2 * context_bins
  borders = means[:, count + 1 : count + 3], means[:, count + 4 : count + 6]
  return jnp.concatenate([means[:, :count], *borders], axis=1)


def inner_pool(
  features: Float[Array, 't d'], segments: Float[Array, 'n 2'], bins: int
) -> Float[Array, 'n r d']:
  """Means of the features over equal bins of each proposal.

  `context_pool` without what lies around a proposal, for less than half of its
  cost.

  Args:
    features: [t, d]; 0 at padded snippets.
    segments: [start, end) in snippets, durations positive, [n, 2].
    bins: r.
  Returns:
    float32, [n, bins, d].
  """
  start, end = segments[:, :1], segments[:, 1:]
  steps = jnp.arange(bins + 1, dtype=jnp.float32)[None, :] / bins
  return _means(features, start + (end - start) * steps)


def _means(features, edges):
  """Of the features between neighbouring edges, [n, edges - 1, d]."""
  t = features.shape[0]
  sums = _prefix_sums(features.astype(jnp.float32))
  place = jnp.clip(edges, 0, t)
  index = jnp.minimum(place.astype(jnp.int32), t - 1)
  fraction = (place - index)[:, :, None]
  integral = sums[index] * (1 - fraction) + sums[index + 1] * fraction
  width = jnp.maximum(edges[:, 1:] - edges[:, :-1], 1e-3)[:, :, None]
  return (integral[:, 1:] - integral[:, :-1]) / width


def _prefix_sums(rows):
  """Sums of the first 0, 1, ..., t of [t, d] rows, [t + 1, d]."""
  t, d = rows.shape
  if not isinstance(t, int):
    # Exports are of any length, and some formats cannot divide it.
    sums = jnp.cumsum(rows, axis=0)
    return jnp.concatenate([jnp.zeros_like(sums[:1]), sums])
  # `jnp.cumsum` takes a CPU as long as the rest of a pooling: only sums of blocks
  # are left to it, and a product with a triangle adds up the rows of each.
  blocks = jnp.pad(rows, ((0, -t % _BLOCK), (0, 0))).reshape(-1, _BLOCK, d)
  # Of the rows before each, in its block.
  triangle = jnp.tri(_BLOCK, k=-1, dtype=rows.dtype)
  sums = jnp.einsum('ij,bjd->bid', triangle, blocks, precision='highest')
  totals = sums[:, -1:] + blocks[:, -1:]
  ends = jnp.cumsum(totals, axis=0)
  sums += ends - totals
  # With an end, even where it is cut off: or CPUs would add the blocks' sums anew
  # for each that is looked up.
  return jnp.concatenate([sums.reshape(-1, d), ends[-1]])[: t + 1]
