"""What all commands share: which libraries' notes are shown."""

import os
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_NOTES = """
import logging
from absl import flags
from launch import cli

def main(argv):
  for file in ('jax/_src/xla_bridge.py', 'orbax/checkpoint/save.py'):
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
      name = f'{file[:3]} {logging.getLevelName(level)}'
      record = logging.LogRecord('x', level, file, 1, name, (), None)
      logging.getLogger().handle(record)

cli.run(main)
"""


def test_a_gpu_that_is_not_used_is_no_secret():
  """JAX warns of it; of backends that are not there it tells as a note."""
  done = subprocess.run(
    [sys.executable, '-c', _NOTES],
    cwd=_ROOT, capture_output=True, text=True, timeout=100,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  shown = [line.rpartition('] ')[2] for line in done.stderr.splitlines()]
  assert shown == ['jax WARNING', 'jax ERROR', 'orb ERROR']


def _train(*words):
  return subprocess.run(
    [sys.executable, '-m', 'launch.train', *words], cwd=_ROOT,
    capture_output=True, text=True, timeout=300,
  )  # fmt: skip


def test_a_key_of_an_older_version_is_taken_and_said_so():
  done = _train(
    '--config=configs/custom.py:smoke', '--config.joint.steps=5',
    '--config.joint.members=3',
  )  # fmt: skip
  assert done.returncode == 2
  assert 'is now called --config.template.steps=5' in done.stderr
  # Both were understood: what is wrong is the missing workdir.
  assert done.stderr.strip().splitlines()[-1].startswith('error: --workdir')


def test_a_key_that_is_no_more_is_named():
  done = _train('--config=configs/custom.py', '--config.joint.border=1.0')
  assert done.returncode == 2 and 'template.border is no more' in done.stderr


@pytest.mark.parametrize(
  ('inherited', 'level'), [(None, '3'), ('1', '3'), ('0', '0'), ('2', '2')]
)
def test_what_jax_sets_in_a_parent_is_no_wish_of_the_user(inherited, level):
  # XLA's notes of each cached program once filled a pipe that nobody read.
  env = {k: v for k, v in os.environ.items() if k != 'TF_CPP_MIN_LOG_LEVEL'}
  if inherited is not None:
    env['TF_CPP_MIN_LOG_LEVEL'] = inherited
  code = "import os, launch.cli; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=_ROOT, env=env, capture_output=True, text=True, timeout=100,
  )  # fmt: skip
  assert done.stdout.strip() == level, done.stderr
