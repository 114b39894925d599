"""Layers of a Caffe model → state dicts with PyTorch's names and axes.

C3D and BN-Inception go by the names of their layers. A ResNet's layers carry
whatever names its maker gave them, so it is recognised by how its layers are
connected; which variant it is (pre-activation, where it halves, how its first
pool rounds) is read off that too.

Batch normalisation comes as one layer (`BN`: slope, bias, mean, variance) or as
two (`BatchNorm`: mean, variance, both times a third array's single number;
`Scale`: slope, bias). Both give the same four arrays. An epsilon other than
this project's goes into the variance, a bias of the convolution before it into
the mean.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
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
    state |= _weights(layer, layer.name, path)
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
  for node in _graph(layers, path):
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
      state |= _norm(node, f'{_plain(source.name)}_bn', path)
    else:
      state |= _weights(node.layers[0], _plain(node.name), path)
    used |= {layer.name for layer in node.layers}
  _require_all_used(layers, used, path)
  return state


def _plain(name):
  return name.replace('/', '_').replace('-', '_')


@dataclasses.dataclass(frozen=True)
class ResNetState:
  """A ResNet as found.

  Attributes:
    arrays: with torchvision's names (`bn_last` after a pre-activation one).
    settings: `preactivation`, `stride_in_1x1`, `pool_padding`, `pool_ceil` of
      `resnet.ResNet`.
  """

  arrays: State
  settings: dict[str, Any]


def resnet_state(path: str | os.PathLike) -> ResNetState:
  """Returns the arrays of a Caffe ResNet of bottleneck blocks.

  Raises:
    CaffeError: the file cannot be read, is connected otherwise, or has arrays
      that belong to no block.
  """
  return _ResNetReader(path).read()


def _with_arrays(layers):
  return [layer for layer in layers if layer.blobs]


def _require_all_used(layers, used, path):
  left = [
    layer.name for layer in _with_arrays(layers) if layer.name not in used
  ]
  if left:
    raise caffe_files.CaffeError(
      f'{path}: {len(left)} layers with arrays have no place in the network: '
      f'{", ".join(left[:12])}'
    )


def _weights(layer, name, path) -> State:
  """Weight and bias of a convolution or inner product."""
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


def _norm(node, name, path, bias=0.0) -> State:
  """The four arrays of a normalisation; `bias` is added to its input."""
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
class _Node:
  """A computed map: what makes it, and of which maps."""

  kind: str
  layers: tuple[caffe_files.Layer, ...]
  sources: tuple['_Node', ...]

  @property
  def name(self):
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


def _graph(layers, path) -> Sequence[_Node]:
  """A model's maps in order; a Scale is part of its BatchNorm."""
  # Blobs are names that layers may write again ("in place").
  blobs, nodes = {}, []
  for layer in layers:
    sources = tuple(
      blobs.setdefault(name, _Node('input', (), ())) for name in layer.bottoms
    )
    if layer.type in _ENDS and not layer.blobs:
      continue
    if layer.type in _PASS and not layer.blobs:
      node = sources[0]
    elif layer.type == 'Scale' and _takes_scale(sources):
      before = sources[0]
      node = _Node('norm', (*before.layers, layer), before.sources)
      nodes[nodes.index(before)] = node
    elif layer.type in _KINDS:
      node = _Node(_KINDS[layer.type], (layer,), sources)
      nodes.append(node)
    elif layer.bottoms or layer.blobs:
      raise caffe_files.CaffeError(
        f'{path}: layer {layer.name!r} is of type {layer.type}, which none of '
        'the networks here has'
      )
    else:
      # A layer of data.
      node = _Node('input', (), ())
    for name in layer.tops:
      blobs[name] = node
  return nodes


def _takes_scale(sources):
  return (
    len(sources) == 1
    and sources[0].kind == 'norm'
    and [layer.type for layer in sources[0].layers] == ['BatchNorm']
  )


class _ResNetReader:
  """Follows a ResNet from its last layer back to its first."""

  def __init__(self, path):
    self.path, self.arrays, self.used = path, {}, set()
    self.strides_in_1x1: set[bool] = set()

  def read(self) -> ResNetState:
    layers = caffe_files.read(self.path)
    nodes = _graph(layers, self.path)
    head = [node for node in nodes if node.kind == 'inner_product']
    if len(head) != 1:
      self._fail(f'{len(head)} inner products, expected the last layer alone')
    self.arrays |= _weights(head[0].layers[0], 'fc', self.path)
    self._use(head[0])
    top = self._step(head[0].sources[0], 'pool')
    if top.layers[0].settings.pooling_param.pool != 1:
      self._fail(f'{top.name!r} before the last layer is no average')
    x = self._step(top.sources[0], 'relu').sources[0]
    preactivation = x.kind == 'norm'
    if preactivation:
      self._norm(x, 'bn_last')
      x = x.sources[0]
    blocks = []
    while x.kind == 'sum':
      block, x = self._block(x, preactivation)
      blocks.append(block)
      if not preactivation and x.kind == 'relu':
        x = x.sources[0]
    names = self._names(blocks[::-1])
    for (body, shortcut), name in zip(reversed(blocks), names, strict=True):
      self._keep(body, shortcut, name, preactivation)
    settings = self._stem(x) | {
      'preactivation': preactivation,
      'stride_in_1x1': self.strides_in_1x1 == {True},
    }
    _require_all_used(layers, self.used, self.path)
    return ResNetState(self.arrays, settings)

  def _fail(self, what):
    raise caffe_files.CaffeError(
      f'{self.path} is no ResNet of bottleneck blocks: {what}'
    )

  def _use(self, node):
    self.used |= {layer.name for layer in node.layers}

  def _step(self, node, kind):
    if node.kind != kind:
      self._fail(f'{node.name!r} is of kind {node.kind}, expected {kind}')
    return node

  def _block(self, node, preactivation):
    """((three (norm, convolution) pairs, shortcut or None), its input)."""
    settings = node.layers[0].settings.eltwise_param
    # 1 is a sum, and what is meant where nothing is said.
    adds = not settings.HasField('operation') or settings.operation == 1
    if len(node.sources) != 2 or not adds or {*settings.coeff} - {1.0}:
      self._fail(f'{node.name!r} does not add two maps')
    for body, other in (node.sources, node.sources[::-1]):
      chain = self._chain(body, preactivation)
      if chain is None:
        continue
      pairs, start = chain
      shortcut = None
      # Where a pre-activation body begins with a normalisation, a shortcut
      # may begin before it (identity) or behind its ReLU (projection).
      if other is not start:
        shortcut = self._projection(other, preactivation)
        after = pairs[0][1].sources[0]
        if shortcut is None or shortcut[1].sources[0] not in (start, after):
          continue
      return (pairs, shortcut), start
    return self._fail(
      f'{node.name!r} adds no three convolutions to their own input'
    )

  def _chain(self, node, preactivation):
    """Three (norm, convolution) pairs that lead to `node`, and their input."""
    pairs = []
    for number in (3, 2, 1):
      norm = None
      if not preactivation:
        if node.kind != 'norm':
          return None
        norm, node = node, node.sources[0]
      if node.kind != 'convolution':
        return None
      convolution, node = node, node.sources[0]
      activated = node.kind == 'relu'
      # Only a network's very first convolutions come without.
      if number > 1 and not activated:
        return None
      if number > 1 and not preactivation:
        node = node.sources[0]
      if preactivation and activated:
        norm = node.sources[0]
        if norm.kind != 'norm':
          return None
        node = norm.sources[0]
      pairs.append((norm, convolution))
    return pairs[::-1], node

  def _projection(self, node, preactivation):
    norm = None
    if not preactivation and node.kind == 'norm':
      norm, node = node, node.sources[0]
    if node.kind != 'convolution' or (norm is None) != preactivation:
      return None
    return norm, node

  def _names(self, blocks):
    """`layer1.0`, …: a stage begins where the shortcut is a convolution."""
    names, stage, index = [], 0, 0
    for _, shortcut in blocks:
      stage, index = (stage + 1, 0) if shortcut else (stage, index + 1)
      names.append(f'layer{stage}.{index}')
    if stage != 4 or not names[0].endswith('.0'):
      self._fail(f'{stage} stages of {len(blocks)} blocks, expected 4 stages')
    return names

  def _keep(self, pairs, shortcut, name, preactivation):
    bias = 0.0
    for number, (norm, convolution) in enumerate(pairs, 1):
      if preactivation and norm is not None:
        # It follows the convolution before.
        self._norm(norm, f'{name}.bn{number}', bias)
      bias = self._convolution(
        convolution, f'{name}.conv{number}', 3 if number == 2 else 1,
        folded=not preactivation or number < 3,
      )  # fmt: skip
      if not preactivation:
        self._norm(norm, f'{name}.bn{number}', bias)
    strides = [_stride(convolution) for _, convolution in pairs]
    if shortcut is not None:
      norm, convolution = shortcut
      bias = self._convolution(
        convolution, f'{name}.downsample.0', 1, folded=norm is not None
      )
      if norm is not None:
        self._norm(norm, f'{name}.downsample.1', bias)
      if _stride(convolution) != max(strides):
        self._fail(f'{convolution.name!r} halves otherwise than its block')
    self._check_strides(name, strides)

  def _check_strides(self, name, strides):
    halves = name.endswith('.0') and not name.startswith('layer1.')
    if not halves and strides == [1, 1, 1]:
      return
    if not halves or strides not in ([2, 1, 1], [1, 2, 1]):
      self._fail(f'the convolutions of {name} have strides {strides}')
    self.strides_in_1x1.add(strides[0] == 2)
    if len(self.strides_in_1x1) > 1:
      self._fail('its stages halve in different convolutions')

  def _convolution(self, node, name, window, *, folded):
    """Keeps the kernel; returns the bias, which a normalisation takes."""
    state = _weights(node.layers[0], name, self.path)
    kernel = state[f'{name}.weight']
    settings = node.layers[0].settings.convolution_param
    pads = {*settings.pad, settings.pad_h, settings.pad_w} - {0}
    if (
      kernel.shape[2:] != (window, window)
      or pads - {window // 2}
      or (window > 1 and not pads)
      or settings.group not in (0, 1)
      or {*settings.dilation} - {1}
    ):
      self._fail(
        f'{node.name!r} has a kernel {kernel.shape} with padding '
        f'{sorted(pads)}, expected {window} x {window} with {window // 2}'
      )
    self._use(node)
    self.arrays[f'{name}.weight'] = kernel
    bias = np.asarray(state.get(f'{name}.bias', 0.0), np.float64)
    if not folded and np.any(bias):
      self._fail(f'{node.name!r} has a bias, which no normalisation follows')
    return bias

  def _norm(self, node, name, bias=0.0):
    self._step(node, 'norm')
    self._use(node)
    self.arrays |= _norm(node, name, self.path, bias)

  def _stem(self, pool):
    """The first layers; how their pool covers the border."""
    settings = self._step(pool, 'pool').layers[0].settings.pooling_param
    norm = self._step(pool.sources[0], 'relu').sources[0]
    convolution = self._step(self._step(norm, 'norm').sources[0], 'convolution')
    self._step(convolution.sources[0], 'input')
    size = settings.kernel_size or settings.kernel_h
    stride = settings.stride or settings.stride_h
    if settings.pool != 0 or size != 3 or stride != 2:
      self._fail(f'{pool.name!r} is no 3 x 3 maximum with stride 2')
    if _stride(convolution) != 2:
      self._fail(f'{convolution.name!r} has stride {_stride(convolution)}')
    bias = self._convolution(convolution, 'conv1', 7, folded=True)
    self._norm(norm, 'bn1', bias)
    return {
      'pool_padding': settings.pad or settings.pad_h,
      # Caffe rounds up unless told otherwise.
      'pool_ceil': settings.round_mode == 0,
    }


def _stride(node):
  settings = node.layers[0].settings.convolution_param
  return (*settings.stride, settings.stride_h or 1)[0]
