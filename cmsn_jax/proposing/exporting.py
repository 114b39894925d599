"""A trained model as serialized programs with symbolic batch and time."""

import ast
import importlib.util
import json
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains import protocol, registry
from cmsn_jax.features import extractor as extractor_lib
from cmsn_jax.features import video_features
from cmsn_jax.files import replacing
from cmsn_jax.proposing import jax_programs, onnx_programs
from cmsn_jax.runs import config_record, exported_parameters
from cmsn_jax.runs import trained as trained_lib

# The package that the loader is written as.
LOADER = 'cmsn_loader'
# Format -> who writes its programs, who reads them, and what the loader needs
# beside numpy.
_FORMATS = {
  'jax': (jax_programs, 'cmsn_jax.proposing.jax_programs', 'jax'),
  'onnx': (onnx_programs, 'cmsn_jax.proposing.onnx_runtime', 'onnxruntime'),
}
FORMATS = tuple(_FORMATS)
# Where no JAX computes, arrays are numpy's.
_DEVICE, _HOST = 'cmsn_jax.chains.device', 'cmsn_jax.chains.host'

_LOADER_INIT = '''"""Runs the exported model of the folder above; needs {needs} and numpy."""

from {loader}.proposing import exported, {reader}
from {loader}.proposing.exported import ExportedModel
from {module} import {name}


def load(folder):
  """The model of a folder that launch.export wrote, of the same chain."""
  return exported.load(folder, {name}, {reader}, chain={chain!r})
'''
# What the loader's modules have in place of jaxtyping.
_SHAPES = '''"""Stands in for the names of array annotations."""


class _Any:
  def __class_getitem__(cls, item):
    return cls


'''


def write(
  trained: trained_lib.Trained, folder: pathlib.Path, form: str = 'jax'
) -> dict[str, int]:
  """Writes programs, model.json, statistics, parameters and loader.

  Args:
    trained: a run on features.
    folder: made where it is missing; what it holds of an export is replaced.
    form: of the programs, one of `FORMATS`.

  Returns:
    file name -> bytes, without the loader's.

  Raises:
    ValueError: see `programs`, and `onnx_programs.serialized`.
    ImportError: without what writes the format.
  """
  # Before the work: what the loader would need is known.
  texts = loader(trained, form)
  functions, facts = programs(trained, form)
  params = trained.predictor.params
  made = _serialized(
    {
      name: (lambda *arrays, f=one.function: f(params, *arrays), one.specs)
      for name, one in functions.items()
    },
    form,
  )
  about = trained.data | {
    'facts': facts,
    'model': trained.identity,
    'config': config_record.to_json(trained.config),
    'phase': trained.phase,
    'step': trained.step,
  }
  made['model.json'] = json.dumps(about, indent=2).encode()
  _write(folder, {name: text.encode() for name, text in texts.items()} | made)
  values = {} if trained.statistics is None else trained.statistics.arrays()
  with replacing.file(folder / 'statistics.npz', 'wb') as file:
    np.savez(file, **values)
  exported_parameters.write(folder, params)
  return {name: len(data) for name, data in made.items()}


def write_extractor(
  made: video_features.VideoFeatures, folder: pathlib.Path, form: str = 'jax'
) -> dict[str, int]:
  """Writes an extractor's program and what its frames must be into a folder.

  The program takes frames uint8 [b, t, stride, h, w, c] and valid, bool
  [b, t, stride], and gives rows float32 [b, t, dim]. Rows whose receptive field
  leaves the clip see zeros there, as `extractor.json` says: `halo_frames`.

  Args:
    made: an extractor whose crop is given.
    folder: made where it is missing; what it holds of an export is replaced.
    form: of the program, one of `FORMATS`.

  Returns:
    file name -> bytes.

  Raises:
    ValueError: of an extractor without a crop; `onnx_programs.serialized`.
    ImportError: without what writes the format.
  """
  one = made.extractor
  if not one.crop:
    raise ValueError(
      f'the extractor {one.name!r} takes frames of any size; give it a crop'
    )
  channels = extractor_lib.CHANNELS[one.modality]
  b, t = jax.export.symbolic_shape('b, t')
  specs = (
    jax.ShapeDtypeStruct((b, t, one.stride, *one.crop, channels), jnp.uint8),
    jax.ShapeDtypeStruct((b, t, one.stride), jnp.bool_),
  )

  params = jax.device_put(one.params)

  def rows(frames, valid):
    clip = frames.shape[0], frames.shape[1] * one.stride
    frames = frames.reshape(*clip, *frames.shape[3:])
    return one.apply(params, frames, valid.reshape(clip))

  found = _serialized({'extractor': (rows, specs)}, form)
  about = made.record | {'crop': one.crop, 'halo_frames': one.halo_frames}
  found['extractor.json'] = json.dumps(about, indent=2).encode()
  _write(folder, found)
  return {name: len(data) for name, data in found.items()}


def programs(
  trained: trained_lib.Trained, form: str = 'jax'
) -> protocol.Programs:
  """What a run computes, of symbolic batch, time and number of proposals.

  In ONNX in float32, whatever the run computed with: few runtimes know more.

  Raises:
    ValueError: for a model on video.
  """
  shape = trained.data['snippet_shape']
  if len(shape) != 1:
    raise ValueError(
      'only models on features can be exported, this one was trained on video: '
      'decoding and resizing are no program; train on the features of '
      'launch.extract_features'
    )
  b, t = jax.export.symbolic_shape('b, t')
  inputs = (
    jax.ShapeDtypeStruct((b, t, shape[0]), jnp.float32),
    jax.ShapeDtypeStruct((b, t), jnp.bool_),
  )
  chain, config = registry.load(trained.config.chain), trained.config
  networks = trained.predictor.networks
  if form == 'onnx' and config.train.dtype != 'float32':
    config = config.copy_and_resolve_references()
    config.train.dtype = 'float32'
    networks = chain.networks(config)
  return chain.programs(
    config,
    networks,
    trained.predictor.params,
    inputs,
    jax.export.symbolic_shape('t, n'),
  )


def loader(trained: trained_lib.Trained, form: str = 'jax') -> dict[str, str]:
  """Sources of the package `cmsn_loader` by path.

  They are `exported`, who reads the programs, the module of the chain's
  predictor, and what these import: this package's own (or those of the package
  that the chain is in), but for the names of array annotations.

  Args:
    trained: a run.
    form: of the programs, one of `FORMATS`.

  Raises:
    ValueError: where the loader of an ONNX export would need JAX.
  """
  _, reader, needs = _FORMATS[form]
  kind = type(trained.predictor)
  roots = {'cmsn_jax', kind.__module__.split('.')[0]}
  renamed = {root: _in_loader(root) for root in roots}
  found, names = {}, set()
  todo = ['cmsn_jax.proposing.exported', reader, kind.__module__]
  done = set()
  while todo:
    module = todo.pop()
    if module in done:
      continue
    done.add(module)
    text = _source(_HOST if module == _DEVICE and form == 'onnx' else module)
    if form == 'onnx' and re.search(r'^(import|from) jax\b', text, re.M):
      raise ValueError(
        f'{module} imports jax, which an ONNX export does without; its '
        "predictor's module takes arrays to the device by "
        'cmsn_jax.chains.device'
      )
    for node in ast.parse(text).body:
      if not isinstance(node, ast.ImportFrom):
        continue
      if node.module == 'jaxtyping':
        names.update(alias.name for alias in node.names)
      elif node.module.split('.')[0] in roots:
        todo += [f'{node.module}.{alias.name}' for alias in node.names]
    text = re.sub(r'^from jaxtyping import', f'from {LOADER}.shapes import',
                  text, flags=re.M)  # fmt: skip
    for root, new in renamed.items():
      text = re.sub(rf'^from {root}\b', f'from {new}', text, flags=re.M)
    path = pathlib.Path(*_moved(module, renamed).split('.')).with_suffix('.py')
    for folder in list(path.parents)[:-1]:
      found[f'{folder}/__init__.py'] = ''
    found[str(path)] = text
  found[f'{LOADER}/__init__.py'] = _LOADER_INIT.format(
    loader=LOADER,
    needs=needs,
    reader=reader.rpartition('.')[2],
    module=_moved(kind.__module__, renamed),
    name=kind.__name__,
    chain=trained.config.chain,
  )
  aliases = ' = '.join(sorted(names))
  found[f'{LOADER}/shapes.py'] = f'{_SHAPES}{aliases} = _Any\n'
  return found


def _in_loader(root):
  return LOADER if root == 'cmsn_jax' else f'{LOADER}.{root}'


def _moved(module, renamed):
  root, _, rest = module.partition('.')
  return f'{renamed[root]}.{rest}' if rest else renamed[root] + '.chain'


def _source(module):
  spec = importlib.util.find_spec(module)
  return pathlib.Path(spec.origin).read_text(encoding='utf-8')


def _serialized(
  functions: Mapping[str, tuple[Callable[..., Any], tuple]], form: str
) -> dict[str, bytes]:
  """Name -> (function of arrays, their specs), as files by name."""
  writer = _FORMATS[form][0]
  return {
    f'{name}{writer.SUFFIX}': writer.serialized(function, specs)
    for name, (function, specs) in functions.items()
  }


def _write(folder, made):
  for name, data in made.items():
    with replacing.file(folder / name, 'wb') as file:
      file.write(data)
  # An earlier export into this folder may have had another format, or an
  # evaluator.
  written = {folder / name for name in made}
  patterns = [f'*{writer.SUFFIX}' for writer, *_ in _FORMATS.values()]
  for pattern in (*patterns, f'{LOADER}/**/*.py'):
    for path in folder.glob(pattern):
      if path not in written:
        path.unlink()
