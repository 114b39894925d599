"""A stream learns clips; its weights go into the two-stream extractor."""

import json

import jax
import numpy as np
import pytest

from cmsn_jax.features import extractor, two_stream
from cmsn_jax.features.backbones import resnet
from cmsn_jax.features.weights import folders
from cmsn_jax.pretraining import stream as stream_training
from configs import features_two_stream, pretrain_stream


class Movements:
  """Texture that moves right or left: no single frame tells the classes."""

  classes = ('left', 'right')

  def __init__(self, count, seed):
    self._count, self._seed = count, seed

  def __len__(self):
    return self._count

  def name(self, index):
    return f'clip {index}'

  def label(self, index):
    return index % 2

  def num_frames(self, index):
    return 14

  def read(self, index, start, stop):
    rng = np.random.default_rng((self._seed, index))
    small = rng.integers(0, 256, (10, 12, 3)).astype(np.uint8)
    image = np.kron(small, np.ones((4, 4, 1), np.uint8))
    step = 3 if self.label(index) else -3
    frames = [np.roll(image, step * k, 1) for k in range(14)]
    return np.stack(frames)[start:stop]


def _config(name, monkeypatch, **train):
  # The networks' depth is tested elsewhere.
  monkeypatch.setitem(resnet.DEPTHS, 50, (1, 1, 1, 1))
  config = pretrain_stream.get_config(f'{name},smoke')
  config.extractor.backbone = 'resnet'
  config.extractor.depth = 50
  config.data.workers = 2
  # One device's share: the tests have eight.
  config.train.batch_per_device = 1
  for key, value in train.items():
    config.train[key] = value
  return config


def _run(config, folder):
  return stream_training.train_and_evaluate(
    config,
    folder / 'work',
    Movements(16, 0),
    Movements(8, 1),
    output=folder / 'weights',
    quiet=True,
  )


@pytest.mark.slow
def test_the_temporal_stream_learns_motion(tmp_path, monkeypatch):
  pytest.importorskip('cv2', reason='OpenCV is not installed')
  config = _config('temporal', monkeypatch, epochs=10)
  metrics = _run(config, tmp_path)
  assert metrics['best_accuracy'] >= 0.9
  found = folders.load(tmp_path / 'weights')
  assert found.description['classes'] == ['left', 'right']
  assert found.description['flow'] == 'dis'
  stats = found.params['batch_stats']
  assert np.abs(stats['bn1']['mean']).max() > 0
  # Partial batch normalisation leaves the others as they were.
  block = stats['layer1_0']['bn2']
  assert not block['mean'].any() and (block['var'] == 1).all()
  assert (found.params['params']['layer1_0']['bn2']['scale'] == 1).all()
  # A finished run ends at once, with the same result.
  assert _run(config, tmp_path) == metrics
  lines = (tmp_path / 'work' / 'metrics.jsonl').read_text().splitlines()
  assert any('validation/accuracy' in json.loads(line) for line in lines)

  features = features_two_stream.get_config().features
  features.streams = ('temporal',)
  features.resize, features.crop = (40, 48), 32
  stream = features.temporal
  stream.backbone, stream.depth, stream.width = 'resnet', 50, 0.125
  stream.weights = str(tmp_path / 'weights')
  made = two_stream.build(features)  # the folder says how many classes
  assert made.dim == 2
  fields = np.full((10, 40, 48, 2), 128, np.uint8)
  fields[..., 0] += 19  # 3 pixels to the right
  rows = extractor.extract(made, [fields])
  assert rows.shape == (2, 2) and (rows[:, 1] > rows[:, 0]).all()


@pytest.mark.slow
def test_the_spatial_stream_starts_from_weights(tmp_path, monkeypatch):
  first = _run(_config('spatial', monkeypatch, epochs=1), tmp_path / 'first')
  config = _config('spatial', monkeypatch, epochs=1, learning_rate=0.0)
  config.extractor.weights = str(tmp_path / 'first' / 'weights')
  config.extractor.mean = (0.0, 0.0, 0.0)
  _run(config, tmp_path / 'second')
  assert 0 <= first['accuracy'] <= 1
  before, after = (
    folders.load(tmp_path / name / 'weights') for name in ('first', 'second')
  )
  # The folder's mean counts, not the config's.
  assert after.description['mean'] == before.description['mean']
  old, new = before.params['params'], after.params['params']
  assert (old['fc']['kernel'] != new['fc']['kernel']).any()
  del old['fc'], new['fc']
  jax.tree.map(np.testing.assert_array_equal, old, new)


def test_settings_are_checked(tmp_path, monkeypatch):
  config = _config('spatial', monkeypatch)
  config.extractor.name = 'c3d'
  with pytest.raises(ValueError, match="got 'c3d'"):
    _run(config, tmp_path)
  with pytest.raises(ValueError, match="'spatial' or 'temporal'"):
    pretrain_stream.get_config('audio')
  assert pretrain_stream.get_config('temporal').train.epochs == 340


def test_snippets_read_from_a_clip(tmp_path, monkeypatch):
  pytest.importorskip('cv2', reason='OpenCV is not installed')
  for name, channels in (('spatial', 3), ('temporal', 10)):
    run = stream_training._Run(
      _config(name, monkeypatch), tmp_path, Movements(8, 0), Movements(8, 1),
      tmp_path, True,
    )  # fmt: skip
    batch = run.loader.batch(0)
    assert batch['clips'].shape == (8, 2, 32, 32, channels)
    assert batch['clips'].dtype == np.uint8
    again = run.loader.batch(0)
    np.testing.assert_array_equal(batch['clips'], again['clips'])
    assert sorted(batch['labels']) == [0] * 4 + [1] * 4
  images = run._read(run.source, 1, 2, None)
  # The class moves right, 3 pixels are 19 steps.
  x = np.median(images[..., ::2].astype(int), (0, 1, 2))
  np.testing.assert_allclose(x, 147, atol=2)
