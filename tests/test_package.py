"""What `pip install` brings: pyproject.toml is held to the folders and files."""

import ast
import importlib
import pathlib
import re
import subprocess
import tomllib

import pytest
from packaging import requirements

from cmsn_jax.features.weights import i3d

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PYPROJECT = tomllib.loads((_ROOT / 'pyproject.toml').read_text())
_SETUPTOOLS = _PYPROJECT['tool']['setuptools']
_DYNAMIC = _SETUPTOOLS['dynamic']
_EXTRAS = {
  name: value['file']
  for name, value in _DYNAMIC['optional-dependencies'].items()
}


def _requirements(name):
  lines = (_ROOT / name).read_text().splitlines()
  lines = [line.partition('#')[0].strip() for line in lines]
  # Fails on options such as -r, which a package's metadata cannot hold.
  return [requirements.Requirement(line) for line in lines if line]


def test_packages_are_the_folders():
  folders = {
    '.'.join(path.parent.relative_to(_ROOT).parts)
    for path in (_ROOT / 'cmsn_jax').rglob('*.py')
  }
  expected = sorted(folders | {'cmsn_jax.configs', 'cmsn_jax.launch'})
  assert _SETUPTOOLS['packages'] == expected
  for package in expected:
    folder = _SETUPTOOLS['package-dir'].get(package, package.replace('.', '/'))
    assert (_ROOT / folder / '__init__.py').is_file(), folder


def test_one_top_level_name_is_installed():
  assert {x.split('.')[0] for x in _SETUPTOOLS['packages']} == {'cmsn_jax'}
  assert 'py-modules' not in _SETUPTOOLS


def test_nothing_stray_or_large_is_kept():
  # Videos of a trial, 90 MB, once came in with `git add -A`.
  listed = subprocess.run(
    ['git', 'ls-files', '-z'], cwd=_ROOT, capture_output=True, text=True
  )
  if listed.returncode:
    pytest.skip('not a git checkout')
  paths = [pathlib.Path(name) for name in listed.stdout.split('\0') if name]
  loose = {path.suffix for path in paths if len(path.parts) == 1}
  assert loose == {'', '.md', '.toml', '.txt'}
  here = [_ROOT / path for path in paths if (_ROOT / path).is_file()]
  assert [path for path in here if path.stat().st_size > 1_000_000] == []


def test_all_that_is_no_python_is_package_data():
  packed = {
    path
    for package, patterns in _SETUPTOOLS['package-data'].items()
    for pattern in patterns
    for path in (_ROOT / package.replace('.', '/')).glob(pattern)
  }
  found = {
    path
    for path in (_ROOT / 'cmsn_jax').rglob('*')
    if path.is_file() and path.suffix not in ('.py', '.pyc')
  }
  assert found == packed


def test_extras_are_the_requirements_files():
  files = {path.name for path in _ROOT.glob('requirements*.txt')}
  # Wanted without its own dependencies, which an extra cannot say.
  files.remove('requirements-i3d.txt')
  assert _DYNAMIC['dependencies'] == {'file': ['requirements.txt']}
  assert _EXTRAS == {
    name.removeprefix('requirements-').removesuffix('.txt'): [name]
    for name in files - {'requirements.txt'}
  }
  assert set(_EXTRAS) == {
    'tf', 'flow', 'torch', 'test', 'formats', 'review', 'cuda12', 'cuda13', 'tpu',
    'onnx', 'ray', 'serve',
  }  # fmt: skip


def test_a_range_that_stands_twice_is_the_same():
  seen = {}
  for path in sorted(_ROOT.glob('requirements*.txt')):
    for found in _requirements(path.name):
      if found.specifier:
        own = str(found.specifier)
        assert seen.setdefault(found.name, own) == own, path.name
  (pinned,) = _requirements('requirements-i3d.txt')
  assert str(pinned) == i3d.REQUIREMENT


@pytest.mark.parametrize('extra', ['cuda12', 'cuda13', 'tpu'])
def test_accelerators_take_jax_s_own_extra_in_our_range(extra):
  (found,) = _requirements(f'requirements-{extra}.txt')
  assert (found.name, found.extras, str(found.specifier)) == (
    'jax', {extra}, '',
  )  # fmt: skip
  (jax,) = [x for x in _requirements('requirements.txt') if x.name == 'jax']
  # They compute wrong results; see requirements.txt.
  assert not jax.specifier.contains('0.10.2')
  assert not jax.specifier.contains('0.11.0')
  assert jax.specifier.contains('0.10.1')


def test_the_command_exists():
  ((name, target),) = _PYPROJECT['project']['scripts'].items()
  module, _, function = target.partition(':')
  assert (name, module.split('.')[:2]) == ('cmsn', ['cmsn_jax', 'launch'])
  here = importlib.import_module(module.removeprefix('cmsn_jax.'))
  assert callable(getattr(here, function))


def test_version_is_read_without_running_the_package():
  assert _DYNAMIC['version'] == {'attr': 'cmsn_jax.__version__'}
  source = (_ROOT / 'cmsn_jax' / '__init__.py').read_text()
  assert re.search(r"^__version__ = '\d+\.\d+\.\d+'$", source, re.M)


def _absolute_imports(path):
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
      yield node.module


def test_nothing_installed_imports_a_name_that_a_checkout_has_only():
  for package in _SETUPTOOLS['packages']:
    folder = _SETUPTOOLS['package-dir'].get(package, package.replace('.', '/'))
    for path in (_ROOT / folder).glob('*.py'):
      found = {name.split('.')[0] for name in _absolute_imports(path)}
      assert not found & {'launch', 'configs', 'tests'}, path


def test_configs_import_by_whole_names():
  """A config file is loaded by its path, outside of any package."""
  for path in (_ROOT / 'configs').glob('*.py'):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    for node in ast.walk(tree):
      assert not (isinstance(node, ast.ImportFrom) and node.level), path
