"""Only the input pipeline and the builders may import TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_TENSORFLOW_HERE = ('cmsn_jax/data/input_pipeline.py', 'cmsn_jax/data/builders')
_NUMPY_ONLY = (
  'segments', 'candidates.runs', 'suppression.nms', 'evaluation.metrics',
  'stages.targets', 'scoring.targets',
)  # fmt: skip


def _files(*folders):
  return [
    path
    for folder in folders
    for path in sorted((_ROOT / folder).rglob('*.py'))
  ]


def _module(path):
  parts = path.relative_to(_ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def _needs_tensorflow(path):
  return str(path.relative_to(_ROOT)).startswith(_TENSORFLOW_HERE)


@pytest.mark.slow
def test_everything_else_imports_and_runs_with_tensorflow_blocked():
  modules = [
    _module(path)
    for path in _files('cmsn_jax', 'configs', 'launch')
    if not _needs_tensorflow(path)
  ]
  code = f"""
import sys
for name in ('tensorflow', 'tensorflow_datasets'):
  sys.modules[name] = None  # As if it were not installed.
import importlib
from absl import flags
for name in {modules!r}:
  if name.startswith('launch.'):
    flags.FLAGS._flags().clear()  # Commands may share names of flags.
  importlib.import_module(name)
import pathlib, tempfile
from cmsn_jax.data import training_data
from cmsn_jax.training import derive, loop
from configs import custom
config = custom.get_config('smoke')
with tempfile.TemporaryDirectory() as folder:
  workdir = pathlib.Path(folder)
  data = training_data.open_data(config, workdir)
  loop.train_and_evaluate(
    derive.derive(config, data), workdir, data, quiet=True)
print('trained')
"""
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True,
    timeout=300,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  assert 'trained' in done.stdout


def _imports(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      yield node.module
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def test_only_the_named_files_mention_tensorflow():
  for path in _files('cmsn_jax', 'configs', 'launch'):
    found = [
      name
      for name in _imports(path)
      if name.split('.')[0] in ('tensorflow', 'tensorflow_datasets')
    ]
    assert not found or _needs_tensorflow(path), f'{path} imports {found}'


@pytest.mark.parametrize('name', _NUMPY_ONLY)
def test_host_steps_import_numpy_and_segments_only(name):
  path = _ROOT / 'cmsn_jax' / (name.replace('.', '/') + '.py')
  for found in _imports(path):
    top = found.split('.')[0]
    assert top not in ('jax', 'flax', 'optax', 'tensorflow'), (path, found)
    if found.startswith('cmsn_jax.'):
      assert found.split('.')[1] in (
        'segments', 'suppression', 'stages', 'stage_names',
      ), found  # fmt: skip


@pytest.mark.parametrize('folder', ['features', 'stages', 'scoring'])
def test_models_import_no_data_training_or_configs(folder):
  for path in _files(f'cmsn_jax/{folder}'):
    for found in _imports(path):
      assert not found.startswith(
        ('cmsn_jax.data', 'cmsn_jax.training', 'configs', 'launch')
      ), f'{path} imports {found}'
