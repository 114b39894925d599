"""A trained model as serialized programs with symbolic batch and time."""

import ast
import json
import os
import pathlib
import re
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from cmsn_jax.runs import folder as run_folder

PLATFORMS = ('cpu', 'cuda', 'tpu')
# The package that the loader is written as.
LOADER = 'cmsn_loader'

# Stitched videos have candidates of any length; bins of up to 2^15 - 1 snippets
# are hours at any rate.
_LEVELS = 15
_ROOT = pathlib.Path(__file__).resolve().parents[1]
_LOADER_INIT = f'''"""Runs the exported model of the folder above; needs jax and numpy."""

from {LOADER}.proposing.exported import ExportedModel, load
'''
# What the loader's modules have in place of jaxtyping.
_SHAPES = '''"""Stands in for the names of array annotations."""


class _Any:
  def __class_getitem__(cls, item):
    return cls


'''


def write(trained, folder: pathlib.Path) -> dict[str, int]:
  """Writes programs, model.json, statistics and loader into a folder.

  Args:
    trained: a `corpus.Trained` on features.
    folder: made where it is missing; what it holds of an export is replaced.

  Returns:
    file name -> bytes, without the loader's.

  Raises:
    ValueError: see `programs`.
  """
  made = {f'{k}.jaxexport': bytes(v) for k, v in programs(trained).items()}
  about = trained.data | description(trained)
  about |= {
    'model': trained.identity,
    'config': run_folder.to_json(trained.config),
  }
  made['model.json'] = json.dumps(about, indent=2).encode()
  texts = {name: text.encode() for name, text in loader().items()}
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


def programs(trained) -> dict[str, bytearray]:
  """The model's functions, their parameters inside, serialized.

  Args:
    trained: a `corpus.Trained` on features.

  Returns:
    With the generator 'stage_runs': 'stages': features [b, t, d], mask [b, t]
    -> probabilities [b, t, 6], hidden [b, t, c]; 'evaluator', if there is one:
    hidden [t, c], starts [n], ends [n] -> scores [n].
    With 'stage_template', all members inside: 'stages': features [b, t, d],
    mask [b, t] -> [m, b, t, c], the last six of them probabilities;
    'evaluator': [m, t, c], segments [n, 2] -> P(tIoU >= threshold) [n, 10],
    border offsets [n, 2].

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
  if trained.config.proposals.generator == 'stage_template':
    return _template_programs(trained, shape[0])
  params, model = trained.predictor.params, trained.predictor.model
  features, mask = _windows(shape[0])
  found = {
    'stages': _serialized(
      lambda x, mask: tuple(model.stage_scores(params['stages'], x, mask)),
      features,
      mask,
    )
  }
  if 'evaluator' in params:
    t, n = jax.export.symbolic_shape('t, n')
    levels = _levels(trained.config)
    hidden = (t, trained.config.stages.width)
    found['evaluator'] = _serialized(
      lambda hidden, starts, ends: model.proposal_scores(
        params['evaluator'], hidden, starts, ends, levels
      ),
      jax.ShapeDtypeStruct(hidden, jnp.float32),
      jax.ShapeDtypeStruct((n,), jnp.int32),
      jax.ShapeDtypeStruct((n,), jnp.int32),
    )
  return found


def description(trained) -> dict[str, Any]:
  """What the loader must know, beside what the run's data are."""
  config = trained.config
  if config.proposals.generator == 'stage_template':
    return {'reach': trained.predictor.members.reach}
  bins = config.evaluator.roi_bins
  return {'max_snippets': bins * (2 ** _levels(config) - 2)}


def loader() -> dict[str, str]:
  """Sources of the package `cmsn_loader` by path: `exported` and its imports.

  They are this package's own, but for the names of array annotations.
  """
  found, names = {f'{LOADER}/__init__.py': _LOADER_INIT}, set()
  todo = ['proposing/exported.py']
  while todo:
    path = todo.pop()
    target = f'{LOADER}/{path}'
    if target in found:
      continue
    text = (_ROOT / path).read_text(encoding='utf-8')
    for folder in list(pathlib.Path(path).parents)[:-1]:
      found[f'{LOADER}/{folder}/__init__.py'] = ''
    for node in ast.parse(text).body:
      if not isinstance(node, ast.ImportFrom):
        continue
      if node.module == 'jaxtyping':
        names.update(alias.name for alias in node.names)
      elif node.module.split('.')[0] == _ROOT.name:
        folder = '/'.join(node.module.split('.')[1:])
        todo += [str(pathlib.Path(folder, f'{a.name}.py')) for a in node.names]
    text = re.sub(r'^from jaxtyping import', f'from {LOADER}.shapes import',
                  text, flags=re.M)  # fmt: skip
    found[target] = re.sub(
      rf'^from {_ROOT.name}\b', f'from {LOADER}', text, flags=re.M
    )
  aliases = ' = '.join(sorted(names))
  found[f'{LOADER}/shapes.py'] = f'{_SHAPES}{aliases} = _Any\n'
  return found


def _template_programs(trained, width):
  params, members = trained.predictor.params['joint'], trained.predictor.members
  features, mask = _windows(width)
  encode = lambda x, mask: members.encode(params, x, mask)
  pooled = jax.eval_shape(encode, *_windows(width, 1, 64)).shape
  t, n = jax.export.symbolic_shape('t, n')
  return {
    'stages': _serialized(encode, features, mask),
    'evaluator': _serialized(
      lambda pooled, segments: members.evaluate(params, pooled, segments),
      jax.ShapeDtypeStruct((pooled[0], t, pooled[3]), jnp.float32),
      jax.ShapeDtypeStruct((n, 2), jnp.float32),
    ),
  }


def _windows(width, *sizes):
  b, t = sizes or jax.export.symbolic_shape('b, t')
  return (
    jax.ShapeDtypeStruct((b, t, width), jnp.float32),
    jax.ShapeDtypeStruct((b, t), jnp.bool_),
  )


def _levels(config):
  """Of the table of RoI pooling: candidates lie in a window, or anywhere."""
  if config.proposals.stitch == 'average':
    return _LEVELS
  longest = -(-config.windows.length // config.evaluator.roi_bins) + 1
  return min(longest, config.windows.length).bit_length()


def _serialized(function, *specs):
  export = jax.export.export(jax.jit(function), platforms=PLATFORMS)
  return export(*specs).serialize()
