"""Windows of a video are pooled, in seconds, and programs fit the window."""

import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains import registry
from cmsn_jax.chains.bmn import predictor
from cmsn_jax.settings import recipes


class _Source:
  """20 snippets at 2 a second; feature 0 is a start, feature 1 an end."""

  feature_fps = 2.0

  def __init__(self, segments, total=20):
    self.features = np.zeros((total, 2), np.float32)
    for start, end in segments:
      self.features[start, 0] = self.features[end, 1] = 0.9

  def num_snippets(self, video_id):
    if video_id == 'broken':
      raise ValueError('cannot be read')
    return len(self.features)

  def read(self, video_id, start=0, stop=None):
    return self.features[start:stop]


class _Networks:
  """Boundaries are the features, every confidence is what it is told."""

  facts = {}

  def encode(self, params, inputs, mask):
    b, t, _ = inputs.shape
    return inputs, jnp.full((b, t, 5, 2), params['confidence'])

  def score(self, params, scores):
    return scores


def _config(**changes):
  config = recipes.of_chain('bmn')
  config.windows.length = 8
  config.bmn.durations = (1, 2, 3, 4, 5)
  config.nms.method = 'none'
  config.update_from_flattened_dict(changes)
  return config


def _proposals(segments, videos=('a',), on_error=None, **changes):
  made = predictor.Predictor(
    _config(**changes), _Networks(), {'confidence': 0.25}
  )
  return dict(made.propose(_Source(segments), videos, on_error))


def test_pairs_of_all_windows_are_pooled_in_seconds():
  found = _proposals([(2, 6), (13, 17)])['a'].proposals
  # Each lies whole in two windows, and is there once; (2, 17) fits in none.
  # The ends of a window without a border are worth nothing.
  assert found.segments[:2].tolist() == [[1.0, 3.0], [6.5, 8.5]]
  # .9 x .9 x sqrt(.25 x .25)
  np.testing.assert_allclose(found.scores[:2], 0.2025, rtol=1e-6)
  assert not found.scores[2:].any()


def test_the_best_pairs_reach_the_nms_and_the_broken_are_told():
  said = []
  found = _proposals(
    [(2, 6), (13, 17)], ('a', 'broken'), lambda *told: said.append(told),
    **{'bmn.per_snippet': 0.05},
  )  # fmt: skip
  assert list(found) == ['a'] and said == [('broken', 'cannot be read')]
  assert len(found['a'].proposals.scores) == 1


def test_an_empty_video_has_no_proposals():
  made = predictor.Predictor(_config(), _Networks(), {'confidence': 0.5})
  ((_, found),) = made.propose(_Source([], total=0), ['a'])
  assert len(found.proposals.scores) == 0 and found.probabilities is None


def test_its_program_takes_windows_of_the_run():
  config = _config(**{'bmn.shrink': 64, 'bmn.samples': 4})
  chain = registry.load('bmn')
  networks = chain.networks(config)
  inputs = (
    jax.ShapeDtypeStruct((2, 100, 7), jnp.float32),
    jax.ShapeDtypeStruct((2, 100), jnp.bool_),
  )
  found = chain.programs(
    config, networks, networks.shapes((7,)), inputs, (100, 1)
  )
  assert found.facts == {'length': 8}
  (program,) = found.functions.values()
  out = jax.eval_shape(program.function, networks.shapes((7,)), *program.specs)
  assert [x.shape for x in out] == [(2, 8, 2), (2, 8, 5, 2)]
  assert program.text == (
    'window (2, 8, 7) -> boundaries (2, 8, 2), confidence maps (2, 8, 5, 2)'
  )
