"""Temporal segment networks: clips → class scores by consensus of segments.

A clip is cut into equal segments; each gives one snippet (an RGB frame, or 5
stacked flow fields) to the same network, and the mean of the segments' scores is
the clip's. Trained with partial batch normalisation and dropout, as the
networks' attributes say, this makes the weights of either stream.

References:
  Wang et al., `Temporal Segment Networks <https://arxiv.org/abs/1608.00859>`,
  2016, Eq. (1) and Sec. 3.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Array, Float, Int, Shaped, UInt8

# Sizes of training crops relative to the shorter side (TSN, Sec. 3.2).
RGB_SCALES = (1.0, 0.875, 0.75, 0.66)
FLOW_SCALES = (1.0, 0.875, 0.75)

# Path of the first normalisation, BN-Inception's or ResNet's.
_FIRST_NORM = r'(?:network/)?(?:conv1_7x7_s2_bn|bn1)'


def segment_starts(
  num_frames: int,
  segments: int,
  length: int,
  rng: np.random.Generator | None = None,
) -> Int[np.ndarray, ' k']:
  """First frames of the snippets read from a clip, one a segment.

  Args:
    num_frames: of the clip.
    segments: k.
    length: frames of a snippet, 1 for RGB, 5 for flow.
    rng: draws a place in each segment (training); None: the middle (testing).
  Returns:
    frame numbers; a clip too short for k places reads some twice.
  Raises:
    ValueError: when the clip is shorter than one snippet, or k is not positive.
  """
  if segments < 1 or num_frames < length:
    raise ValueError(
      f'{segments} segments of snippets of {length} frames do not fit into a '
      f'clip of {num_frames} frames; at least one segment and one snippet must'
    )
  places = num_frames - length + 1
  edges = np.arange(segments + 1) * places / segments
  shares = np.full(segments, 0.5) if rng is None else rng.random(segments)
  starts = np.floor(edges[:-1] + shares * np.diff(edges)).astype(np.int64)
  return np.clip(starts, 0, places - 1)


def snippets(
  frames: UInt8[np.ndarray, 'f h w c'],
  starts: Int[np.ndarray, ' k'],
  length: int,
) -> UInt8[np.ndarray, 'k h w d']:
  """The snippets at `starts`, frames of one stacked in channels: x1 y1 x2 y2 …"""
  stacks = [
    np.concatenate(list(frames[start : start + length]), axis=-1)
    for start in starts
  ]
  return np.stack(stacks)


def training_view(
  images: UInt8[np.ndarray, 'k h w c'],
  size: int,
  rng: np.random.Generator,
  *,
  is_flow: bool,
) -> UInt8[np.ndarray, 'k s s c']:
  """One random crop of random scale and aspect, mirrored at random.

  The same for all snippets of a clip. Corners and centre are the places to
  choose from, height and width take neighbouring scales (TSN's corner cropping
  and scale jittering).

  Args:
    images: snippets.
    size: height and width of the result.
    rng: draws scales, place and mirroring.
    is_flow: a mirror image's horizontal motion changes its sign.
  """
  h, w = images.shape[1:3]
  scales = FLOW_SCALES if is_flow else RGB_SCALES
  first = int(rng.integers(len(scales)))
  # At most one step apart, so that shapes stay natural.
  second = int(np.clip(first + rng.integers(-1, 2), 0, len(scales) - 1))
  ch = round(min(h, w) * scales[first])
  cw = round(min(h, w) * scales[second])
  places = [(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)]
  y, x = places[int(rng.integers(len(places)))]
  top, left = int((h - ch) * y), int((w - cw) * x)
  view = images[:, top : top + ch, left : left + cw]
  if rng.random() < 0.5:
    view = view[:, :, ::-1]
    if is_flow:
      view = view.copy()
      view[..., ::2] = 255 - view[..., ::2]
  return resize(view, size)


def resize(
  images: UInt8[np.ndarray, 'k h w c'], size: int
) -> UInt8[np.ndarray, 'k s s c']:
  """Bilinear, of any number of channels."""
  rows = _weights(images.shape[1], size)
  columns = _weights(images.shape[2], size)
  values = np.einsum('yh,khwc->kywc', rows, images.astype(np.float32))
  values = np.einsum('xw,kywc->kyxc', columns, values)
  return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _weights(length, size) -> Float[np.ndarray, 's n']:
  """Share of each input pixel in each output pixel; pixel centres at .5."""
  at = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
  low = np.floor(at).astype(int)
  high = np.minimum(low + 1, length - 1)
  weights = np.zeros((size, length), np.float32)
  weights[np.arange(size), low] += 1 - (at - low)
  weights[np.arange(size), high] += at - low
  return weights


class SegmentConsensus(nn.Module):
  """Clip scores: the mean of a network's scores over a clip's segments.

  Attributes:
    network: images → class scores, e.g. `resnet.ResNet`.
    mean: subtracted from bytes, by channel; one number serves all.
    std: what is left is divided by it.
    channel_order: 'rgb' or 'bgr'; flow ignores it.
  """

  network: nn.Module
  mean: tuple[float, ...] = (0.0,)
  std: tuple[float, ...] = (1.0,)
  channel_order: str = 'rgb'

  @nn.compact
  def __call__(
    self, clips: Shaped[Array, 'b k h w c'], *, train: bool = False
  ) -> Float[Array, 'b n']:
    """Returns the clips' scores (before any softmax).

    Args:
      clips: bytes of k snippets a clip.
      train: as the network takes it.
    """
    b, k, h, w, c = clips.shape
    images = clips.reshape(b * k, h, w, c).astype(jnp.float32)
    if c == 3 and self.channel_order == 'bgr':
      images = images[..., ::-1]
    mean = jnp.asarray(self.mean, jnp.float32).reshape(1, 1, 1, -1)
    std = jnp.asarray(self.std, jnp.float32).reshape(1, 1, 1, -1)
    scores = self.network((images - mean) / std, train=train)
    return scores.reshape(b, k, -1).mean(1)


def frozen_batch_norms(variables: Mapping[str, Any]) -> tuple[str, ...]:
  """Paths of what partial batch normalisation does not train.

  Args:
    variables: {'params', 'batch_stats'} of a network or a `SegmentConsensus`.
  Returns:
    of the scales and offsets of every normalisation but the first, as regular
    expressions that match exactly those in `params`.
  """
  flat = traverse_util.flatten_dict(variables['batch_stats'], sep='/')
  norms = sorted({path.rsplit('/', 1)[0] for path in flat})
  return tuple(
    f'(^|/){re.escape(norm)}/(scale|bias)$'
    for norm in norms
    if not re.fullmatch(_FIRST_NORM, norm)
  )
