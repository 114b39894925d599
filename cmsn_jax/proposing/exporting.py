"""A trained model as serialized programs with symbolic batch and time."""

import ast
import importlib.util
import json
import os
import pathlib
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains import protocol, registry
from cmsn_jax.runs import config_record
from cmsn_jax.runs import trained as trained_lib

PLATFORMS = ('cpu', 'cuda', 'tpu')
# The package that the loader is written as.
LOADER = 'cmsn_loader'

_LOADER_INIT = '''"""Runs the exported model of the folder above; needs jax and numpy."""

from {loader}.proposing import exported
from {loader}.proposing.exported import ExportedModel
from {module} import {name}


def load(folder):
  """The model of a folder that launch.export wrote, of the same chain."""
  return exported.load(folder, {name}, chain={chain!r})
'''
# What the loader's modules have in place of jaxtyping.
_SHAPES = '''"""Stands in for the names of array annotations."""


class _Any:
  def __class_getitem__(cls, item):
    return cls


'''


def write(trained: trained_lib.Trained, folder: pathlib.Path) -> dict[str, int]:
  """Writes programs, model.json, statistics and loader into a folder.

  Args:
    trained: a run on features.
    folder: made where it is missing; what it holds of an export is replaced.

  Returns:
    file name -> bytes, without the loader's.

  Raises:
    ValueError: see `programs`.
  """
  functions, facts = programs(trained)
  made = {
    f'{name}.jaxexport': bytes(_serialized(one, trained.predictor.params))
    for name, one in functions.items()
  }
  about = trained.data | {
    'facts': facts,
    'model': trained.identity,
    'config': config_record.to_json(trained.config),
  }
  made['model.json'] = json.dumps(about, indent=2).encode()
  texts = {name: text.encode() for name, text in loader(trained).items()}
  for name, data in (texts | made).items():
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'{target.name}.tmp')
    temporary.write_bytes(data)
    os.replace(temporary, target)
  # An earlier export into this folder may have had an evaluator.
  for path in folder.glob('*.jaxexport'):
    if path.name not in made:
      path.unlink()
  values = {} if trained.statistics is None else trained.statistics.arrays()
  temporary = folder / 'statistics.tmp.npz'
  np.savez(temporary, **values)
  os.replace(temporary, folder / 'statistics.npz')
  return {name: len(data) for name, data in made.items()}


def programs(trained: trained_lib.Trained) -> protocol.Programs:
  """What a run computes, of symbolic batch, time and number of proposals.

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
  return registry.load(trained.config.chain).programs(
    trained.config,
    trained.predictor.networks,
    trained.predictor.params,
    inputs,
    jax.export.symbolic_shape('t, n'),
  )


def loader(trained: trained_lib.Trained) -> dict[str, str]:
  """Sources of the package `cmsn_loader` by path.

  They are `exported`, the module of the chain's predictor, and what these
  import: this package's own (or those of the package that the chain is in), but
  for the names of array annotations.
  """
  kind = type(trained.predictor)
  roots = {'cmsn_jax', kind.__module__.split('.')[0]}
  renamed = {root: _in_loader(root) for root in roots}
  found, names = {}, set()
  todo = ['cmsn_jax.proposing.exported', kind.__module__]
  done = set()
  while todo:
    module = todo.pop()
    if module in done:
      continue
    done.add(module)
    text = _source(module)
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


def _serialized(program, params):
  function = lambda *arrays: program.function(params, *arrays)
  export = jax.export.export(jax.jit(function), platforms=PLATFORMS)
  return export(*program.specs).serialize()
