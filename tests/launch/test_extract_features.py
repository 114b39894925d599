"""The command: exit status, output, the documented one-line extractor."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np

from tests.video import made_videos

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(folder, *arguments):
  return subprocess.run(
    [sys.executable, '-m', 'launch.extract_features', *arguments],
    cwd=_ROOT,
    env={
      **os.environ,
      'PYTHONPATH': str(folder),
      'XDG_CACHE_HOME': str(folder / 'cache'),
      'JAX_PLATFORMS': 'cpu',
    },
    capture_output=True,
    text=True,
    check=False,
  )


def test_own_backbone_by_one_line(tmp_path):
  docs = (_ROOT / 'docs' / 'extractors.md').read_text()
  code = re.search(r'```python\n(.*?)```', docs, re.S)[1]
  (tmp_path / 'my_backbone.py').write_text(code)
  videos = tmp_path / 'videos'
  videos.mkdir()
  made_videos.make(videos / 'one.mp4', num_frames=30)
  (videos / 'two.mp4').write_text('no video')
  arguments = (
    '--config=configs/features_default.py',
    '--config.features.extractor=my_backbone',
    f'--input={videos}',
    f'--output={tmp_path / "features"}',
  )
  run = _run(tmp_path, *arguments)
  assert run.returncode == 1, run.stderr
  assert 'failed: two: ' in run.stderr
  assert run.stderr.strip().splitlines()[-1] == (
    'error: 1 of 2 videos failed, the others are done'
  )
  assert '1 videos extracted' in run.stdout
  assert np.load(tmp_path / 'features' / 'one.npy').shape == (3, 128)
  record = json.loads((tmp_path / 'features' / 'features.json').read_text())
  assert record['extractor'] == 'my_backbone'
  assert record['feature_fps'] == 25 / 12


def test_wrong_calls_end_with_2(tmp_path):
  run = _run(tmp_path, '--input=x', '--output=y')
  assert run.returncode == 2
  assert '--config is needed' in run.stderr
  run = _run(
    tmp_path,
    '--config=configs/features_default.py',
    '--config.features.extractor=no_such_module',
    f'--input={__file__}',
    f'--output={tmp_path / "y"}',
  )
  assert run.returncode == 2
  assert "extractor 'no_such_module' is not an importable" in run.stderr
