"""Two-stream features: RGB and stacked flow → the streams' class scores.

A snippet of 5 frames gives one RGB frame to the spatial stream (a ResNet) and 5
flow fields to the temporal stream (BN-Inception); their last fully-connected
outputs, 200 each for networks trained on ActivityNet, are concatenated (Sec.
5.1 of the paper, and its reference 34).

References:
  Xiong et al., `CUHK & ETHZ & SIAT Submission to ActivityNet Challenge 2016
  <https://arxiv.org/abs/1608.00797>`, 2016, Sec. 2.
  Lin et al., `BSN <https://arxiv.org/abs/1806.02964>`, 2018, Sec. 3.2.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

from cmsn_jax.features import extractor, pixels, variables
from cmsn_jax.features.backbones import bn_inception, resnet
from cmsn_jax.features.weights import folders, tsn

FLOW_STACK = 5
_PIXELS = ('mean', 'std', 'channel_order')
# Of a network, what a weight folder knows better than a config.
_NETWORK = (
  'backbone', 'depth', 'blocks', 'num_classes', 'width', 'preactivation',
  'stride_in_1x1', 'pool_padding', 'pool_ceil',
)  # fmt: skip
CROPS = ('centre', 'ten', 'full')


@dataclasses.dataclass(frozen=True)
class Stream:
  """One network and what its weights expect.

  Attributes:
    module: images → class scores.
    params: its variables.
    mean: subtracted from bytes, by channel; one number serves all.
    std: what is left is divided by it.
    channel_order: 'rgb' or 'bgr' (the spatial stream's).
    weights: which weights `params` are.
  """

  module: nn.Module
  params: Any
  mean: tuple[float, ...]
  std: tuple[float, ...]
  channel_order: str
  weights: str


def network(
  section: Any,
  dtype: Any = jnp.float32,
  found: Mapping[str, Any] | None = None,
) -> nn.Module:
  """Returns a stream's network from its config section.

  Args:
    section: attributes `backbone` ('resnet' | 'bn_inception'), `depth`,
      `num_classes`, `dropout`, `partial_bn`, `preactivation`,
      `stride_in_1x1`, `width`.
    dtype: compute dtype.
    found: what a weight folder says in place of the section; may also have
      `blocks`, `pool_padding`, `pool_ceil` of `resnet.ResNet`.
  Raises:
    ValueError: on an unknown backbone or depth.
  """
  found = {key: value for key, value in (found or {}).items()
           if key in _NETWORK}  # fmt: skip
  get = lambda key: found.get(key, getattr(section, key))
  shared = {
    'num_classes': get('num_classes'),
    'dropout': section.dropout,
    'partial_bn': section.partial_bn,
    'dtype': dtype,
  }
  if get('backbone') == 'bn_inception':
    return bn_inception.BNInception(width=get('width'), **shared)
  if get('backbone') != 'resnet':
    raise ValueError(
      f"backbone must be 'resnet' or 'bn_inception', got {get('backbone')!r}"
    )
  blocks = tuple(found.get('blocks') or resnet.DEPTHS.get(get('depth'), ()))
  if not blocks:
    raise ValueError(
      f'depth must be one of {sorted(resnet.DEPTHS)}, got {get("depth")}'
    )
  pools = {key: found[key] for key in ('pool_padding', 'pool_ceil')
           if key in found}  # fmt: skip
  return resnet.ResNet(
    blocks=blocks,
    preactivation=get('preactivation'),
    stride_in_1x1=get('stride_in_1x1'),
    width=max(1, round(64 * get('width'))),
    **pools,
    **shared,
  )


def load_stream(section: Any, channels: int, dtype: Any, seed: int) -> Stream:
  """Returns a stream with its weights.

  Args:
    section: what `network` reads, and `weights` (a PyTorch checkpoint, a
      weight folder, or 'random'), `mean`, `std`, `channel_order` (a weight
      folder brings its own, and its network).
    channels: of its input, 3 or 10.
    dtype: compute dtype.
    seed: of random weights.
  Raises:
    ValueError: when weights or settings do not fit.
  """
  found = None
  if os.path.isdir(section.weights):
    found = folders.load(section.weights).description
  module = network(section, dtype, found)
  # Parameters do not depend on the size of the images.
  inputs = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
  if section.weights == 'random':
    params = variables.random(module, inputs, seed=seed)
    name = f'random, seed {seed}'
  else:
    params, name = tsn.load(
      section.weights, module, variables.shapes(module, inputs)
    )
  look = frame_values(section)
  for field in ('mean', 'std'):
    if len(look[field]) not in (1, channels):
      raise ValueError(
        f'{field} must have 1 or {channels} values, got {look[field]}'
      )
  if look['channel_order'] not in ('rgb', 'bgr'):
    raise ValueError(
      f"channel_order must be 'rgb' or 'bgr', got {look['channel_order']!r}"
    )
  return Stream(module, params, weights=name, **look)


def frame_values(section: Any) -> dict[str, Any]:
  """Returns mean, std and channel order: a weight folder's own, else the
  section's."""
  source = {key: getattr(section, key) for key in _PIXELS}
  if os.path.isdir(section.weights):
    source = folders.load(section.weights).description
  return {
    key: tuple(source[key]) if key != 'channel_order' else source[key]
    for key in _PIXELS
  }


def pick(
  valid: Bool[Array, 'b f'], stride: int, first: int, count: int
) -> Int[Array, 'b t n']:
  """Indices of the frames each snippet reads, kept inside the video.

  Args:
    valid: False outside the video.
    stride: frames a snippet.
    first: offset of the first frame read from the snippet's first frame.
    count: consecutive frames read.
  Returns:
    frame indices; past the video's border, its first or last frame.
  """
  b, f = valid.shape
  starts = jnp.arange(0, f, stride).reshape(-1, 1)
  wanted = starts + (first + jnp.arange(count)).reshape(1, -1)
  low = jnp.argmax(valid, 1).reshape(b, 1, 1)
  high = f - 1 - jnp.argmax(valid[:, ::-1], 1).reshape(b, 1, 1)
  return jnp.clip(wanted.reshape(1, *wanted.shape), low, high)


def scores(
  stream: Stream,
  params: Any,
  images: UInt8[Array, 'n h w c'],
  size: int,
  rule: str,
  *,
  is_flow: bool,
) -> Float[Array, 'n k']:
  """A stream's class scores, averaged over crops."""
  n = images.shape[0]
  views = pixels.crops(images, size, rule, is_flow=is_flow).astype(jnp.float32)
  if stream.channel_order == 'bgr' and not is_flow:
    views = views[..., ::-1]
  mean = jnp.asarray(stream.mean, jnp.float32).reshape(1, 1, 1, -1)
  std = jnp.asarray(stream.std, jnp.float32).reshape(1, 1, 1, -1)
  outputs = stream.module.apply(params, (views - mean) / std, train=False)
  return outputs.reshape(n, -1, outputs.shape[-1]).mean(1)


def build(section: Any) -> extractor.Extractor:
  """Returns the two-stream extractor (or one of its streams alone).

  Args:
    section: attributes `streams` (of 'spatial', 'temporal'), `spatial` and
      `temporal` (see `load_stream`), `fps`, `stride`, `resize` (height,
      width), `crop`, `crops`, `rgb_frame` ('centre' | 'first'),
      `chunk_snippets`, `dtype`, `seed`.
  Returns:
    the extractor; its dim is the sum of the streams' classes.
  Raises:
    ValueError: on unknown settings or weights that do not fit.
  """
  names = tuple(section.streams)
  if names not in (('spatial', 'temporal'), ('spatial',), ('temporal',)):
    raise ValueError(
      f"streams must be ('spatial', 'temporal') or one of them, got {names}"
    )
  if section.crops not in CROPS:
    raise ValueError(f'crops must be one of {CROPS}, got {section.crops!r}')
  if section.rgb_frame not in ('centre', 'first'):
    raise ValueError(
      f"rgb_frame must be 'centre' or 'first', got {section.rgb_frame!r}"
    )
  dtype = jnp.dtype(section.dtype)
  streams = {
    name: load_stream(
      getattr(section, name),
      3 if name == 'spatial' else 2 * FLOW_STACK,
      dtype,
      # Two streams of one backbone must not start equal.
      section.seed + index,
    )
    for index, name in enumerate(names)
  }
  return _assemble(section, streams)


def _assemble(section, streams):
  stride = section.stride
  centre = section.rgb_frame == 'centre'
  reads = {
    'spatial': (stride // 2 if centre else 0, 1),
    'temporal': ((stride - FLOW_STACK) // 2, FLOW_STACK),
  }
  reads = {name: reads[name] for name in streams}
  modality = {
    ('spatial',): 'rgb',
    ('temporal',): 'flow',
  }.get(tuple(streams), 'rgb+flow')

  def apply(
    params: Any, frames: UInt8[Array, 'b f h w c'], valid: Bool[Array, 'b f']
  ) -> Float[Array, 'b t d']:
    b, f = valid.shape
    outputs = []
    for name, stream in streams.items():
      is_flow = name == 'temporal'
      channels = frames[..., -2:] if is_flow else frames[..., :3]
      images = _stack(channels, pick(valid, stride, *reads[name]))
      values = scores(
        stream,
        params[name],
        images,
        section.crop,
        section.crops,
        is_flow=is_flow,
      )
      outputs.append(values.reshape(b, f // stride, -1))
    return jnp.concatenate(outputs, -1)

  return extractor.Extractor(
    name='two_stream' if len(streams) > 1 else f'{next(iter(streams))}_stream',
    modality=modality,
    apply=apply,
    params={name: stream.params for name, stream in streams.items()},
    dim=sum(stream.module.num_classes for stream in streams.values()),
    fps=float(section.fps),
    stride=stride,
    resize=tuple(section.resize),
    halo_frames=max(
      max(-first, first + count - stride, 0) for first, count in reads.values()
    ),
    chunk_snippets=section.chunk_snippets,
    weights='; '.join(
      f'{name}: {stream.weights}' for name, stream in streams.items()
    ),
    settings={
      'crop': section.crop,
      'crops': section.crops,
      'rgb_frame': section.rgb_frame,
    },
  )


def _stack(
  frames: Shaped[Array, 'b f h w c'], indices: Int[Array, 'b t n']
) -> Shaped[Array, 'm h w d']:
  """Gathers frames; those of one snippet become channels, x1 y1 x2 y2 …"""
  b, t, n = indices.shape
  _, _, h, w, c = frames.shape
  flat = indices.reshape(b, t * n)
  picked = jax.vmap(lambda clip, at: clip[at])(frames, flat)
  picked = picked.reshape(b * t, n, h, w, c)
  return picked.transpose(0, 2, 3, 1, 4).reshape(b * t, h, w, n * c)
