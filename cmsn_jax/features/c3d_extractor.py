"""C3D as an extractor of feature vectors: 512 numbers every 8th frame."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from cmsn_jax.features import extractor, pixels, variables
from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import folders

POOLS = ('mean', 'max')


def build(section: Any) -> extractor.Extractor:
  """Returns the C3D extractor: conv5b, pooled over place.

  Args:
    section: attributes `weights` (a folder made by launch.convert_weights or
      launch.pretrain, which also says widths, mean and channel order; or
      'random'), `widths`, `mean`, `scale`, `channel_order` (used with random
      weights), `pool` ('mean' or 'max'), `fps`, `resize`, `crop`,
      `chunk_snippets`, `formulation`, `dtype`, `seed`.
  Returns:
    the extractor, stride 8.
  Raises:
    ValueError: an unknown pool, or weights that are not C3D's.
  """
  if section.pool not in POOLS:
    raise ValueError(f'pool must be one of {POOLS}, got {section.pool!r}')
  text, params, name = _weights(section)
  module = c3d.C3D(
    widths=tuple(text['widths']),
    formulation=section.formulation,
    dtype=jnp.dtype(section.dtype).type,
  )
  inputs = jax.ShapeDtypeStruct((1, 8, 16, 16, 3), jnp.float32)
  if params is None:
    params = variables.random(module, inputs, seed=section.seed)
  variables.check(params, variables.shapes(module, inputs), name)
  reduce = jnp.mean if section.pool == 'mean' else jnp.max
  crop = section.crop
  frame_values = {key: text[key] for key in ('mean', 'scale', 'channel_order')}

  def apply(
    params: Any, frames: UInt8[Array, 'b f h w 3'], valid: Bool[Array, 'b f']
  ) -> Float[Array, 'b t d']:
    frames = pixels.preprocess(pixels.centre_crop(frames, crop), **frame_values)
    maps = module.apply(params, frames, valid)
    return reduce(maps.astype(jnp.float32), axis=(2, 3))

  return extractor.Extractor(
    name='c3d',
    modality='rgb',
    apply=apply,
    params=params,
    dim=text['widths'][-1],
    fps=float(section.fps),
    stride=c3d.STRIDE_FRAMES,
    resize=tuple(section.resize),
    halo_frames=c3d.HALO_FRAMES,
    chunk_snippets=section.chunk_snippets,
    weights=name,
    settings={'crop': crop, 'layer': f'conv5b, spatial {section.pool}'}
    | frame_values,
  )


def _weights(section):
  """(description, variables or None, name)."""
  if section.weights == 'random':
    text = {
      'widths': list(section.widths),
      'mean': list(section.mean),
      'scale': list(section.scale),
      'channel_order': section.channel_order,
    }
    return text, None, f'random, seed {section.seed}'
  found = folders.load(section.weights)
  text = found.description
  if text.get('backbone') != 'c3d':
    raise ValueError(
      f'{section.weights} holds weights of {text.get("backbone")!r}, not of C3D'
    )
  name = f'{text.get("source")} sha256:{text["arrays_sha256"][:12]}'
  return text, {'params': found.params}, name
