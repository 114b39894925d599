"""Overlapping windows are averaged, grouped, and ranked by mean actionness."""

import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.chains.tag import chain, predictor
from cmsn_jax.settings import recipes


class _Source:
  """10 snippets at 5 a second; the feature is the actionness."""

  feature_fps = 5.0
  features = np.float32(
    [[0.1], [0.1], [0.9], [0.9], [0.8], [0.1]] + [[0.1]] * 4
  )

  def num_snippets(self, video_id):
    return len(self.features)

  def read(self, video_id, start=0, stop=None):
    return self.features[start:stop]


class _Networks:
  """A third of the actionness in Start, Confirm and End; the rest Background."""

  facts = {}

  def encode(self, params, inputs, mask):
    inside = inputs[..., 0] / 3
    zero = 0 * inside
    # The PES input is not looked at.
    stages = [1 - 3 * inside, zero, inside, inside, inside, zero]
    return jnp.stack(stages, axis=-1), inputs

  def score(self, params, *arrays):
    return arrays


def _found():
  config = recipes.of_chain('tag')
  config.windows.length = 4
  made = predictor.Predictor(config, _Networks(), {'stages': {}})
  ((_, found),) = made.propose(_Source(), ['a'])
  return found


def test_the_highest_group_comes_first():
  found = _found()
  np.testing.assert_allclose(found.proposals.segments[0], [0.4, 0.8])
  assert found.proposals.scores[0] == pytest.approx(0.9, abs=1e-6)
  assert [0.4, 1.0] in found.proposals.segments.round(6).tolist()
  assert np.all(np.diff(found.proposals.scores) <= 1e-12)


def test_stage_probabilities_are_those_of_the_whole_video():
  found = _found()
  assert found.probabilities.shape == (10, 6)
  np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-6)
  np.testing.assert_allclose(
    found.probabilities[:, 2:5].sum(axis=1), _Source.features[:, 0], atol=1e-6
  )


def test_it_is_the_paper_s_stage_network_alone():
  networks = chain.networks(recipes.of_chain('tag'))
  assert set(networks.shapes((9,))) == {'stages'}


@pytest.mark.parametrize(
  ('key', 'value', 'said'),
  [
    ('nms.method', 'threshold', 'a probability a threshold'),
    ('data.input', 'video', 'learns from features'),
  ],
)
def test_what_cannot_be_is_said(key, value, said):
  config = recipes.of_chain('tag')
  config.update_from_flattened_dict({key: value})
  (found,) = chain.problems(config)
  assert said in found
