import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from cmsn_jax.features.weights import c3d as c3d_weights
from cmsn_jax.features.weights import folders
from cmsn_jax.pretraining import c3d
from cmsn_jax.runs import checkpoints, config_record
from cmsn_jax.training import keeping, phase_run, save_times, stopping
from configs import pretrain_ucf101


class Movements:
  """A bright bar that moves left to right, or top to bottom: single frames of
  the two classes cannot be told by where the bar is, motion can."""

  classes = ('sideways', 'downwards')

  def __init__(self, count, seed):
    self._rng_seed, self._count = seed, count

  def __len__(self):
    return self._count

  def name(self, index):
    return f'clip {index}'

  def label(self, index):
    return index % 2

  def num_frames(self, index):
    return 12

  def read(self, index, start, stop):
    rng = np.random.default_rng((self._rng_seed, index))
    first, speed = rng.integers(0, 8), rng.integers(2, 4)
    frames = np.full((12, 36, 44, 3), 40, np.uint8)
    for i, frame in enumerate(frames):
      place = first + speed * i
      if self.label(index):
        frame[place : place + 4] = 220
      else:
        frame[:, place : place + 4] = 220
    return frames[start:stop]


def smoke(**train):
  config = pretrain_ucf101.get_config('smoke')
  config.video.crop, config.video.random_flip = (16, 16), False
  config.video.size = (16, 16)
  config.clips.validation = 1
  config.extractor.widths = (4, 4, 8, 8, 8)
  config.data.workers = 2
  # One device's share: the tests have eight.
  config.train.batch_per_device = 1
  for key, value in train.items():
    config.train[key] = value
  return config


def run(config, folder, count=16):
  return c3d.train_and_evaluate(
    config, folder / 'work', Movements(count, 0), Movements(8, 1),
    output=folder / 'weights', quiet=True,
  )  # fmt: skip


def test_a_narrow_c3d_learns_to_tell_two_motions(tmp_path):
  metrics = run(smoke(epochs=6, learning_rate=1e-2), tmp_path)
  assert metrics['best_accuracy'] == 1.0
  found = folders.load(tmp_path / 'weights')
  assert found.description['backbone'] == 'c3d'
  assert found.description['widths'] == [4, 4, 8, 8, 8]
  assert found.description['classes'] == ['sideways', 'downwards']
  assert found.params['conv3a']['kernel'].shape == (3, 3, 3, 4, 8)
  lines = (tmp_path / 'work' / 'metrics.jsonl').read_text().splitlines()
  assert any('validation/accuracy' in json.loads(line) for line in lines)
  # A finished run ends at once, with the same result.
  again = run(smoke(epochs=6, learning_rate=1e-2), tmp_path)
  assert again == metrics
  with pytest.raises(config_record.RunFolderError, match='learning_rate: 0.01'):
    run(smoke(epochs=6, learning_rate=1e-3), tmp_path)
  # Steps of twice the windows would be other epochs.
  with (
    pytest.warns(config_record.ConfigChangedWarning),
    pytest.raises(config_record.RunFolderError, match='windows a step'),
  ):
    run(smoke(epochs=6, learning_rate=1e-2, batch_per_device=2), tmp_path)


def test_training_starts_from_weights_and_leaves_frozen_layers(tmp_path):
  start = jax.tree.map(
    lambda a: np.random.default_rng(0).uniform(-0.1, 0.1, a.shape),
    c3d_weights.template((4, 4, 8, 8, 8)),
  )
  frames = {'mean': [1.0, 2.0, 3.0], 'scale': [0.1, 0.1, 0.1]}
  folders.save(
    tmp_path / 'a', folders.Weights(start, {**frames, 'channel_order': 'bgr'})
  )
  config = smoke(epochs=1)
  config.extractor.weights = str(tmp_path / 'a')
  config.extractor.frozen_layers = 2
  run(config, tmp_path / 'b', count=4)
  before = folders.load(tmp_path / 'a').params
  found = folders.load(tmp_path / 'b' / 'weights')
  for name in before:
    same = np.array_equal(before[name]['kernel'], found.params[name]['kernel'])
    assert same == (name in ('conv1a', 'conv2a')), name
  # The weights' own frame values go on with them.
  assert found.description['mean'] == [1.0, 2.0, 3.0]
  assert found.description['channel_order'] == 'bgr'


def test_bad_settings_are_named(tmp_path):
  config = smoke()
  config.clips.frames = 12
  with pytest.raises(ValueError, match='clips.frames must be a positive mult'):
    run(config, tmp_path)
  config = smoke()
  config.extractor.name = 'c4d'
  with pytest.raises(ValueError, match="must be 'c3d', got 'c4d'"):
    run(config, tmp_path)


def test_the_command_asks_for_clips(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'launch.pretrain',
     '--config=configs/pretrain_ucf101.py', f'--workdir={tmp_path}/w',
     f'--output={tmp_path}/o'],
    capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 2
  assert 'give either --config.data.folder' in done.stderr


class _Failing(Movements):
  """Validation clips that cannot be read for a while."""

  broken = True

  def read(self, index, start, stop):
    if self.broken and self._rng_seed == 1:
      raise OSError('the disk is gone')
    return super().read(index, start, stop)


def test_a_failing_validation_costs_nothing(tmp_path):
  def train(kind, folder):
    return c3d.train_and_evaluate(
      smoke(epochs=2), folder / 'work', kind(8, 0), kind(4, 1),
      output=folder / 'weights', quiet=True,
    )  # fmt: skip

  with pytest.raises(keeping.MeasuringError, match='step 2 is kept.*disk is g'):
    train(_Failing, tmp_path / 'a')
  # The parameters are there, without a figure.
  kept = folders.load(tmp_path / 'a' / 'weights')
  assert kept.description['validation'] == {}
  # Once they can be read the same command measures, and goes on.
  assert train(Movements, tmp_path / 'a') == train(Movements, tmp_path / 'b')
  one, other = (folders.load(tmp_path / k / 'weights') for k in 'ab')
  jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
  assert one.description['validation'] == other.description['validation']


def test_it_saves_by_time_and_stops_when_asked(tmp_path, monkeypatch):
  class Impatient(stopping.StopSignal):
    def reached(self):
      super().reached()
      return self._calls == 3

  def train(folder):
    # 16 clips on 8 devices, twice each: four steps an epoch.
    config = smoke(epochs=2)
    config.clips.per_video = 2
    return run(config, folder)

  saved = []
  save = checkpoints.Checkpoints.save

  def counted(self, step, *args):
    saved.append(step)
    save(self, step, *args)

  monkeypatch.setattr(checkpoints.Checkpoints, 'save', counted)
  monkeypatch.setattr(save_times.SaveTimes, 'due', lambda self: True)
  monkeypatch.setattr(stopping, 'StopSignal', Impatient)
  with pytest.raises(phase_run.Interrupted, match='stopped at step 3'):
    train(tmp_path / 'a')
  assert saved == [1, 2, 3]
  monkeypatch.undo()
  assert train(tmp_path / 'a') == train(tmp_path / 'b')
  one, other = (folders.load(tmp_path / k / 'weights') for k in 'ab')
  jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
