"""The configs that come with the package: listed, and copied for a user."""

import importlib
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _call(*flags, status=0):
  done = subprocess.run(
    [sys.executable, '-m', 'launch.configs', *flags],
    cwd=_ROOT, capture_output=True, text=True, timeout=100,
  )  # fmt: skip
  assert done.returncode == status, done.stdout + done.stderr
  return done


def test_lists_each_with_its_first_line():
  lines = _call().stdout.splitlines()
  names = {path.stem for path in (_ROOT / 'configs').glob('[!_]*.py')}
  assert {line.split()[0] for line in lines[: len(names)]} == names
  assert any(
    line.startswith('custom ') and line.endswith('and the rate.')
    for line in lines
  )


@pytest.mark.parametrize(
  'name', sorted(path.stem for path in (_ROOT / 'configs').glob('[!_]*.py'))
)
def test_every_run_can_be_shrunk(name):
  config = importlib.import_module(f'configs.{name}')
  if 'chain' not in config.get_config():
    return  # An extractor, or a pre-training.
  small = config.get_config('smoke')
  assert (
    small.to_json_best_effort() != config.get_config().to_json_best_effort()
  )


def test_copies_and_never_writes_over_a_changed_one(tmp_path):
  _call(f'--output={tmp_path}/mine')
  copy = tmp_path / 'mine' / 'custom.py'
  assert copy.read_text() == (_ROOT / 'configs' / 'custom.py').read_text()
  (tmp_path / 'mine' / 'gestures.py').unlink()
  _call(f'--output={tmp_path}/mine')
  assert (tmp_path / 'mine' / 'gestures.py').exists()
  (tmp_path / 'mine' / 'gestures.py').unlink()
  copy.write_text('mine')
  done = _call(f'--output={tmp_path}/mine', status=2)
  assert 'custom.py is there already' in done.stderr.splitlines()[-1]
  assert copy.read_text() == 'mine'
  assert not (tmp_path / 'mine' / 'gestures.py').exists()
