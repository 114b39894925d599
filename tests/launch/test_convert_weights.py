import json
import subprocess
import sys

import numpy as np
import pytest

from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import folders

torch = pytest.importorskip('torch')

WIDTHS = (4, 6, 8, 8, 10)


def run(*arguments):
  return subprocess.run(
    [sys.executable, '-c',
     # The command must work where torch is not installed.
     'import sys, runpy; sys.modules["torch"] = None; '
     'runpy.run_module("launch.convert_weights", run_name="__main__")',
     *arguments],
    capture_output=True, text=True,
  )  # fmt: skip


def checkpoint(path):
  state, last = {}, 3
  for (names, _), width in zip(c3d.BLOCKS, WIDTHS):
    for name in names:
      state[f'{name}.weight'] = torch.randn(width, last, 3, 3, 3)
      state[f'{name}.bias'] = torch.randn(width)
      last = width
  state['fc6.weight'] = torch.ones(2, 2)
  torch.save({'state_dict': state, 'epoch': 4}, path)
  return state


def test_converts_without_torch_and_says_what_it_did(tmp_path):
  state = checkpoint(tmp_path / 'made.pth.tar')
  done = run(
    f'--source={tmp_path / "made.pth.tar"}', f'--output={tmp_path / "out"}',
    '--widths=4,6,8,8,10', '--mean=1,2,3', '--channel_order=rgb',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert '16 arrays' in done.stdout
  assert 'left out (no part of the feature extractor): fc6.weight' in (
    done.stdout
  )
  found = folders.load(tmp_path / 'out')
  assert found.description['mean'] == [1.0, 2.0, 3.0]
  assert found.description['channel_order'] == 'rgb'
  want = state['conv3b.weight'].permute(2, 3, 4, 1, 0)
  np.testing.assert_array_equal(found.params['conv3b']['kernel'], want)
  json.loads((tmp_path / 'out' / 'weights.json').read_text())


def test_wrong_calls_exit_with_2_and_one_clear_line(tmp_path):
  checkpoint(tmp_path / 'made.pth')
  for arguments, message in (
    (['--output=x'], '--source is needed'),
    ([f'--source={tmp_path / "none"}', '--output=x'], 'no such checkpoint'),
    ([f'--source={tmp_path / "made.pth"}', f'--output={tmp_path / "out"}'],
     'does not fit the network, 16 problems'),
  ):  # fmt: skip
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
  assert not (tmp_path / 'out').exists()
