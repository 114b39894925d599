"""`cmsn COMMAND`: finds, lists and runs the commands, installed or not."""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

import pytest

import cmsn_jax
from launch import __main__ as cmsn

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_COMMANDS = {
  path.stem
  for path in (_ROOT / 'launch').glob('*.py')
  if 'cli.run(main)' in path.read_text()
}


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """A folder that holds what a wheel installs, by pyproject's lists."""
  folder = tmp_path_factory.mktemp('site')
  settings = tomllib.loads((_ROOT / 'pyproject.toml').read_text())
  settings = settings['tool']['setuptools']
  for package in settings['packages']:
    source = settings['package-dir'].get(package, package.replace('.', '/'))
    target = folder / package.replace('.', '/')
    target.mkdir(parents=True)
    for path in (_ROOT / source).glob('*.py'):
      shutil.copy(path, target)
  return folder


def _call(site, *words, cwd, status=0):
  package = 'launch' if site == _ROOT else 'cmsn_jax.launch'
  done = subprocess.run(
    [sys.executable, '-m', package, *words],
    cwd=cwd, capture_output=True, text=True, timeout=300,
    env=os.environ | {'PYTHONPATH': str(site)},
  )  # fmt: skip
  assert done.returncode == status, (done.stdout + done.stderr)[-3000:]
  return done


def test_every_command_is_listed_with_a_line(capsys, monkeypatch):
  for words in ([], ['--help'], ['-h'], ['help']):
    monkeypatch.setattr(sys, 'argv', ['cmsn', *words])
    assert cmsn.main() == 0
    lines = capsys.readouterr().out.splitlines()
    found = dict(x.split(maxsplit=1) for x in lines if x.startswith('  '))
    assert set(found) == _COMMANDS
    assert found['pretrain'] == (
      'Trains the feature extractor as a classifier of clips, as on UCF-101.'
    )
    # One line each, in whole.
    assert all(line[-1] in '.?' for line in found.values()), found


def test_version(capsys, monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['cmsn', '--version'])
  assert cmsn.main() == 0
  assert capsys.readouterr().out == f'cmsn {cmsn_jax.__version__}\n'


@pytest.mark.parametrize(
  ('name', 'hint'),
  [
    ('tarin', "did you mean 'train'?"),
    ('extract-features', "did you mean 'extract_features'?"),
    ('zzz', '`cmsn` lists them'),
    # Modules, but no commands.
    ('cli', "did you mean 'clips'?"),
    ('benchmarks', "did you mean 'benchmark'?"),
    ('../launch/train', ''),
  ],
)
def test_an_unknown_command_ends_with_2(capsys, monkeypatch, name, hint):
  monkeypatch.setattr(sys, 'argv', ['cmsn', name, '--flag=1'])
  assert cmsn.main() == 2
  found = capsys.readouterr()
  assert found.out == ''
  assert f'no command {name!r}; {hint}' in found.err


def test_only_the_named_command_is_imported():
  code = (
    'import sys\n'
    'from launch import __main__ as cmsn\n'
    'assert not [x for x in sys.modules if x.startswith("launch.")][1:]\n'
    'sys.argv = ["cmsn", "label_statistics", "--help"]\n'
    'try:\n'
    '  cmsn.main()\n'
    'finally:\n'
    '  print("modules", *(x for x in sys.modules if x[:7] == "launch."))\n'
    '  print("heavy", *({"jax", "numpy"} & set(sys.modules)))\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=_ROOT, capture_output=True, text=True, timeout=100,
  )  # fmt: skip
  *_, modules, heavy = done.stdout.splitlines()
  found = {name.removeprefix('launch.') for name in modules.split()[1:]}
  assert 'cli' in found, done.stderr
  # The one that is named runs as __main__.
  assert not found & _COMMANDS
  assert heavy == 'heavy'


def test_help_of_a_command_is_its_own():
  by_name = _call(_ROOT, 'evaluate', '--help', cwd=_ROOT).stdout
  done = subprocess.run(
    [sys.executable, '-m', 'launch.evaluate', '--help'],
    cwd=_ROOT, capture_output=True, text=True, timeout=100,
  )  # fmt: skip
  assert by_name == done.stdout
  assert '--protocol' in by_name and '--[no]quiet' in by_name


def test_status_and_message_are_the_command_s():
  done = _call(_ROOT, 'evaluate', '--protocl=x', cwd=_ROOT, status=2)
  assert 'protocl' in done.stderr.splitlines()[-1]


def test_installed_it_runs_from_elsewhere(installed, tmp_path):
  assert 'train ' in _call(installed, cwd=tmp_path).stdout
  _call(installed, 'configs', '--output=mine', cwd=tmp_path)
  # A recipe in a folder of the user's, where the name configs is theirs.
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / '__init__.py').touch()
  recipes = sorted((tmp_path / 'mine').glob('*.py'))
  assert [path.name for path in recipes] == [
    path.name for path in sorted((_ROOT / 'configs').glob('[!_]*.py'))
  ]
  done = _call(
    installed, 'inspect', '--config=mine/thumos14_c3d_ucf101.py', cwd=tmp_path
  )
  assert 'parameters' in done.stdout
  done = _call(installed, 'benchmark', cwd=tmp_path, status=2)
  assert 'need a checkout' in done.stderr.splitlines()[-1]


def test_installed_help_of_a_command_names_its_flags(installed, tmp_path):
  here = _call(_ROOT, 'propose', '--help', cwd=_ROOT).stdout
  assert _call(installed, 'propose', '--help', cwd=tmp_path).stdout == here
