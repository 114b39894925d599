"""launch.convert_weights on Caffe models."""

import subprocess
import sys

from cmsn_jax.features.weights import folders
from tests.features.weights import made_caffe


def run(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'launch.convert_weights', *arguments],
    capture_output=True, text=True,
  )  # fmt: skip


def test_a_resnet_and_a_damaged_one(tmp_path):
  path = tmp_path / 'made.caffemodel'
  layers = made_caffe.resnet(preactivation=True, pad=1)
  path.write_bytes(made_caffe.model(layers))
  done = run(
    f'--source={path}', '--backbone=resnet', f'--output={tmp_path / "out"}'
  )
  assert done.returncode == 0, done.stderr
  assert 'normalises before its convolutions, halves in its 3x3' in done.stdout
  assert 'padded by 1 and rounded up' in done.stdout
  text = folders.load(tmp_path / 'out').description
  assert (text['blocks'], text['num_classes']) == ([2, 1, 1, 1], 5)
  path.write_bytes(path.read_bytes()[:-1])
  done = run(
    f'--source={path}', '--backbone=resnet', f'--output={tmp_path / "other"}'
  )
  assert done.returncode != 0
  assert 'made.caffemodel' in done.stderr and 'download it' in done.stderr
  assert not (tmp_path / 'other').exists()
