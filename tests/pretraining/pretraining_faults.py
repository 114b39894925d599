"""What real machines do to launch.pretrain; see tests/fault_injection.py."""

import pathlib
import random
import re
import subprocess
import sys
import time

import jax
import numpy as np

from cmsn_jax.features.weights import folders
from tests.video import made_videos

ROOT = pathlib.Path(__file__).resolve().parents[2]
_EPOCHS = 24


def kill(folder: pathlib.Path, times: int) -> str:
  """kill -9 at moments spread over the run; a small network, saved as shipped."""
  rng = random.Random(0)
  for label in 'ab':
    (folder / 'clips' / label).mkdir(parents=True)
    for k in range(5):
      made_videos.make(
        folder / 'clips' / label / f'{label}{k}.mp4', num_frames=16 + 4 * k
      )
  whole = _start(folder, 'whole')
  output, errors = whole.communicate(timeout=3600)
  assert whole.returncode == 0, errors
  total, lost = _logged(folder / 'whole'), []
  for number in range(times):
    process = _start(folder, 'killed')
    at = int(total * (number + rng.random()) / (times + 1))
    while process.poll() is None and _logged(folder / 'killed') < at:
      time.sleep(0.1)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    steps = (folder / 'killed' / 'resume').glob('[0-9]*')
    saved = max((int(p.name) for p in steps if p.name.isdigit()), default=0)
    lost.append(max(0, _logged(folder / 'killed') - saved))
  process = _start(folder, 'killed')
  again, errors = process.communicate(timeout=3600)
  assert process.returncode == 0 and 'damaged' not in errors, errors
  say = lambda text: re.search(r'validation accuracy .*;', text)[0]
  assert say(again) == say(output)
  found = [
    folders.load(folder / f'{name}_weights') for name in ('whole', 'killed')
  ]
  jax.tree.map(np.testing.assert_array_equal, *(one.params for one in found))
  return (
    f'weights bit-equal to those of the uninterrupted run of {total} steps; at '
    f'most {max(lost)} steps done again'
  )


def _start(folder, name):
  return subprocess.Popen(
    [
      sys.executable, '-m', 'launch.pretrain',
      '--config=configs/pretrain_ucf101.py:smoke', '--quiet',
      f'--config.data.folder={folder / "clips"}',
      f'--config.train.epochs={_EPOCHS}', '--config.train.log_every_steps=1',
      f'--workdir={folder / name}', f'--output={folder / f"{name}_weights"}',
    ],
    cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def _logged(workdir):
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().splitlines() if path.exists() else ()
  found = [re.match(r'\{"step": (\d+), "loss"', line) for line in lines]
  return max((int(m[1]) for m in found if m), default=0)
