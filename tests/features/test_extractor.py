"""Windows, halos and errors of the one extractor interface."""

import dataclasses
import json
import sys
import types

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from cmsn_jax.features import extractor


def _box_sum(reach_before, reach_after, stride):
  """A backbone whose snippets see `reach` frames beyond their borders."""

  def apply(params, frames, valid):
    x = frames.astype(jnp.float32).mean((2, 3, 4)) * valid * params
    f = x.shape[1]
    padded = jnp.pad(x, ((0, 0), (reach_before, reach_after)))
    total = sum(
      padded[:, i : i + f] for i in range(reach_before + reach_after + 1)
    )
    count = x.reshape(x.shape[0], -1, stride).sum(2)
    return jnp.stack([total.reshape(x.shape[0], -1, stride).sum(2), count], 2)

  return apply


def _make(before=3, after=5, stride=4, **kwargs):
  return extractor.Extractor(
    name='box',
    modality='rgb',
    apply=_box_sum(before, after, stride),
    params=np.float32(2),
    dim=2,
    fps=25.0,
    stride=stride,
    resize=(2, 2),
    halo_frames=max(before, after),
    **kwargs,
  )


def _chunks(frames, cuts):
  return np.split(frames, sorted(min(c, len(frames)) for c in cuts))


@hypothesis.given(
  num_frames=st.integers(1, 60),
  cuts=st.lists(st.integers(0, 60), max_size=5),
  chunk_snippets=st.integers(1, 6),
)
@hypothesis.settings(max_examples=30)
def test_chunked_equals_whole(num_frames, cuts, chunk_snippets):
  rng = np.random.default_rng(num_frames)
  frames = rng.integers(0, 256, (num_frames, 2, 2, 3), np.uint8)
  backbone = _BOX
  features = extractor.extract(
    backbone, _chunks(frames, cuts), chunk_snippets=chunk_snippets
  )
  x = 2.0 * frames.reshape(num_frames, -1).mean(1)
  t = -(-num_frames // 4)
  expected = np.zeros((t, 2))
  for i in range(t):
    for frame in range(4 * i, 4 * i + 4):
      for j in range(frame - 3, frame + 6):
        expected[i, 0] += x[j] if 0 <= j < num_frames else 0
      expected[i, 1] += x[frame] if frame < num_frames else 0
  np.testing.assert_allclose(features, expected, rtol=1e-5)
  assert features.dtype == np.float32


_BOX = _make()


def test_too_small_a_halo_shows():
  # Guards the test above: it must be able to fail.
  frames = np.full((40, 2, 2, 3), 10, np.uint8)
  short = dataclasses.replace(_BOX, halo_frames=0)
  whole = extractor.extract(short, [frames], chunk_snippets=10)
  cut = extractor.extract(short, [frames], chunk_snippets=3)
  assert np.abs(whole - cut).max() > 1


def test_memory_is_flat():
  alive = []

  class Tracked(np.ndarray):
    pass

  def frames():
    import weakref

    for _ in range(200):
      chunk = np.zeros((8, 2, 2, 3), np.uint8).view(Tracked)
      alive.append(weakref.ref(chunk))
      yield chunk

  most = 0
  for _ in extractor.iterate(_BOX, frames(), chunk_snippets=4):
    most = max(most, sum(ref() is not None for ref in alive))
  assert most <= 8


def test_few_shapes_few_compilations():
  shapes = []

  def apply(params, frames, valid):
    shapes.append(frames.shape[1])
    return frames[:, ::4, 0, 0, :2].astype(jnp.float32)

  backbone = dataclasses.replace(_BOX, apply=apply, chunk_snippets=4)
  for length in range(1, 120, 3):
    frames = np.zeros((length, 2, 2, 3), np.uint8)
    assert len(extractor.extract(backbone, [frames])) == -(-length // 4)
  # Halo 2 a side: 8 snippets, and 2, 4 or 6 for what is shorter.
  assert sorted(shapes) == [8, 16, 24, 32]


@pytest.mark.parametrize(
  'frames, words',
  [
    (np.zeros((0, 2, 2, 3), np.uint8), 'empty'),
    (np.zeros((4, 2, 2, 2), np.uint8), r'uint8 frames \[f, h, w, 3\]'),
    (np.zeros((4, 2, 2, 3), np.float32), 'float32'),
    (np.zeros((2, 2, 3), np.uint8), r'\[2, 2, 3\]'),
  ],
)
def test_bad_frames(frames, words):
  with pytest.raises(ValueError, match=words):
    extractor.extract(_BOX, iter([frames]))


def test_frames_of_two_sizes():
  chunks = [np.zeros((4, 2, 2, 3), np.uint8), np.zeros((4, 2, 3, 3), np.uint8)]
  with pytest.raises(ValueError, match='after frames of'):
    extractor.extract(_BOX, iter(chunks))


def test_wrong_dim_is_named():
  wrong = dataclasses.replace(_BOX, dim=7)
  with pytest.raises(ValueError, match=r'must return \[b, t, 7\]'):
    extractor.extract(wrong, [np.zeros((4, 2, 2, 3), np.uint8)])


@pytest.mark.parametrize(
  'change',
  [
    {'modality': 'sound'},
    {'stride': 0},
    {'resize': ()},
    {'fps': 0.0},
    {'dim': 0},
  ],
)
def test_bad_settings(change):
  with pytest.raises(ValueError, match=next(iter(change))):
    dataclasses.replace(_BOX, **change)


def test_load(monkeypatch):
  module = types.ModuleType('my_backbone')
  module.__file__ = 'my_backbone.py'
  monkeypatch.setitem(sys.modules, 'my_backbone', module)
  with pytest.raises(ValueError, match='no function build'):
    extractor.load('my_backbone', None)
  module.build = lambda section: 3
  with pytest.raises(TypeError, match='got int'):
    extractor.load('my_backbone', None)
  module.build = lambda section: dataclasses.replace(_BOX, weights=section)
  assert extractor.load('my_backbone', 'w').weights == 'w'
  with pytest.raises(ValueError, match='not an importable module'):
    extractor.load('cmsn_jax.features.no_such', None)


def test_describe_is_json():
  record = json.loads(json.dumps(extractor.describe(_BOX)))
  assert record['feature_fps'] == 6.25
  assert record['resize'] == [2, 2]
  assert record['dim'] == 2
