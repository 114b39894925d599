"""Layers of a Caffe model → state dicts with PyTorch's names and axes.

C3D and BN-Inception go by the names of their layers; ResNets, which have none to
go by, are `caffe_resnet`'s.

Batch normalisation comes as one layer (`BN`: slope, bias, mean, variance) or as
two (`BatchNorm`: mean, variance, both times a third array's single number;
`Scale`: slope, bias). Both give the same four arrays. An epsilon other than
this project's goes into the variance, a bias of the convolution before it into
the mean.
"""

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cmsn_jax.features.weights import caffe_files

# Of `nn.BatchNorm` in our networks.
_EPSILON = 1e-5
# Layers that hand on what they get when a network is not being trained.
_PASS = ('Split', 'Dropout', 'Flatten', 'Reshape')
_ENDS = ('Softmax', 'SoftmaxWithLoss', 'Accuracy')
_CONVOLUTIONS = ('Convolution', 'Convolution3D')
_NORMS = ('BN', 'SyncBN', 'BatchNorm')

State = dict[str, Float[np.ndarray, '...']]


def c3d_state(path: str | os.PathLike) -> State:
  """Returns the arrays of a Caffe C3D: `conv1a.weight`, `conv1a.bias`, …

  Raises:
    CaffeError: the file cannot be read, or a layer is no convolution and no
      inner product.
  """
  state = {}
  for layer in _with_arrays(caffe_files.read(path)):
    if layer.type not in (*_CONVOLUTIONS, 'InnerProduct'):
      raise caffe_files.CaffeError(
        f'{path}: layer {layer.name!r} of type {layer.type} belongs to no C3D'
      )
    state |= weights(layer, layer.name, path)
  return state


def bn_inception_state(path: str | os.PathLike) -> State:
  """Returns the arrays of a Caffe BN-Inception, named as in PyTorch's ports.

  `conv1/7x7_s2` becomes `conv1_7x7_s2.weight`, the normalisation that reads it
  `conv1_7x7_s2_bn.running_mean` and so on.

  Raises:
    CaffeError: the file cannot be read, or a layer with arrays is left over.
  """
  state, used = {}, set()
  layers = caffe_files.read(path)
  for node in graph(layers, path):
    if node.kind not in ('convolution', 'inner_product', 'norm'):
      continue
    if node.kind == 'norm':
      source = node.sources[0]
      if source.kind != 'convolution':
        raise caffe_files.CaffeError(
          f'{path}: {node.name!r} normalises {source.name!r}, which is no '
          'convolution'
        )
      # The bias stays with the convolution, which has one here too.
      state |= norm(node, f'{_plain(source.name)}_bn', path)
    else:
      state |= weights(node.layers[0], _plain(node.name), path)
    used |= {layer.name for layer in node.layers}
  require_all_used(layers, used, path)
  return state


def _plain(name):
  return name.replace('/', '_').replace('-', '_')


def _with_arrays(layers):
  return [layer for layer in layers if layer.blobs]


def require_all_used(
  layers: Sequence[caffe_files.Layer], used: Collection[str], path: Any
) -> None:
  """Checks that every array of a model has found its place.

  Args:
    layers: of the model.
    used: names of the layers whose arrays have.
    path: of the model, for the error.
  Raises:
    CaffeError: naming those that have not.
  """
  left = [
    layer.name for layer in _with_arrays(layers) if layer.name not in used
  ]
  if left:
    raise caffe_files.CaffeError(
      f'{path}: {len(left)} layers with arrays have no place in the network: '
      f'{", ".join(left[:12])}'
    )


def weights(layer: caffe_files.Layer, name: str, path: Any) -> State:
  """Returns weight and bias of a convolution or inner product.

  Args:
    layer: the layer.
    name: what it is called in the state dict.
    path: of the model, for the error.
  Raises:
    CaffeError: it has other arrays.
  """
  if not 1 <= len(layer.blobs) <= 2:
    raise caffe_files.CaffeError(
      f'{path}: {layer.name!r} has {len(layer.blobs)} arrays, expected weight '
      'and bias'
    )
  weight = layer.blobs[0]
  if layer.type == 'InnerProduct' and weight.ndim > 2:
    # Old files have four axes for everything: 1, 1, outputs, inputs.
    weight = weight.reshape(weight.shape[-2:])
  state = {f'{name}.weight': weight}
  if len(layer.blobs) == 2:
    state[f'{name}.bias'] = layer.blobs[1].reshape(-1)
  return state


def norm(
  node: 'Node',
  name: str,
  path: Any,
  bias: Float[np.ndarray, '...'] | float = 0.0,
) -> State:
  """Returns the four arrays of a normalisation.

  Args:
    node: the normalisation, its Scale included.
    name: what it is called in the state dict.
    path: of the model, for the error.
    bias: of the convolution before, added to what is normalised.
  Raises:
    CaffeError: it has other arrays.
  """
  layer = node.layers[0]
  blobs = [np.asarray(blob, np.float64).reshape(-1) for blob in layer.blobs]
  scales = [np.asarray(blob, np.float64).reshape(-1)
            for scale in node.layers[1:] for blob in scale.blobs]  # fmt: skip
  if layer.type == 'BatchNorm':
    if len(blobs) != 3 or blobs[2].size != 1:
      raise caffe_files.CaffeError(
        f'{path}: {layer.name!r} has {len(blobs)} arrays, expected mean, '
        'variance and their factor'
      )
    factor = 1 / blobs[2][0] if blobs[2][0] else 0.0
    mean, variance = blobs[0] * factor, blobs[1] * factor
    slope = scales[0] if scales else np.ones_like(mean)
    shift = scales[1] if len(scales) > 1 else np.zeros_like(mean)
    settings = layer.settings.batch_norm_param
  else:
    if len(blobs) != 4 or scales:
      raise caffe_files.CaffeError(
        f'{path}: {layer.name!r} has {len(blobs) + len(scales)} arrays, '
        'expected slope, bias, mean and variance'
      )
    slope, shift, mean, variance = blobs
    settings = layer.settings.bn_param
  epsilon = settings.eps if settings.HasField('eps') else _EPSILON
  return {
    f'{name}.weight': slope,
    f'{name}.bias': shift,
    f'{name}.running_mean': mean - bias,
    f'{name}.running_var': variance + (epsilon - _EPSILON),
  }


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
  """A computed map: what makes it, and of which maps.

  Attributes:
    kind: 'input', 'convolution', 'norm', 'relu', 'pool', 'sum', 'concat' or
      'inner_product'.
    layers: of the model; a normalisation may have two.
    sources: the maps it is computed of.
  """

  kind: str
  layers: tuple[caffe_files.Layer, ...]
  sources: tuple['Node', ...]

  @property
  def name(self) -> str:
    """Of its layer."""
    return self.layers[0].name if self.layers else 'the input'


_KINDS: Mapping[str, str] = {
  **{name: 'convolution' for name in _CONVOLUTIONS},
  **{name: 'norm' for name in _NORMS},
  'InnerProduct': 'inner_product',
  'ReLU': 'relu',
  'Pooling': 'pool',
  'Eltwise': 'sum',
  'Concat': 'concat',
}


def graph(layers: Sequence[caffe_files.Layer], path: Any) -> list[Node]:
  """Returns a model's maps in order; a Scale is part of its BatchNorm.

  Args:
    layers: of the model.
    path: of the model, for the error.
  Raises:
    CaffeError: a layer is of a type that none of our networks has.
  """
  # Blobs are names that layers may write again ("in place").
  blobs, nodes = {}, []
  for layer in layers:
    sources = tuple(
      blobs.setdefault(name, Node('input', (), ())) for name in layer.bottoms
    )
    if layer.type in _ENDS and not layer.blobs:
      continue
    if layer.type in _PASS and not layer.blobs:
      node = sources[0]
    elif layer.type == 'Scale' and _takes_scale(sources):
      before = sources[0]
      node = Node('norm', (*before.layers, layer), before.sources)
      nodes[nodes.index(before)] = node
    elif layer.type in _KINDS:
      node = Node(_KINDS[layer.type], (layer,), sources)
      nodes.append(node)
    elif layer.bottoms or layer.blobs:
      raise caffe_files.CaffeError(
        f'{path}: layer {layer.name!r} is of type {layer.type}, which none of '
        'the networks here has'
      )
    else:
      # A layer of data.
      node = Node('input', (), ())
    for name in layer.tops:
      blobs[name] = node
  return nodes


def _takes_scale(sources):
  return (
    len(sources) == 1
    and sources[0].kind == 'norm'
    and [layer.type for layer in sources[0].layers] == ['BatchNorm']
  )
