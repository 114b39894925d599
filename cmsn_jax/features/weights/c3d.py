"""C3D checkpoints of the common layouts → C3D's parameter tree."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import (
  caffe,
  caffe_files,
  folders,
  state_dicts,
)  # fmt: skip
from cmsn_jax.files import torch_files

# Names around a network's own, in any number.
_PREFIX = r'(?:(?:module|model|net|encoder|backbone|base_model|c3d)\.)*'
_LEAVES = (('weight', 'kernel'), ('bias', 'bias'))
# fc6 to fc8 and heads trained in their place: not part of the feature
# extractor.
_IGNORED = state_dicts.Rule(
  _PREFIX
  + r'(?:fc?[678](?:[-_]\w+)*|fc_?cls|fc|linear|classifier(?:\.\d+)?|'
  + r'cls_head\.fc_cls)\.(?:weight|bias)',
  None,
)


@dataclasses.dataclass(frozen=True)
class Layout:
  """How a kind of C3D checkpoint names layers and wants its frames.

  The frame values are what the publishers of this layout use; a file trained
  otherwise needs its own.
  """

  name: str
  rules: tuple[state_dicts.Rule, ...]
  channel_order: str
  mean: tuple[float, float, float]


def layout_of(state: Mapping[str, np.ndarray], name: str) -> Layout:
  """Recognises which of the common C3D layouts a state dict has.

  Known: `features.0.weight` (numbered like the layers of a sequence),
  `conv1.weight` ... `conv5b.weight` (or conv1a, conv2a), and
  `backbone.conv1a.conv.weight` of MMAction2; prefixes such as `module.` do not
  matter.

  Args:
    state: arrays by name.
    name: what errors call it.
  Raises:
    ValueError: it is none of them; lists the names found.
  """
  numbers = [
    int(match[1])
    for key, array in state.items()
    if (match := re.fullmatch(_PREFIX + r'features\.(\d+)\.weight', key))
    and np.ndim(array) == 5
  ]
  if numbers:
    return _numbered_layout(sorted(numbers))
  mmaction = any(
    re.fullmatch(_PREFIX + r'conv\d[ab]\.conv\.weight', key) for key in state
  )
  if mmaction:
    rules = _named_rules(r'\.conv')
    return Layout('backbone.conv1a.conv', rules, 'rgb', (104.0, 117.0, 128.0))
  if any(re.fullmatch(_PREFIX + r'conv1a?\.weight', key) for key in state):
    return Layout('conv1', _named_rules(''), 'bgr', (90.0, 98.0, 102.0))
  raise ValueError(
    f'{name} is no C3D checkpoint of a known layout (conv1.weight, '
    'features.0.weight or backbone.conv1a.conv.weight); its names begin with '
    f'{list(state)[:8]}'
  )


def _named_rules(suffix):
  rules = [_IGNORED]
  for layer in c3d.LAYERS:
    # conv1 and conv2 have one layer, so that many files leave the 'a' out.
    theirs = layer[:-1] + 'a?' if layer in ('conv1a', 'conv2a') else layer
    for leaf, ours in _LEAVES:
      pattern = f'{_PREFIX}{theirs}{suffix}\\.{leaf}'
      rules.append(state_dicts.Rule(pattern, f'{layer}/{ours}'))
  return tuple(rules)


def _numbered_layout(numbers):
  rules = [_IGNORED]
  for number, layer in zip(numbers, c3d.LAYERS):
    for leaf, ours in _LEAVES:
      pattern = f'{_PREFIX}features\\.{number}\\.{leaf}'
      rules.append(state_dicts.Rule(pattern, f'{layer}/{ours}'))
  return Layout('features', tuple(rules), 'bgr', (90.0, 98.0, 102.0))


def template(widths: Sequence[int] = c3d.WIDTHS) -> dict[str, Any]:
  """Returns C3D's parameter tree with empty arrays' shapes."""
  tree, last = {}, 3
  for (names, _), width in zip(c3d.BLOCKS, widths, strict=True):
    for name in names:
      kernel = np.broadcast_to(np.float32(0), (3, 3, 3, last, width))
      bias = np.broadcast_to(np.float32(0), (width,))
      tree[name], last = {'kernel': kernel, 'bias': bias}, width
  return tree


def convert(
  path: str | os.PathLike,
  *,
  widths: Sequence[int] = c3d.WIDTHS,
  channel_order: str | None = None,
  mean: Sequence[float] | None = None,
  scale: Sequence[float] = (1.0, 1.0, 1.0),
) -> folders.Weights:
  """Reads a C3D checkpoint.

  Args:
    path: the checkpoint, PyTorch's or Caffe's.
    widths: output channels of the five blocks.
    channel_order: 'rgb' or 'bgr'; None: what the file's layout is used with.
    mean: subtracted from values 0 to 255 in that order; None: likewise.
    scale: multiplied afterwards.
  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file cannot be read or does not fit.
  """
  if caffe_files.is_caffe(path):
    state = caffe.c3d_state(path)
  else:
    state = torch_files.read(path)
  layout = layout_of(state, str(path))
  params, ignored = state_dicts.map_parameters(
    state, template(widths), layout.rules, name=str(path)
  )
  description = {
    'backbone': 'c3d',
    'layout': layout.name,
    'widths': list(widths),
    'channel_order': channel_order or layout.channel_order,
    'mean': list(layout.mean if mean is None else mean),
    'scale': list(scale),
    'frame_size': [128, 171],
    'crop': [112, 112],
    'source': pathlib.Path(path).name,
    'source_sha256': folders.sha256(path),
    'ignored': list(ignored),
  }
  return folders.Weights(params, description)
