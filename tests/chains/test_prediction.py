"""Predictors share what was compiled, and nothing else."""

import jax
import numpy as np
import pytest

from cmsn_jax.chains import prediction, registry
from cmsn_jax.files import proposal_files
from tests.chains.toy import predictor as toy_predictor
from tests.chains.toy import recipe


class _Networks:
  """Counts how often it is traced."""

  facts = {}

  def __init__(self):
    self.traced = 0

  def encode(self, params, inputs, mask):
    self.traced += 1
    return inputs @ params['w'] * mask

  def score(self, params, means):
    return means


class _Predictor(prediction.Predictor):
  def propose(self, source, video_ids, on_error=None):
    for video_id in video_ids:
      yield video_id, self._encode(self.params, source, np.ones(2))


def _answer(predictor):
  ((name, found),) = predictor.propose(np.eye(2), ['v'])
  return name, np.asarray(found).tolist()


def test_who_proposes_nothing_is_no_predictor():
  with pytest.raises(TypeError, match='propose'):
    prediction.Predictor(None, _Networks(), {})


def test_other_parameters_need_no_other_programs():
  networks = _Networks()
  first = _Predictor('config', networks, {'w': np.array([1.0, 2.0])})
  assert _answer(first) == ('v', [1.0, 2.0])
  other = first.with_params({'w': np.array([3.0, 4.0])})
  assert _answer(other) == ('v', [3.0, 4.0])
  # The first one is as it was, and all was compiled once.
  assert _answer(first) == ('v', [1.0, 2.0])
  assert networks.traced == 1
  assert type(other) is _Predictor
  assert other.config == 'config' and other.networks is networks


def test_parameters_are_on_the_device_once():
  predictor = _Predictor(None, _Networks(), {'w': np.ones(2)})
  assert isinstance(predictor.params['w'], jax.Array)
  assert predictor.params is predictor.params
  given = np.zeros(2)
  other = predictor.with_params({'w': given})
  given[:] = 9.0
  _answer(other)
  assert predictor.with_params({}).params == {}


class _Source:
  """Snippets of one number each, two a second."""

  feature_fps = 2.0
  snippet_shape = (1,)
  _rows = {
    'one': [0, 0, 5, 5, 5, 0, 0, 9, 9, 0],
    'all': [4, 4, 4],
    'none': [0, 0],
  }

  def num_snippets(self, video_id):
    return len(self._rows[video_id])

  def read(self, video_id, start, stop):
    return np.array(self._rows[video_id], np.float32)[start:stop, None]


@pytest.fixture(scope='module')
def toy():
  params = {'toy': {'weight': np.array([1.0], np.float32), 'bias': -3.0}}
  return registry.predictor(recipe.get_config(), params)


def test_segments_are_in_seconds_and_best_first(toy):
  assert isinstance(toy, toy_predictor.Predictor)
  found = dict(toy.propose(_Source(), ['one']))
  segments, scores = found['one'].proposals
  np.testing.assert_allclose(segments, [[3.5, 4.5], [1.0, 2.5]])
  expected = 1 / (1 + np.exp(-(np.array([9.0, 5.0]) - 3)))
  np.testing.assert_allclose(scores, expected, atol=1e-6)
  assert found['one'].probabilities is None


def test_videos_come_in_the_order_asked_for_and_may_have_nothing(toy):
  names = ['none', 'one', 'all']
  found = list(toy.propose(_Source(), names))
  assert [name for name, _ in found] == names
  assert found[0][1].proposals.segments.shape == (0, 2)
  np.testing.assert_allclose(found[2][1].proposals.segments, [[0.0, 1.5]])


def test_a_video_is_read_when_it_is_its_turn(toy):
  found = toy.propose(_Source(), ['all', 'no such video'])
  assert next(found)[0] == 'all'
  with pytest.raises(KeyError, match='no such video'):
    next(found)


def _labelled():
  """Three proposals; of the second, two labels are likely."""
  return prediction.labelled(
    proposal_files.Proposals(
      np.array([[0.0, 1.0], [2.0, 4.0], [5.0, 6.0]]), np.array([0.9, 0.6, 0.5])
    ),
    None,
    prediction.LabelScores(
      ('dig', 'run', 'sit'),
      np.array([[0.02, 0.97, 0.01], [0.5, 0.1, 0.4], [0.04, 0.03, 0.93]]),
    ),
  )


def test_each_proposal_has_its_likeliest_label():
  found = _labelled().rows('best')
  assert found.labels == ('run', 'dig', 'sit')
  np.testing.assert_allclose(found.label_scores, [0.97, 0.5, 0.93])
  np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.5])
  none = _labelled().rows('none')
  assert none.labels is None and none.label_scores is None
  np.testing.assert_array_equal(none.segments, found.segments)


def test_a_row_a_likely_label_with_the_product_as_score():
  found = _labelled().rows('all')
  np.testing.assert_allclose(
    found.scores, [0.9 * 0.97, 0.5 * 0.93, 0.6 * 0.5, 0.6 * 0.4, 0.6 * 0.1]
  )
  assert found.labels == ('run', 'sit', 'dig', 'sit', 'run')
  np.testing.assert_allclose(found.label_scores, [0.97, 0.93, 0.5, 0.4, 0.1])
  np.testing.assert_allclose(found.segments[2:], [[2.0, 4.0]] * 3)
  # The likeliest has a row however unlikely it is.
  assert len(_labelled().rows('all', least=2.0).scores) == 3


def test_fewer_proposals_keep_their_labels():
  found = _labelled().take(np.array([2, 0]))
  assert found.proposals.labels == ('sit', 'run')
  np.testing.assert_allclose(found.labels.probabilities[0, 2], 0.93)
  assert len(_labelled().take(np.zeros(0, int)).rows('all').scores) == 0


def test_what_cannot_be_asked_of_labels():
  with pytest.raises(ValueError, match="labels must be one of .*got 'both'"):
    _labelled().rows('both')
  plain = prediction.Prediction(_labelled().rows('none'), None)
  assert plain.rows('best').labels is None
  with pytest.raises(ValueError, match='gives no labels'):
    plain.rows('all')
