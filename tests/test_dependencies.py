"""Who may import what, imports inside functions included."""

import ast
import importlib.util
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_TENSORFLOW_HERE = ('cmsn_jax/data/input_pipeline.py', 'cmsn_jax/data/builders')

# Each room, or module, and what of ours it may import beside itself: rooms and
# modules, or all below a room. The longest name that fits a module is its room.
_CHAIN = (
  'chains/device chains/first_params chains/prediction chains/protocol '
  'chains/windowed data stages candidates scoring suppression '
  'features/backbones features/weights features/pixels features/variables '
  'files segments stage_names processes progress'
)
_MAY_IMPORT = {
  'segments': '',
  'stage_names': '',
  'sharding': '',
  'flops': '',
  'progress': '',
  'processes': '',
  'signals': '',
  'process_memory': '',
  'settings': '',
  'files': 'segments stage_names',
  'video': 'files progress',
  'annotations': 'files video segments',
  'features/pixels': '',
  'features/variables': '',
  'features/backbones': 'features/pixels features/variables',
  'features/weights': 'features/backbones features/variables files',
  'engines': '',
  'features': 'files video progress sharding engines',
  'stages': 'features/backbones segments stage_names',
  'candidates': 'segments stage_names',
  'suppression': 'segments stage_names',
  'scoring': 'segments',
  'data': 'files annotations video features/backbones stages/targets segments '
  'stage_names progress',
  'evaluation': 'files annotations segments stage_names',
  'report': 'evaluation files annotations video stages/targets '
  'suppression/calibration segments stage_names',
  'review': 'files annotations video report/palette segments progress signals',
  'chains/device': '',
  'chains/first_params': '',
  'chains/host': '',
  'chains/prediction': 'files/proposal_files chains/device',
  'chains/protocol': 'chains/prediction data',
  'chains/registry': 'chains/protocol chains/prediction',
  'chains/windowed': 'chains/device chains/prediction data',
  'chains/paper': _CHAIN,
  'chains/template': _CHAIN,
  'chains/bmn': _CHAIN,
  # Another grouping of what the paper's stage network says, which it trains.
  'chains/tag': f'{_CHAIN} chains/paper/networks chains/paper/stages_phase '
  'chains/paper/programs',
  'runs': 'chains/registry chains/protocol chains/prediction data files '
  'processes segments',
  'training': 'runs chains/registry chains/protocol chains/prediction data '
  'evaluation files report/timelines stages/targets suppression/calibration '
  'suppression/label_calibration suppression/final_list annotations/activitynet settings processes process_memory sharding '
  'progress segments signals stage_names',
  'pretraining': 'training/steps training/optimizer training/parallel '
  'training/keeping training/phase_run training/save_times training/stopping '
  'training/metric_writer training/stopping runs features video data/windows '
  'data/augmentation files/replacing progress processes',
  'proposing': 'runs chains/device chains/registry chains/protocol chains/prediction data '
  'features files annotations video suppression segments progress sharding '
  'signals engines',
  'serving': 'proposing runs chains/prediction data files annotations suppression video process_memory',
  'api': 'runs chains/registry chains/protocol chains/prediction data '
  'evaluation training proposing report settings features files annotations '
  'video suppression segments progress sharding processes engines',
}
# Imports of ours that stand inside a function: what is slow to load and not
# always needed.
_LATE = {
  # matplotlib
  ('evaluation/from_files', 'evaluation/plots'),
  ('evaluation/detection_files', 'evaluation/detection_plots'),
  # PyAV
  ('report/media', 'video/video_files'),
  ('report/media', 'video/decoding'),
  # tensorboardX, and PyTorch with it
  ('api', 'training/setup'),
  ('training/final_choices', 'training/setup'),
}
# What is optional, or slow to load and not always needed.
_LATE_LIBRARIES = (
  'cv2', 'PIL', 'matplotlib', 'IPython', 'scipy', 'python_calamine', 'jax2onnx',
  'onnxruntime', 'ray',
)  # fmt: skip
# These import, beside numpy and each other, nothing or jax alone, so that an
# exported model can bring them along.
_NUMPY_ONLY = (
  'segments', 'stage_names', 'files/replacing', 'files/json_files',
  'files/video_ids', 'files/proposal_files', 'data/sources', 'data/windows',
  'stages/targets', 'stages/decoding', 'scoring/targets',
  'scoring/context_targets', 'candidates', 'suppression',
  'evaluation/metrics', 'evaluation/diagnostics', 'evaluation/detection',
)  # fmt: skip
_NO_TRAINING_LIBRARY = (
  *_NUMPY_ONLY, 'chains/device', 'chains/host', 'chains/prediction',
  'chains/windowed', 'chains/paper/predictor', 'chains/paper/window_scores',
  'chains/template/predictor', 'chains/bmn/predictor', 'chains/tag/predictor',
  'runs/config_history', 'proposing/exported', 'proposing/jax_programs',
  'proposing/onnx_runtime',
)  # fmt: skip


# Modules that are there for one optional library, and need it to be imported.
_OPTIONAL = {
  'cmsn_jax.review.server': 'starlette',
  'cmsn_jax.review.serving': 'uvicorn',
  'cmsn_jax.serving.server': 'uvicorn',
  'cmsn_jax.serving.service': 'starlette',
}


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
    and importlib.util.find_spec(_OPTIONAL.get(_module(path), 'sys'))
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
from cmsn_jax.training import setup
from configs import custom
config = custom.get_config('smoke')
with tempfile.TemporaryDirectory() as folder:
  setup.run(config, pathlib.Path(folder), quiet=True)
print('trained')
"""
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True,
    timeout=300,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  assert 'trained' in done.stdout


def _imports(path):
  """Absolute names of what a file imports, relative imports included."""
  return {name for name, _ in _placed_imports(path)}


def _placed_imports(path):
  """(name, whether it stands inside a function)."""
  tree = ast.parse(path.read_text(encoding='utf-8'))
  late = {
    id(node)
    for function in ast.walk(tree)
    if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    for node in ast.walk(function)
  }
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      base = node.module or ''
      if node.level:
        package = _module(path).split('.')
        # A module's own name is no package of it.
        drop = node.level - (path.name == '__init__.py')
        package = package[: len(package) - drop]
        base = '.'.join([*package, *([base] if base else [])])
      names = [base, *(f'{base}.{alias.name}' for alias in node.names)]
    else:
      continue
    for name in names:
      yield name, id(node) in late


def _below(name, rooms):
  return any(name == room or name.startswith(f'{room}/') for room in rooms)


_PACKAGE = _ROOT / 'cmsn_jax'
_MODULES = {
  '/'.join(path.relative_to(_PACKAGE).with_suffix('').parts): path
  for path in sorted(_PACKAGE.rglob('*.py'))
  if path.name != '__init__.py'
}


def _ours(path):
  """(module of ours that a file imports, whether inside a function)."""
  for name, late in _placed_imports(path):
    first, _, rest = name.partition('.')
    module = rest.replace('.', '/')
    if first == 'cmsn_jax' and module in _MODULES:
      yield module, late


def _room(module):
  fitting = [room for room in _MAY_IMPORT if _below(module, [room])]
  return max(fitting, key=len, default=None)


def test_every_module_has_a_room():
  homeless = [module for module in _MODULES if _room(module) is None]
  assert not homeless, f'say in _MAY_IMPORT what {homeless} may import'


@pytest.mark.parametrize('room', _MAY_IMPORT)
def test_a_room_imports_what_it_may(room):
  allowed = f'{room} {_MAY_IMPORT[room]}'.split()
  for module, path in _MODULES.items():
    if _room(module) == room:
      for imported, _ in _ours(path):
        assert _below(imported, allowed), (
          f'{module} imports {imported}; {room} may import {allowed}'
        )


def test_no_room_imports_one_that_imports_it():
  arrows = {room: set() for room in _MAY_IMPORT}
  for module, path in _MODULES.items():
    room = _room(module)
    for imported, _ in _ours(path):
      if not _below(imported, [room]):
        arrows[room].add(_room(imported))
  left = dict(arrows)
  while left:
    ends = [r for r, to in left.items() if not (to - {r}) & left.keys()]
    assert ends, f'a circle among {sorted(left)}'
    for room in ends:
      del left[room]


def test_the_table_itself_has_no_circle():
  left = {
    room: {_room(to) or to for to in words.split()}
    for room, words in _MAY_IMPORT.items()
  }
  # A room may import itself, and its parts.
  while left:
    ends = [
      room
      for room, to in left.items()
      if not {t for t in to if t != room} & left.keys()
    ]
    assert ends, f'a circle among {sorted(left)}'
    for room in ends:
      del left[room]


def test_few_modules_lie_loose_at_the_root():
  loose = [module for module in _MODULES if '/' not in module]
  assert len(loose) <= 10, loose


@pytest.mark.parametrize(
  'path', sorted(_PACKAGE.rglob('__init__.py')), ids=_module
)
def test_init_files_re_export_nothing(path):
  for node in ast.parse(path.read_text(encoding='utf-8')).body:
    # The package's own finds its few names on demand (PEP 562).
    assert not isinstance(node, (ast.Import, ast.ImportFrom)) or (
      path.parent == _PACKAGE and isinstance(node, ast.Import)
    ), ast.unparse(node)


def test_imports_stand_at_the_top():
  for module, path in _MODULES.items():
    for imported, late in _ours(path):
      if late:
        assert (module, imported) in _LATE, f'{module}: import {imported}'
    for name, late in _placed_imports(path):
      if late and name.partition('.')[0] != 'cmsn_jax':
        top = name.partition('.')[0]
        assert top in _LATE_LIBRARIES or top in sys.stdlib_module_names, (
          f'{module} imports {name} inside a function'
        )


def test_only_the_named_files_mention_tensorflow():
  for path in _files('cmsn_jax', 'configs', 'launch'):
    found = [
      name
      for name in _imports(path)
      if name.split('.')[0] in ('tensorflow', 'tensorflow_datasets')
    ]
    assert not found or _needs_tensorflow(path), f'{path} imports {found}'


def _reached(module):
  """The module and all of ours that it imports, directly or not."""
  seen, todo = set(), [module]
  while todo:
    one = todo.pop()
    if one not in seen:
      seen.add(one)
      todo += [imported for imported, _ in _ours(_MODULES[one])]
  return seen


def _third_party(module):
  found = {name.partition('.')[0] for name in _imports(_MODULES[module])}
  return found - {'cmsn_jax', ''} - set(sys.stdlib_module_names)


@pytest.mark.parametrize('room', _NUMPY_ONLY)
def test_host_steps_need_numpy_only(room):
  modules = [module for module in _MODULES if _below(module, [room])]
  assert modules
  for module in modules:
    for reached in _reached(module):
      extra = _third_party(reached) - {'numpy', 'jaxtyping'}
      assert not extra, f'{module} → {reached} imports {extra}'


@pytest.mark.parametrize('module', _NO_TRAINING_LIBRARY)
def test_what_an_export_brings_along_needs_jax_and_numpy_only(module):
  for one in _MODULES:
    if _below(one, [module]):
      found = _third_party(one) & {
        'flax', 'optax', 'orbax', 'ml_collections', 'av', 'tensorflow',
      }  # fmt: skip
      assert not found, f'{one} imports {found}'
