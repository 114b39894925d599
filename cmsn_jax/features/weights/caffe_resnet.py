"""Caffe's ResNets → state dicts with PyTorch's names and axes.

Their layers carry whatever names their maker gave them, so the network is
recognised by how its layers are connected; which variant it is (pre-activation,
where it halves, how its first pool rounds) is read off that too.
"""

import dataclasses
import os
from typing import Any

import numpy as np

from cmsn_jax.features.weights import caffe, caffe_files


@dataclasses.dataclass(frozen=True)
class ResNetState:
  """A ResNet as found.

  Attributes:
    arrays: with torchvision's names (`bn_last` after a pre-activation one).
    settings: `preactivation`, `stride_in_1x1`, `pool_padding`, `pool_ceil` of
      `resnet.ResNet`.
  """

  arrays: caffe.State
  settings: dict[str, Any]


def resnet_state(path: str | os.PathLike) -> ResNetState:
  """Returns the arrays of a Caffe ResNet of bottleneck blocks.

  Raises:
    CaffeError: the file cannot be read, is connected otherwise, or has arrays
      that belong to no block.
  """
  return _ResNetReader(path).read()


class _ResNetReader:
  """Follows a ResNet from its last layer back to its first."""

  def __init__(self, path):
    self.path, self.arrays, self.used = path, {}, set()
    self.strides_in_1x1: set[bool] = set()

  def read(self) -> ResNetState:
    layers = caffe_files.read(self.path)
    nodes = caffe.graph(layers, self.path)
    head = [node for node in nodes if node.kind == 'inner_product']
    if len(head) != 1:
      self._fail(f'{len(head)} inner products, expected the last layer alone')
    self.arrays |= caffe.weights(head[0].layers[0], 'fc', self.path)
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
    caffe.require_all_used(layers, self.used, self.path)
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
    state = caffe.weights(node.layers[0], name, self.path)
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
    self.arrays |= caffe.norm(node, name, self.path, bias)

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
