"""Other frameworks' checkpoints -> parameter trees, and our weight folders.

A weight folder holds `weights.npz` (arrays by path, `conv1a/kernel`) and
`weights.json`, its description: backbone, widths, channel order, mean, scale,
where it came from, and the checksum of the arrays.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util
from jaxtyping import Shaped

from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import caffe, caffe_files, torch_files
from cmsn_jax.files import replacing

_ARRAYS = 'weights.npz'
_DESCRIPTION = 'weights.json'
_VERSION = 1

# PyTorch's axes -> ours, by number of axes: Conv3d, Conv2d, Conv1d, Linear.
_AXES = {5: (2, 3, 4, 1, 0), 4: (2, 3, 1, 0), 3: (2, 1, 0), 2: (1, 0)}


def read_state_dict(
  path: str | os.PathLike,
) -> dict[str, Shaped[np.ndarray, '...']]:
  """Returns a PyTorch checkpoint's arrays by name; see `torch_files.read`."""
  return torch_files.read(path)


@dataclasses.dataclass(frozen=True)
class Rule:
  """Where entries of a state dict go.

  Attributes:
    pattern: regular expression of the whole name.
    target: path in the tree with `/`; may use the pattern's groups as in
      `re.Match.expand`. None: the entry is left out on purpose.
  """

  pattern: str
  target: str | None


def map_parameters(
  state: Mapping[str, np.ndarray],
  template: Mapping[str, Any],
  rules: Sequence[Rule],
  *,
  name: str,
) -> tuple[dict[str, Any], tuple[str, ...]]:
  """Returns a parameter tree made of a state dict, every entry accounted for.

  Arrays whose path ends in `kernel` are transposed from PyTorch's axes (output
  first) to ours (output last).

  Args:
    state: arrays by name, in PyTorch's layout.
    template: tree of anything with a `shape`, in our layout.
    rules: the first one whose pattern matches an entry's name decides.
    name: what errors call the state dict.
  Returns:
    (tree of float32 arrays with the template's structure, names of the entries
    that a rule left out).
  Raises:
    ValueError: listing every missing, unknown, doubly given, misshapen or
      non-finite array.
  """
  wanted = traverse_util.flatten_dict(dict(template), sep='/')
  found, ignored, problems, sources = {}, [], [], {}
  for key, array in state.items():
    known, target = _apply_rules(key, rules)
    if known and target is None:
      ignored.append(key)
    elif not known or target not in wanted:
      problems.append(f'unknown: {key} {tuple(array.shape)}')
    elif target in found:
      problems.append(f'given twice: {target} by {sources[target]} and {key}')
    else:
      found[target] = _to_our_axes(target, array)
      sources[target] = key
      problems += _array_problems(
        target, key, found[target], wanted[target].shape
      )
  for target in wanted:
    if target not in found:
      shape = tuple(wanted[target].shape)
      problems.append(f'missing: {target} {shape}')
  if problems:
    raise ValueError(
      f'{name} does not fit the network, {len(problems)} problems:\n  '
      + '\n  '.join(problems)
    )
  ordered = {target: found[target] for target in wanted}
  return traverse_util.unflatten_dict(ordered, sep='/'), tuple(ignored)


def _apply_rules(key, rules):
  """Returns (whether a rule matches, the target it gives)."""
  for rule in rules:
    match = re.fullmatch(rule.pattern, key)
    if match:
      return True, rule.target and match.expand(rule.target)
  return False, None


def _to_our_axes(target, array):
  array = np.asarray(array)
  if target.rsplit('/', 1)[-1] == 'kernel' and array.ndim in _AXES:
    array = array.transpose(_AXES[array.ndim])
  return np.ascontiguousarray(array, np.float32)


def _array_problems(target, key, array, shape):
  if array.shape != tuple(shape):
    return [
      f'wrong shape: {key} becomes {target} {array.shape}, expected '
      f'{tuple(shape)}'
    ]
  if not np.isfinite(array).all():
    return [f'not finite: {key} holds NaN or infinity']
  return []


# Names around a network's own, in any number.
_PREFIX = r'(?:(?:module|model|net|encoder|backbone|base_model|c3d)\.)*'
_LEAVES = (('weight', 'kernel'), ('bias', 'bias'))
# fc6 to fc8 and heads trained in their place: not part of the feature
# extractor.
_C3D_IGNORED = Rule(
  _PREFIX
  + r'(?:fc?[678](?:[-_]\w+)*|fc_?cls|fc|linear|classifier(?:\.\d+)?|'
  + r'cls_head\.fc_cls)\.(?:weight|bias)',
  None,
)


@dataclasses.dataclass(frozen=True)
class C3DLayout:
  """How a kind of C3D checkpoint names layers and wants its frames.

  The frame values are what the publishers of this layout use; a file trained
  otherwise needs its own.
  """

  name: str
  rules: tuple[Rule, ...]
  channel_order: str
  mean: tuple[float, float, float]


def c3d_layout(state: Mapping[str, np.ndarray], name: str) -> C3DLayout:
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
    return C3DLayout(
      'backbone.conv1a.conv', rules, 'rgb', (104.0, 117.0, 128.0)
    )
  if any(re.fullmatch(_PREFIX + r'conv1a?\.weight', key) for key in state):
    return C3DLayout('conv1', _named_rules(''), 'bgr', (90.0, 98.0, 102.0))
  raise ValueError(
    f'{name} is no C3D checkpoint of a known layout (conv1.weight, '
    'features.0.weight or backbone.conv1a.conv.weight); its names begin with '
    f'{list(state)[:8]}'
  )


def _named_rules(suffix):
  rules = [_C3D_IGNORED]
  for layer in c3d.LAYERS:
    # conv1 and conv2 have one layer, so that many files leave the 'a' out.
    theirs = layer[:-1] + 'a?' if layer in ('conv1a', 'conv2a') else layer
    for leaf, ours in _LEAVES:
      pattern = f'{_PREFIX}{theirs}{suffix}\\.{leaf}'
      rules.append(Rule(pattern, f'{layer}/{ours}'))
  return tuple(rules)


def _numbered_layout(numbers):
  rules = [_C3D_IGNORED]
  for number, layer in zip(numbers, c3d.LAYERS):
    for leaf, ours in _LEAVES:
      pattern = f'{_PREFIX}features\\.{number}\\.{leaf}'
      rules.append(Rule(pattern, f'{layer}/{ours}'))
  return C3DLayout('features', tuple(rules), 'bgr', (90.0, 98.0, 102.0))


def c3d_template(widths: Sequence[int] = c3d.WIDTHS) -> dict[str, Any]:
  """Returns C3D's parameter tree with empty arrays' shapes."""
  template, last = {}, 3
  for (names, _), width in zip(c3d.BLOCKS, widths, strict=True):
    for name in names:
      kernel = np.broadcast_to(np.float32(0), (3, 3, 3, last, width))
      bias = np.broadcast_to(np.float32(0), (width,))
      template[name], last = {'kernel': kernel, 'bias': bias}, width
  return template


@dataclasses.dataclass(frozen=True)
class Weights:
  """What a weight folder holds.

  Attributes:
    params: parameter tree of the extractor, float32.
    description: the content of weights.json.
  """

  params: dict[str, Any]
  description: dict[str, Any]


def convert_c3d(
  path: str | os.PathLike,
  *,
  widths: Sequence[int] = c3d.WIDTHS,
  channel_order: str | None = None,
  mean: Sequence[float] | None = None,
  scale: Sequence[float] = (1.0, 1.0, 1.0),
) -> Weights:
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
    state = read_state_dict(path)
  layout = c3d_layout(state, str(path))
  params, ignored = map_parameters(
    state, c3d_template(widths), layout.rules, name=str(path)
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
    'source_sha256': sha256(path),
    'ignored': list(ignored),
  }
  return Weights(params, description)


def sha256(path: str | os.PathLike) -> str:
  """Returns a file's SHA-256 as hexadecimal text."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def save(folder: str | os.PathLike, weights: Weights) -> None:
  """Writes a weight folder; a reader never sees half of it as valid."""
  folder = pathlib.Path(folder)
  flat = traverse_util.flatten_dict(weights.params, sep='/')
  flat = {key: np.asarray(array, np.float32) for key, array in flat.items()}
  # The order is important: the arrays take their place first, and until the
  # description has taken its own, the checksum tells that they do not belong.
  with (
    replacing.path(folder / _DESCRIPTION) as text,
    replacing.path(folder / _ARRAYS) as arrays,
  ):
    with open(arrays, 'wb') as file:
      np.savez(file, **flat)
    description = {
      'version': _VERSION,
      **weights.description,
      'arrays': {key: list(array.shape) for key, array in flat.items()},
      'arrays_sha256': sha256(arrays),
    }
    pathlib.Path(text).write_text(json.dumps(description, indent=2) + '\n')


def load(folder: str | os.PathLike) -> Weights:
  """Reads a weight folder written by `save`.

  Raises:
    FileNotFoundError: there is no such folder or file.
    ValueError: it is damaged, or its two files do not belong together.
  """
  folder = pathlib.Path(folder)
  for name in (_DESCRIPTION, _ARRAYS):
    if not (folder / name).is_file():
      raise FileNotFoundError(
        f'{folder} is no weight folder: {name} is missing; make one with '
        'python -m launch.convert_weights or launch.pretrain'
      )
  try:
    description = json.loads((folder / _DESCRIPTION).read_text())
    version, checksum = description['version'], description['arrays_sha256']
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{folder / _DESCRIPTION} is no description of weights ({error!r})'
    ) from error
  if version != _VERSION:
    raise ValueError(
      f'{folder / _DESCRIPTION} has version {version!r}, expected {_VERSION}; '
      'convert the weights again'
    )
  if sha256(folder / _ARRAYS) != checksum:
    raise ValueError(
      f'{folder / _ARRAYS} does not have the checksum in {_DESCRIPTION}: it is '
      'damaged or belongs to other weights; convert or copy it again'
    )
  try:
    with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
      flat = {key: arrays[key] for key in arrays.files}
  except (ValueError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(f'{folder / _ARRAYS} is damaged ({error})') from error
  return Weights(traverse_util.unflatten_dict(flat, sep='/'), description)
