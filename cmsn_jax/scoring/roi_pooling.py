"""Temporal RoI max-pooling: proposals of any length -> a fixed size."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Above this many entries the table of maxima is built for a part of the
# channels at a time (64 MB in float32).
_MAX_TABLE_ENTRIES = 1 << 24


def bin_borders(
  starts: Int[Array, ' n'], ends: Int[Array, ' n'], num_bins: int
) -> tuple[Int[Array, 'n r'], Int[Array, 'n r']]:
  """First and last snippet, both inclusive, of each bin of each proposal.

  Bin k of a proposal of L snippets covers snippets floor(k·L/r) to
  ceil((k+1)·L/r) − 1 of it: never empty, together all of the proposal,
  neighbours sharing a snippet where L is not a multiple of r.

  Args:
    starts: first snippet, [n].
    ends: last snippet, inclusive, [n]; one before `starts` counts as `starts`.
    num_bins: r.
  Returns:
    firsts and lasts, [n, r].
  """
  length = jnp.maximum(ends - starts + 1, 1)[:, None]
  k = jnp.arange(num_bins, dtype=starts.dtype)[None, :]
  first = starts[:, None] + k * length // num_bins
  last = starts[:, None] - (-(k + 1) * length // num_bins) - 1
  return first, last


def _range_max(features: Array, first: Array, last: Array, levels: int):
  """Exact maxima of features[first..last] from a table of doubling windows.

  Row i of level k holds the maximum of snippets i .. i + 2^k − 1; any range
  is the union of two such windows.
  """
  t = features.shape[0]
  table = [features]
  for k in range(levels - 1):
    shifted = jnp.roll(table[-1], -(1 << k), axis=0)
    # Windows beyond the end are never looked up, so what wraps is harmless.
    table.append(jnp.maximum(table[-1], shifted))
  table = jnp.concatenate(table, axis=0)
  length = last - first + 1
  level = sum((length >= (1 << k)).astype(jnp.int32) for k in range(1, levels))
  level = jnp.zeros_like(length) + level
  left = table[level * t + first]
  right = table[level * t + last + 1 - (1 << level)]
  return jnp.maximum(left, right)


def roi_max_pool(
  features: Float[Array, 't d'],
  starts: Int[Array, ' n'],
  ends: Int[Array, ' n'],
  num_bins: int = 4,
  levels: int | None = None,
) -> Float[Array, 'n r d']:
  """Channel-wise maxima over `num_bins` equal parts of each proposal.

  Exact, O(t·d·log t + n·r·d) time. Indices beyond the features are clamped
  to them; rows of padded proposals (any indices) hold some maxima and are to
  be masked by the caller. Gradients of tied maxima are shared among them.

  Args:
    features: of one sequence, [t, d].
    starts: first snippet of each proposal, [n].
    ends: last snippet, inclusive, [n].
    num_bins: r (see `bin_borders`).
    levels: no bin is of 2^levels snippets or more; None: as many as t asks
      for. To be given where t is symbolic; the table is then made in one.
  Returns:
    [n, r, d], of the features' dtype.
  Raises:
    ValueError: num_bins below 1, or no snippet at all.
  """
  t, d = features.shape
  if num_bins < 1 or t < 1:
    raise ValueError(
      'RoI pooling needs at least one bin and one snippet, '
      f'got num_bins={num_bins} and features of shape {features.shape}'
    )
  starts, ends = jnp.clip(starts, 0, t - 1), jnp.clip(ends, 0, t - 1)
  first, last = bin_borders(starts, ends, num_bins)
  if levels is not None:
    return _range_max(features, first, last, levels)
  longest = -(-t // num_bins) + 1
  levels = min(longest, t).bit_length()
  channels = max(1, _MAX_TABLE_ENTRIES // (levels * t))
  if channels >= d:
    return _range_max(features, first, last, levels)
  parts = -(-d // channels)
  padded = jnp.pad(features, ((0, 0), (0, parts * channels - d)))
  split = padded.reshape(t, parts, channels).swapaxes(0, 1)
  pooled = jax.lax.map(lambda x: _range_max(x, first, last, levels), split)
  pooled = jnp.moveaxis(pooled, 0, 2)
  return pooled.reshape(*first.shape, parts * channels)[:, :, :d]


def roi_max_pool_batch(
  features: Float[Array, 'b t d'],
  starts: Int[Array, 'b n'],
  ends: Int[Array, 'b n'],
  num_bins: int = 4,
) -> Float[Array, 'b n r d']:
  """`roi_max_pool` of each sequence of a batch with its own proposals.

  Args:
    features: [b, t, d].
    starts: first snippets, [b, n].
    ends: last snippets, inclusive, [b, n].
    num_bins: r.
  Returns:
    [b, n, r, d], of the features' dtype.
  """
  pool = lambda x, first, last: roi_max_pool(x, first, last, num_bins)
  return jax.vmap(pool)(features, starts, ends)
