"""Which frames, crops and bytes the two streams see; whole extractions."""

import dataclasses
import types

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features import extractor, two_stream
from cmsn_jax.features.backbones import resnet
from configs import features_two_stream


class _Mean(nn.Module):
  """Shows what it is given: each channel's mean."""

  num_classes: int = 0

  def __call__(self, images, *, train):
    assert not train
    return images.mean((1, 2))


def _stream(classes=0, mean=(0.0,), std=(1.0,), channel_order='rgb'):
  return two_stream.Stream(_Mean(classes), {}, mean, std, channel_order, 'none')


def _section(**changes):
  stream = lambda classes: types.SimpleNamespace(num_classes=classes)
  return types.SimpleNamespace(
    **{
      'stride': 5,
      'rgb_frame': 'centre',
      'crop': 4,
      'crops': 'centre',
      'fps': 25.0,
      'resize': (6, 8),
      'chunk_snippets': 3,
      'spatial': stream(3),
      'temporal': stream(10),
      **changes,
    }
  )


def _numbered(num_frames):
  """Frame k is k in RGB, 100 + k and 200 - k in flow."""
  frames = np.zeros((num_frames, 6, 8, 5), np.uint8)
  at = np.arange(num_frames).reshape(-1, 1, 1, 1)
  frames[..., :3] = at
  frames[..., 3:4] = 100 + at
  frames[..., 4:5] = 200 - at
  return frames


def _slow(num_frames, stride, first):
  """Frame numbers of each snippet, held inside the video."""
  rows = []
  for i in range(-(-num_frames // stride)):
    hold = lambda k: min(max(k, 0), num_frames - 1)
    rgb = hold(i * stride + (0 if first else stride // 2))
    stack = [hold(i * stride + (stride - 5) // 2 + k) for k in range(5)]
    rows.append(
      [rgb] * 3 + [value for k in stack for value in (100 + k, 200 - k)]
    )
  return np.array(rows, np.float32)


@pytest.mark.parametrize('num_frames', [1, 4, 5, 23, 47])
@pytest.mark.parametrize(
  'stride, first', [(5, False), (5, True), (1, False), (3, True), (8, False)]
)
def test_frames_of_a_snippet(num_frames, stride, first):
  section = _section(stride=stride, rgb_frame='first' if first else 'centre')
  made = two_stream._assemble(
    section, {'spatial': _stream(3), 'temporal': _stream(10)}
  )
  made = dataclasses.replace(made, params={'spatial': {}, 'temporal': {}})
  assert (made.modality, made.dim) == ('rgb+flow', 13)
  found = extractor.extract(made, np.array_split(_numbered(num_frames), 4))
  np.testing.assert_allclose(found, _slow(num_frames, stride, first))


@pytest.mark.parametrize('name, modality, columns', [
  ('spatial', 'rgb', slice(0, 3)), ('temporal', 'flow', slice(3, 13)),
])  # fmt: skip
def test_one_stream_alone(name, modality, columns):
  classes = columns.stop - columns.start
  made = two_stream._assemble(_section(), {name: _stream(classes)})
  assert made.modality == modality
  frames = _numbered(12)
  frames = frames[..., :3] if name == 'spatial' else frames[..., 3:]
  found = extractor.extract(made, [frames])
  np.testing.assert_allclose(found, _slow(12, 5, False)[:, columns])


def test_pixels_and_mean_of_crops():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 6, 8, 3), np.uint8)
  stream = _stream(0, (10.0, 20.0, 30.0), (2.0, 4.0, 5.0), 'bgr')
  scores = lambda rule: two_stream.scores(
    stream, {}, jnp.asarray(images), 4, rule, is_flow=False
  )
  # Mean and deviation are in the weights' channel order.
  whole = (images[..., ::-1].astype(float) - [10, 20, 30]) / [2, 4, 5]
  np.testing.assert_allclose(scores('full'), whole.mean((1, 2)), rtol=1e-5)
  centre = whole[:, 1:5, 2:6]
  np.testing.assert_allclose(scores('centre'), centre.mean((1, 2)), rtol=1e-5)
  corners = [(1, 2), (0, 0), (0, 4), (2, 0), (2, 4)]
  ten = np.mean(
    [whole[:, y : y + 4, x : x + 4].mean((1, 2)) for y, x in corners], 0
  )
  np.testing.assert_allclose(scores('ten'), ten, rtol=1e-5)


def _small_config(monkeypatch):
  monkeypatch.setitem(resnet.DEPTHS, 50, (1, 1, 1, 1))
  features = features_two_stream.get_config().features
  features.spatial.depth = 50
  for stream in (features.spatial, features.temporal):
    stream.width = 0.05
    stream.num_classes = 6
  features.resize = (36, 40)
  features.crop = 32
  features.chunk_snippets = 4
  return features


def test_real_networks_end_to_end(monkeypatch):
  made = two_stream.build(_small_config(monkeypatch))
  assert (made.dim, made.stride, made.feature_fps) == (12, 5, 5.0)
  assert made.weights == ('spatial: random, seed 0; temporal: random, seed 1')
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (38, 36, 40, 5), np.uint8)
  features = extractor.extract(made, [frames])
  assert features.shape == (8, 12)
  assert np.isfinite(features).all() and features.std() > 0
  np.testing.assert_array_equal(features, extractor.extract(made, [frames]))
  # Either half depends on its own channels only.
  frames[..., :3] = 0
  other = extractor.extract(made, [frames])
  np.testing.assert_array_equal(other[:, 6:], features[:, 6:])
  assert (other[:, :6] != features[:, :6]).any()


@pytest.mark.parametrize(
  'key, value, words',
  [
    ('streams', ('temporal', 'spatial'), 'streams must be'),
    ('crops', 'five', 'crops must be'),
    ('rgb_frame', 'last', 'rgb_frame must be'),
    ('spatial.backbone', 'vgg', "got 'vgg'"),
    ('spatial.depth', 18, 'depth must be one of'),
    ('spatial.mean', (1.0, 2.0), 'mean must have 1 or 3 values'),
    ('spatial.channel_order', 'gbr', 'channel_order must be'),
    ('spatial.weights', 'no/such/file.pth', 'no/such/file.pth'),
  ],
)
def test_bad_settings(monkeypatch, key, value, words):
  features = _small_config(monkeypatch)
  holder = features
  *groups, leaf = key.split('.')
  for group in groups:
    holder = holder[group]
  holder[leaf] = value
  with pytest.raises((ValueError, FileNotFoundError), match=words):
    two_stream.build(features)
