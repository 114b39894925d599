"""Segments, views and consensus of clip training."""

import re

import flax.linen as nn
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util
from hypothesis import strategies as st

from cmsn_jax.features import variables
from cmsn_jax.features.backbones import bn_inception, resnet
from cmsn_jax.pretraining import consensus


def test_middle_of_each_segment():
  starts = consensus.segment_starts(30, 3, 1)
  assert starts.tolist() == [5, 15, 25]
  # 26 places for 5 frames: middles of [0, 13) and [13, 26).
  assert consensus.segment_starts(30, 2, 5).tolist() == [6, 19]
  assert consensus.segment_starts(1, 3, 1).tolist() == [0, 0, 0]
  with pytest.raises(ValueError, match='clip of 4 frames'):
    consensus.segment_starts(4, 3, 5)


@hypothesis.given(
  num_frames=st.integers(5, 90),
  segments=st.integers(1, 9),
  seed=st.integers(0, 9),
)
@hypothesis.settings(max_examples=40)
def test_random_places_stay_in_their_segment(num_frames, segments, seed):
  rng = np.random.default_rng(seed)
  starts = consensus.segment_starts(num_frames, segments, 5, rng)
  places = num_frames - 4
  for index, start in enumerate(starts):
    low = index * places / segments
    assert np.floor(low) <= start < (index + 1) * places / segments
    assert start + 5 <= num_frames


def test_snippets_stack_in_order():
  frames = np.arange(7 * 2, dtype=np.uint8).reshape(7, 1, 1, 2)
  found = consensus.snippets(frames, np.array([0, 2]), 5)
  assert found.shape == (2, 1, 1, 10)
  assert found[1].ravel().tolist() == list(range(4, 14))


def test_views_are_crops_of_the_scales():
  rng = np.random.default_rng(0)
  ramp = np.arange(64, dtype=np.uint8)
  images = np.zeros((2, 48, 64, 2), np.uint8)
  images[..., 0] = 100 + ramp
  images[..., 1] = np.arange(48).reshape(1, -1, 1)
  directions, spans = set(), set()
  for _ in range(60):
    view = consensus.training_view(images, 24, rng, is_flow=True)
    assert view.shape == (2, 24, 24, 2) and view.dtype == np.uint8
    np.testing.assert_array_equal(view[0], view[1])
    x = view[0, 0, :, 0].astype(int)
    directions.add(bool(np.median(x) > 128))
    # Mirrored: reversed in x and of the other sign, so still growing.
    assert (np.diff(x) >= 0).all()
    spans.add(int(view[0, -1, 0, 1]) - int(view[0, 0, 0, 1]))
  assert directions == {True, False}
  # Heights 48, 42 and 36, less a pixel at the ends.
  assert {min(spans) // 2, max(spans) // 2} == {17, 23}


def test_resize_is_bilinear():
  cv2 = pytest.importorskip('cv2', reason='OpenCV is not installed')
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (30, 41, 3), np.uint8)
  ours = consensus.resize(image[None], 20)[0]
  theirs = cv2.resize(image.astype(np.float32), (20, 20))
  assert np.abs(ours - theirs).max() <= 0.51
  same = consensus.resize(image[None, :, :30], 30)
  np.testing.assert_array_equal(same[0], image[:, :30])


class _Channels(nn.Module):
  @nn.compact
  def __call__(self, images, *, train):
    return images.mean((1, 2))


def test_consensus_is_the_mean_over_segments():
  rng = np.random.default_rng(0)
  clips = jnp.asarray(rng.integers(0, 256, (2, 3, 4, 4, 3), np.uint8))
  module = consensus.SegmentConsensus(
    _Channels(), (10.0, 20.0, 30.0), (2.0, 1.0, 5.0), 'bgr'
  )
  found = module.apply({}, clips)
  values = np.asarray(clips)[..., ::-1].astype(float)
  expected = ((values - [10, 20, 30]) / [2, 1, 5]).mean((1, 2, 3))
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
  'module, first',
  [
    (bn_inception.BNInception(width=0.1), 'conv1_7x7_s2_bn'),
    (resnet.ResNet((1, 1, 1, 1), width=4), 'bn1'),
    (resnet.ResNet((1, 1, 1, 1), width=4, preactivation=True), 'bn1'),
  ],
)
def test_only_the_first_normalisation_is_trained(module, first):
  wrapped = consensus.SegmentConsensus(module)
  shapes = variables.shapes(
    wrapped, jax.ShapeDtypeStruct((1, 1, 64, 64, 3), jnp.uint8)
  )
  norms, free = set(), set()
  for keys in traverse_util.flatten_dict(shapes['batch_stats']):
    norms.add('/'.join(keys[:-1]))
  for keys in traverse_util.flatten_dict(shapes['params']):
    path = '/'.join(keys)
    frozen = any(
      re.search(pattern, path)
      for pattern in consensus.frozen_batch_norms(shapes)
    )
    if path.rsplit('/', 1)[0] not in norms:
      assert not frozen, path
    elif not frozen:
      free.add(path.rsplit('/', 1)[0])
  assert free == {f'network/{first}'}


@pytest.mark.slow
def test_a_stream_learns_to_tell_clips_apart():
  network = resnet.ResNet((1, 1, 1, 1), num_classes=2, width=8, dropout=0.0)
  module = consensus.SegmentConsensus(network, (128.0,), (64.0,))
  rng = np.random.default_rng(0)
  labels = jnp.arange(8) % 2
  noise = rng.integers(0, 100, (8, 2, 32, 32, 3))
  # Class 1 is bright on the left half.
  noise[1::2, :, :, :16] += 100
  clips = jnp.asarray(noise.astype(np.uint8))
  state = variables.random(module, clips)
  params, stats = state['params'], state['batch_stats']
  optimizer = optax.adam(3e-3)
  opt_state = optimizer.init(params)

  @jax.jit
  def step(params, stats, opt_state):
    def loss(params):
      scores, updated = module.apply(
        {'params': params, 'batch_stats': stats},
        clips,
        train=True,
        mutable=['batch_stats'],
      )
      losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
      return losses.mean(), updated['batch_stats']

    (value, stats_), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, opt_state_ = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), stats_, opt_state_, value

  for _ in range(30):
    params, stats, opt_state, value = step(params, stats, opt_state)
  assert value < 0.1
