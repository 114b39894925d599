"""The bundle of the paper's networks, and what is computed from it."""

import jax
import numpy as np
import pytest

from cmsn_jax.chains.paper import networks
from cmsn_jax.features import pixels
from cmsn_jax.scoring import roi_pooling
from cmsn_jax.settings import default, smoke
from cmsn_jax.stages import cosine_margin


def _config(**changes):
  config = smoke.apply(default.get_config(), 'smoke')
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture(scope='module')
def made():
  """(networks, bundle) on seven features."""
  found = networks.build(_config())
  keys = jax.random.split(jax.random.key(0))
  return found, {
    'stages': found.init_stages(keys[0], 16, (7,)),
    'evaluator': found.init_evaluator(keys[1], found.width),
  }


def _inputs(batch=2, length=16, valid=16):
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(batch, length, 7)).astype(np.float32)
  mask = np.arange(length)[None, :] < np.full((batch, 1), valid)
  return jax.numpy.asarray(inputs), jax.numpy.asarray(mask)


def test_the_shapes_are_those_of_made_parameters(made):
  found, params = made
  shapes = found.shapes((7,))
  assert jax.tree.map(lambda x: x.shape, shapes) == jax.tree.map(
    lambda x: x.shape, params
  )
  assert all(
    isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(shapes)
  )


def test_without_an_evaluator_the_bundle_has_stages_alone():
  found = networks.build(_config(**{'evaluator.enabled': False}))
  assert found.evaluator is None
  assert set(found.shapes((7,))) == {'stages'}


def test_encode_gives_the_probabilities_of_the_stage_network(made):
  found, params = made
  inputs, mask = _inputs()
  scores = found.encode(params, inputs, mask)
  assert scores.probabilities.shape == (2, 16, 6)
  assert scores.hidden.shape == (2, 16, found.width)
  np.testing.assert_allclose(scores.probabilities.sum(-1), 1, atol=1e-5)
  outputs = found.stages.apply({'params': params['stages']}, inputs, mask)
  np.testing.assert_allclose(
    scores.probabilities,
    cosine_margin.probabilities(outputs.scores, kind='vmcl', scale=30.0),
    rtol=1e-6,
  )
  np.testing.assert_array_equal(scores.hidden, outputs.hidden)


def test_what_is_padded_changes_nothing(made):
  found, params = made
  inputs, mask = _inputs(valid=11)
  padded = inputs.at[:, 11:].set(1e3)
  short = found.encode(params, inputs[:, :11], mask[:, :11])
  for one in (inputs, padded):
    whole = found.encode(params, one, mask)
    np.testing.assert_allclose(
      whole.probabilities[:, :11], short.probabilities, atol=1e-5
    )
    np.testing.assert_allclose(whole.hidden[:, :11], short.hidden, atol=1e-5)


def test_a_score_is_the_sigmoid_of_the_evaluator_on_pooled_features(made):
  found, params = made
  rng = np.random.default_rng(1)
  hidden = jax.numpy.asarray(
    rng.normal(size=(20, found.width)).astype(np.float32)
  )
  starts = jax.numpy.asarray([0, 3, 19], jax.numpy.int32)
  ends = jax.numpy.asarray([4, 3, 19], jax.numpy.int32)
  scores = found.score(params, hidden, starts, ends)
  # By plain loops: bins of at least one snippet, the largest value in each.
  for k, (start, end) in enumerate([(0, 4), (3, 3), (19, 19)]):
    roi = roi_pooling.roi_max_pool(
      hidden, starts[k : k + 1], ends[k : k + 1], found.roi_bins
    )
    assert float(roi.max()) <= float(hidden[start : end + 1].max()) + 1e-6
    logit = found.evaluator.apply({'params': params['evaluator']}, roi)
    np.testing.assert_allclose(
      scores[k], 1 / (1 + np.exp(-np.float64(logit[0]))), rtol=1e-5
    )


def test_a_score_does_not_depend_on_the_other_proposals(made):
  found, params = made
  rng = np.random.default_rng(2)
  hidden = jax.numpy.asarray(
    rng.normal(size=(30, found.width)).astype(np.float32)
  )
  starts = jax.numpy.asarray(rng.integers(0, 15, 9), jax.numpy.int32)
  ends = starts + jax.numpy.asarray(rng.integers(0, 15, 9), jax.numpy.int32)
  together = found.score(params, hidden, starts, ends)
  alone = [
    found.score(params, hidden, starts[k : k + 1], ends[k : k + 1])[0]
    for k in range(9)
  ]
  np.testing.assert_allclose(together, alone, atol=1e-6)


def test_video_goes_through_the_extractor_as_its_weights_want_it():
  config = _config(
    **{
      'data.input': 'video',
      'extractor.widths': (2, 3, 4, 4, 4),
      'extractor.channel_order': 'bgr',
      'extractor.mean': (10.0, 20.0, 30.0),
      'extractor.scale': (0.5, 0.5, 0.5),
    }
  )
  found = networks.build(config)
  shape = (8, 32, 32, 3)
  params = {'stages': found.init_stages(jax.random.key(0), 2, shape)}
  assert set(params['stages']) == {'extractor', 'network'}
  rng = np.random.default_rng(0)
  frames = jax.numpy.asarray(
    rng.integers(0, 256, (1, 16, 32, 32, 3), dtype=np.uint8)
  )
  mask = jax.numpy.ones((1, 2), bool)
  scores = found.encode(params, frames, mask)
  assert scores.probabilities.shape == (1, 2, 6)
  # The same by hand: channels turned round, mean taken off, scaled.
  changed = pixels.preprocess(
    frames, mean=(10.0, 20.0, 30.0), scale=(0.5,) * 3, channel_order='bgr'
  )
  by_hand = (np.asarray(frames, np.float32)[..., ::-1] - [10, 20, 30]) * 0.5
  np.testing.assert_allclose(changed, by_hand, atol=1e-4)


@pytest.mark.parametrize(
  ('key', 'value', 'match'),
  [
    ('data.input', 'sound', 'data.input'),
    ('train.dtype', 'float16', 'train.dtype'),
  ],
)
def test_a_setting_that_is_not_known_is_named(key, value, match):
  with pytest.raises(ValueError, match=match):
    networks.build(_config(**{key: value}))


def test_an_extractor_that_is_not_there_is_named():
  config = _config(**{'data.input': 'video', 'extractor.name': 'c4d'})
  with pytest.raises(ValueError, match='extractor.name'):
    networks.build(config)


def test_softmax_has_a_linear_head():
  found = networks.build(_config(**{'stages.loss': 'softmax'}))
  params = found.init_stages(jax.random.key(0), 8, (7,))
  names = {
    '/'.join(str(getattr(k, 'key', k)) for k in path)
    for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]
  }
  assert any('bias' in name and 'classifier' in name for name in names)
