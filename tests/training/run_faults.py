"""Data and machines as runs meet them; see tests/fault_injection.py.

Each takes `fault_injection.Runs` of a chain and returns what came of it.
"""

import dataclasses
import json
import os
import re
import resource
import shutil

import numpy as np

from cmsn_jax.annotations import activitynet
from cmsn_jax.data.synthetic import features

# Steps, or epochs, of a run that only has to end: stages with candidates.
_FEW = {'template': ('--config.template.steps=20',)}
_FEW['paper'] = (
  '--config.train.stages_epochs=100',
  '--config.train.evaluator_epochs=1',
)


# Bytes of addresses: too few for a step of 8,192 windows.
_MEMORY = 6 << 30


class _Data:
  """Files of one's own, and a chain's run on them."""

  def __init__(self, runs, name):
    self.runs, self.folder = runs, runs.folder / name
    self.path = features.generate(
      self.folder / 'data', num_videos=8, duration_sec=20.0
    )
    self.read = activitynet.read(self.path)
    self.held_out = sorted(self.read.subset('validation'))
    self.workdir = self.folder / 'run'

  def rewrite(self, **changed):
    """Annotations with other videos in the place of some."""
    videos = {**self.read.videos, **changed}
    activitynet.write(self.path, dataclasses.replace(self.read, videos=videos))

  def start(self, *more, folder=None, **options):
    """A process of launch.train with the shipped settings."""
    folder = folder or self.folder / 'data'
    kind = 'template' if 'joint' in self.runs.phases else 'paper'
    return self.runs.start(
      self.workdir, 'all', *_FEW[kind],
      f'--config.data.annotations={folder}/annotations.json',
      f'--config.data.features={folder}/features', *more, **options,
    )  # fmt: skip

  def train(self, *more, **options):
    """Status and all that was said."""
    process = self.start(*more, **options)
    output, errors = process.communicate(timeout=3600)
    return process.returncode, output + errors

  def kept(self):
    """Phases that kept parameters."""
    return [
      phase
      for phase in self.runs.phases
      if any((self.workdir / phase / 'best').glob('[0-9]*'))
    ]


def held_out_without_instance(runs):
  """No AR can be measured at the end."""
  data = _Data(runs, 'without_instance')
  data.rewrite(
    **{
      name: dataclasses.replace(
        data.read.videos[name], segments=np.zeros((0, 2)), labels=()
      )
      for name in data.held_out
    }
  )
  status, text = data.train()
  assert status == 0 and 'has an instance: no AR' in text, (status, text)
  assert data.kept() == list(runs.phases)
  status, text = data.train()
  assert status == 0, text
  return 'trained and kept, status 0, says that no AR can be measured'


def measuring_fails(runs):
  """The held-out features are gone when the last step is done."""
  data = _Data(runs, 'measuring')
  process = data.start()
  runs.wait_for_step(process, data.workdir, runs.phases[0], 1)
  path = data.folder / 'data' / 'features' / f'{data.held_out[0]}.npy'
  away = path.with_suffix('.away')
  path.rename(away)
  output, errors = process.communicate(timeout=3600)
  assert process.returncode == 1, (output, errors)
  assert 'are kept' in errors.splitlines()[-1], errors
  assert data.kept() == [runs.phases[0]]
  away.rename(path)
  status, text = data.train()
  assert status == 0 and data.kept() == list(runs.phases), text
  reference = _Data(runs, 'measured')
  assert reference.train()[0] == 0
  for phase in runs.phases:
    a, b = (
      json.loads((one.workdir / phase / 'evaluated.json').read_text())
      for one in (data, reference)
    )
    assert a == b, phase
  return (
    'parameters kept, status 1 with a message; the same command measures, goes '
    'on, and ends as without it'
  )


def data_changed(runs):
  """Other data under the same path; the same under another."""
  data = _Data(runs, 'changed')
  assert data.train()[0] == 0
  name = min(data.read.subset('training'))
  video = data.read.videos[name]
  rows = data.folder / 'data' / 'features' / f'{name}.npy'
  shutil.copy(rows, rows.with_name('more.npy'))
  found = []
  for changes, words in (
    (
      {'more': dataclasses.replace(video, video_id='more')},
      '1 training .* new',
    ),
    (
      {name: dataclasses.replace(video, segments=video.segments + 0.1)},
      'with other annotations',
    ),
  ):
    data.rewrite(**changes)
    status, text = data.train()
    assert status == 2 and re.search(words, text), (status, text)
    assert '--init_from=' in text
    found.append(words)
  data.rewrite()
  status, text = data.train('--config.data.feature_fps=5.05')
  assert status == 2, (status, text)
  moved = data.folder / 'moved'
  os.rename(data.folder / 'data', moved)
  status, text = data.train(folder=moved)
  assert status == 0, (status, text)
  return (
    'a new video, other labels, another rate: refused, named, with what to do; '
    'the same data under another path go on'
  )


def out_of_memory(runs):
  """A step that needs more memory than the machine gives."""
  data = _Data(runs, 'memory')

  # Of the process when it runs: one of many threads must not fork by itself.
  process = data.start('--config.train.batch_per_device=8192')
  resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
  output, errors = process.communicate(timeout=3600)
  last = errors.splitlines()[-1]
  assert process.returncode == 1, (process.returncode, output, errors)
  assert 'out of memory in a training step' in last, errors
  assert '--config.train.batch_per_device=4096' in last, last
  return 'status 1; names the keys to turn, with a value that fits'


def steps_asked(runs):
  """As many steps as were asked for."""
  data = _Data(runs, 'steps')
  status, text = data.train()
  assert status == 0, text
  if 'joint' not in runs.phases:
    return 'few epochs asked: status 0'
  for phase in runs.phases:
    (step,) = (p.name for p in (data.workdir / phase / 'best').glob('[0-9]*'))
    assert step == '20', (phase, step)
  return '20 steps asked, 20 run, and as many of the student'


FAULTS = {
  'held-out videos without an instance': held_out_without_instance,
  'held-out features gone after the last step': measuring_fails,
  'data changed, or moved': data_changed,
  'no memory for a step': out_of_memory,
  'few steps asked': steps_asked,
}
