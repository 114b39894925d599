"""TSN checkpoints of PyTorch → variables of BN-Inception and ResNet.

Understood layouts (names of the state dict):

- BN-Inception of the common TSN code and of pretrained-models:
  `conv1_7x7_s2.weight`, `inception_3a_1x1_bn.running_mean`, last layer
  `new_fc`, `fc`, `fc_action` or `last_linear`.
- ResNet of torchvision: `layer1.0.conv1.weight`, `layer1.0.bn1.weight`,
  `layer1.0.downsample.0.weight`, `fc.weight`.
- ResNet of MMAction2 and MMClassification: `backbone.layer1.0.conv1.conv.weight`,
  `backbone.layer1.0.conv1.bn.weight`, `cls_head.fc_cls.weight`.

Wrappers' prefixes (`module.`, `base_model.`, `backbone.`, …) do not matter.

Caffe's models of both (`caffe.py`) become such state dicts first.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Float32

from cmsn_jax.features import variables
from cmsn_jax.features.backbones import bn_inception, resnet
from cmsn_jax.features.weights import (
  caffe,
  caffe_files,
  caffe_resnet,
  folders,
)
from cmsn_jax.files import torch_files

_PREFIXES = ('module.', 'base_model.', 'backbone.', 'model.', 'cls_head.')
_HEADS = ('new_fc', 'fc', 'fc_cls', 'fc_action', 'last_linear', 'classifier')
# Counters that only PyTorch's training reads.
_IGNORED = ('num_batches_tracked',)
_NORM = {
  'weight': ('params', 'scale'),
  'bias': ('params', 'bias'),
  'running_mean': ('batch_stats', 'mean'),
  'running_var': ('batch_stats', 'var'),
}
_LAYER = {'weight': ('params', 'kernel'), 'bias': ('params', 'bias')}


def load(
  path: str,
  module: nn.Module,
  expected: Mapping[str, Any],
  *,
  new_head: bool = False,
) -> tuple[dict[str, Any], str]:
  """Returns a network's variables from a file or a weight folder, and its name.

  Args:
    path: a PyTorch checkpoint, or a folder that launch.convert_weights or
      launch.pretrain wrote.
    module: a `BNInception` or a `ResNet`.
    expected: its shapes (`variables.shapes`).
    new_head: leave the last layer out; see `convert`.
  Raises:
    FileNotFoundError: when there is nothing at `path`.
    ValueError: listing what does not fit.
  """
  if not os.path.isdir(path):
    if caffe_files.is_caffe(path):
      raise ValueError(
        f'{path} is a Caffe model, whose variant a config does not know; make a '
        'weight folder of it with python -m launch.convert_weights '
        f'--source={path} --backbone=… --output=…, and give that folder'
      )
    state = torch_files.read(path)
    found = convert(state, module, expected, path, new_head=new_head)
    return found, variables.fingerprint(path)
  loaded = folders.load(path)
  found = traverse_util.flatten_dict(loaded.params)
  flat = traverse_util.flatten_dict(expected)
  if new_head:
    found, flat = _without_head(found), _without_head(flat)
  found = traverse_util.unflatten_dict(found)
  variables.check(found, traverse_util.unflatten_dict(flat), path)
  digest = loaded.description['arrays_sha256'][:12]
  return found, f'{os.path.basename(os.path.normpath(path))} sha256:{digest}'


def convert_file(
  path: str,
  backbone: str,
  *,
  mean: Sequence[float] | None = None,
  std: Sequence[float] | None = None,
  channel_order: str | None = None,
  preactivation: bool = False,
  stride_in_1x1: bool = False,
) -> folders.Weights:
  """Returns a checkpoint of either stream as a weight folder's content.

  Depth, width, channels and classes are read off the file, of a Caffe ResNet
  also its variant. Mean, deviation and order
  default to what the publishers of the layouts use: BN-Inception 104, 117, 128
  in BGR, ResNet ImageNet's in RGB, BN-Inception on flow 128 with deviation 1.
  ResNets on flow were published with different deviations: give theirs. Caffe's
  networks had 104, 117, 123 in BGR and 128 on flow, deviation 1.

  Args:
    path: the checkpoint, PyTorch's or Caffe's.
    backbone: 'resnet' or 'bn_inception'.
    mean: subtracted from bytes, one number or one a channel.
    std: what is left is divided by it.
    channel_order: 'rgb' or 'bgr'.
    preactivation: see `resnet.ResNet`.
    stride_in_1x1: see `resnet.ResNet`.
  Raises:
    FileNotFoundError: when there is no such file.
    ValueError: when it cannot be read, does not fit, or std must be given.
  """
  is_caffe = caffe_files.is_caffe(path)
  variant = {'preactivation': preactivation, 'stride_in_1x1': stride_in_1x1}
  if is_caffe:
    state, variant = _caffe_state(path, backbone, variant)
  else:
    state = torch_files.read(path)
  plain = {_stripped(key): np.asarray(value) for key, value in state.items()}
  classes = [len(plain[f'{head}.weight']) for head in _HEADS
             if f'{head}.weight' in plain]  # fmt: skip
  if len(classes) != 1:
    raise ValueError(
      f'{path}: found {len(classes)} last layers of the names {_HEADS}, '
      f'expected one; the names begin with {list(state)[:6]}'
    )
  first = plain.get('conv1_7x7_s2.weight')
  if backbone == 'resnet':
    first = plain.get('conv1.weight', plain.get('conv1.conv.weight'))
  elif backbone != 'bn_inception':
    raise ValueError(
      f"backbone must be 'resnet' or 'bn_inception', got {backbone!r}"
    )
  if first is None or first.ndim != 4:
    raise ValueError(
      f'{path} is no {backbone} of a known layout; its names begin with '
      f'{list(state)[:6]}'
    )
  width, channels = first.shape[:2]
  blocks, module = (), bn_inception.BNInception(classes[0], width=width / 64)
  if backbone == 'resnet':
    blocks = _blocks(plain)
    module = resnet.ResNet(blocks, classes[0], width=width, **variant)
  inputs = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
  expected = variables.shapes(module, inputs)
  usual = _published(backbone, channels, is_caffe)
  description = {
    'backbone': backbone,
    'depth': {v: k for k, v in resnet.DEPTHS.items()}.get(blocks),
    'blocks': list(blocks),
    'width': width / 64,
    'channels': channels,
    'num_classes': classes[0],
    **variant,
    **_look(usual, path, mean, std, channel_order),
    'source': os.path.basename(path),
    'source_sha256': folders.sha256(path),
  }
  return folders.Weights(convert(state, module, expected, path), description)


def _caffe_state(path, backbone, variant):
  """(state dict, the variant that the file shows)."""
  if backbone != 'resnet':
    return caffe.bn_inception_state(path), variant
  found = caffe_resnet.resnet_state(path)
  wrong = [
    key for key, given in variant.items() if given and not found.settings[key]
  ]
  if wrong:
    raise ValueError(
      f'{path} is connected otherwise than {", ".join(wrong)} says; leave it '
      'out, Caffe models show it themselves'
    )
  return found.arrays, found.settings


def _blocks(plain):
  """Blocks in each stage of a ResNet, read off the names."""
  numbers = [
    [int(m[1]) for key in plain if (m := re.match(rf'layer{s}\.(\d+)\.', key))]
    for s in range(1, 5)
  ]
  return tuple(max(found, default=-1) + 1 for found in numbers)


def _published(backbone, channels, is_caffe):
  """Mean, deviation and order that networks were published with."""
  rgb = channels == 3
  if not rgb:
    known = is_caffe or backbone == 'bn_inception'
    return (128.0,), (1.0,) if known else None, 'rgb'
  if is_caffe:
    return (104.0, 117.0, 123.0), (1.0,), 'bgr'
  if backbone == 'bn_inception':
    return (104.0, 117.0, 128.0), (1.0,), 'bgr'
  return (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 'rgb'


def _look(usual, path, mean, std, channel_order):
  std = std or usual[1]
  if std is None:
    raise ValueError(
      f"{path} is a ResNet on flow; its deviation must be given (MMAction2's "
      'flow networks have 128, those of the TSN code 57.6)'
    )
  return {
    'mean': list(mean or usual[0]),
    'std': list(std),
    'channel_order': channel_order or usual[2],
  }


def convert(
  state: Mapping[str, np.ndarray],
  module: nn.Module,
  expected: Mapping[str, Any],
  name: str,
  *,
  new_head: bool = False,
) -> dict[str, Any]:
  """Returns a network's variables from a PyTorch state dict.

  Every array of the network must be found, with its shape, and every array of
  the file used; one error lists all that is not so. A first convolution of
  RGB images is averaged over its colours where the network reads stacked flow
  (TSN's cross-modality initialisation).

  Args:
    state: arrays by name.
    module: a `BNInception` or a `ResNet`.
    expected: its shapes (`variables.shapes`).
    name: what errors call the file.
    new_head: leave the file's last layer out and the network's random: for
      pretraining on other classes.
  Returns:
    {'params', 'batch_stats'}, float32; without 'fc' for a new head.
  Raises:
    ValueError: listing what does not fit.
    TypeError: when the module is of another class.
  """
  target = _target(module)
  found, unknown = {}, []
  for key, array in state.items():
    stem, _, leaf = _stripped(key).rpartition('.')
    if leaf in _IGNORED:
      continue
    place = target(stem, leaf)
    if place is None:
      unknown.append(key)
    elif place in found:
      raise ValueError(
        f'{name}: {key!r} and another entry both describe {"/".join(place)}; '
        'pass the state dict of one network'
      )
    else:
      found[place] = _laid_out(np.asarray(array), place)
  if unknown:
    raise ValueError(
      f'{name}: {len(unknown)} entries belong to no layer of '
      f'{type(module).__name__}: {", ".join(sorted(unknown)[:12])}'
    )
  flat = traverse_util.flatten_dict(expected)
  if new_head or getattr(module, 'num_classes', None) is None:
    found, flat = _without_head(found), _without_head(flat)
  _cross_modality(found, flat)
  result = traverse_util.unflatten_dict(found)
  variables.check(result, traverse_util.unflatten_dict(flat), name)
  return result


def _without_head(flat):
  return {key: value for key, value in flat.items() if key[1] != 'fc'}


def _target(module):
  if isinstance(module, bn_inception.BNInception):
    return _bn_inception_place
  if isinstance(module, resnet.ResNet):
    return _resnet_place
  raise TypeError(
    f'module must be a BNInception or a ResNet, got {type(module).__name__}'
  )


def _stripped(key: str) -> str:
  changed = True
  while changed:
    changed = False
    for prefix in _PREFIXES:
      if key.startswith(prefix):
        key, changed = key[len(prefix) :], True
  return key


def _bn_inception_place(stem, leaf):
  if stem in _HEADS:
    return _place(_LAYER, leaf, 'fc')
  if not re.fullmatch(r'(conv[12]|inception_\d\w)_\w+', stem):
    return None
  return _place(_NORM if stem.endswith('_bn') else _LAYER, leaf, stem)


_RESNET_LAYER = re.compile(
  r'(?:layer(?P<stage>\d)\.(?P<block>\d+)\.)?'
  r'(?P<layer>conv\d|bn\d|bn_last|downsample)(?:\.(?P<part>conv|bn|0|1))?'
)


def _resnet_place(stem, leaf):
  if stem in _HEADS:
    return _place(_LAYER, leaf, 'fc')
  match = _RESNET_LAYER.fullmatch(stem)
  if match is None:
    return None
  layer, part = match['layer'], match['part']
  is_norm = part in ('bn', '1') or layer.startswith('bn')
  if layer == 'downsample':
    layer = 'downsample_bn' if is_norm else 'downsample_conv'
  elif part == 'bn':
    # MMAction2 keeps a convolution and its normalisation together.
    layer = layer.replace('conv', 'bn')
  table = _NORM if is_norm else _LAYER
  if match['stage']:
    return _place(table, leaf, f'layer{match["stage"]}_{match["block"]}', layer)
  return _place(table, leaf, layer)


def _place(table, leaf, *names):
  if leaf not in table:
    return None
  collection, ours = table[leaf]
  return (collection, *names, ours)


def _laid_out(array, place) -> Float32[np.ndarray, '...']:
  array = array.astype(np.float32)
  if place[-1] != 'kernel':
    # Old BN-Inception files keep normalisation vectors as [1, c].
    return array.reshape(-1)
  if array.ndim == 4:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
  if array.ndim == 2:
    return np.ascontiguousarray(array.T)
  return array


def _cross_modality(found, flat):
  for place in (
    ('params', 'conv1', 'kernel'),
    ('params', 'conv1_7x7_s2', 'kernel'),
  ):
    if place not in found or place not in flat:
      continue
    kernel, channels = found[place], flat[place].shape[2]
    if kernel.ndim == 4 and kernel.shape[2] == 3 and channels != 3:
      found[place] = np.repeat(kernel.mean(2, keepdims=True), channels, 2)
