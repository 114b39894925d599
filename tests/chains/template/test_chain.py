"""What the template chain answers before anything is read."""

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import protocol
from cmsn_jax.chains.paper import chain as paper
from cmsn_jax.chains.template import chain
from cmsn_jax.data import training_data
from cmsn_jax.settings import default, plus


def _config(**changes):
  config = plus.apply(default.get_config())
  config.update_from_flattened_dict(changes)
  return config


def test_the_shipped_settings_are_fine():
  assert chain.problems(_config()) == []
  assert chain.phases(_config()) == ('joint', 'student')
  alone = _config(**{'template.student_steps': 0})
  assert chain.phases(alone) == ('joint',)


@pytest.mark.parametrize(
  ('key', 'value', 'part'),
  [
    ('data.input', 'video', 'launch.extract_features'),
    ('template.members', 3, 'divisible by the 3 of template.members, got 32'),
    ('nms.method', 'none', "nms.method 'none'"),
    ('template.slow_features', 0.5, 'or within [1, 4], got 0.5'),
    ('template.slow_stages', 4.5, 'slow_stages must be 0'),
    ('template.slow_stages', float('nan'), 'slow_stages must be 0'),
    ('template.honest_weight', 0.5, 'a number from 1 on, got 0.5'),
    ('template.honest_weight', float('inf'), 'honest_weight must be 0'),
    ('template.dilations', (512, 512), 'reach'),
  ],
)
def test_what_cannot_be_is_said_with_its_remedy(key, value, part):
  (problem,) = chain.problems(_config(**{key: value}))
  assert part in problem


def test_all_problems_come_at_once():
  found = chain.problems(
    _config(**{'data.input': 'video', 'nms.method': 'none'})
  )
  assert len(found) == 2


@pytest.mark.parametrize(
  ('one', 'key', 'read'),
  [
    (chain, 'template.steps', True),
    (chain, 'windows.noise', True),
    (chain, 'stages.scale', True),
    (chain, 'stages.width', False),
    (chain, 'proposals.stitch', False),
    (chain, 'evaluator.hidden', False),
    (paper, 'stages.width', True),
    (paper, 'evaluator.hidden', True),
    (paper, 'windows.jitter', True),
    (paper, 'windows.noise', False),
    (paper, 'template.steps', False),
  ],
)
def test_a_chain_knows_what_it_reads(one, key, read):
  assert protocol.covers(one.READS, key) == read


def test_the_paper_chain_has_one_phase_without_its_evaluator():
  config = default.get_config()
  assert paper.phases(config) == ('stages', 'evaluator')
  config.evaluator.enabled = False
  assert paper.phases(config) == ('stages',)


def test_the_paper_chain_has_no_probability_a_threshold():
  config = default.get_config()
  assert paper.problems(config) == []
  config.nms.method = 'threshold'
  (problem,) = paper.problems(config)
  assert "'threshold' needs config.chain 'template'" in problem


class _Source:
  feature_fps = 5.0


def test_the_paper_chain_derives_nothing_from_features():
  config = default.get_config()
  video = activitynet.Video(
    'v', 'training', 9.0, np.array([[1.0, 3.0]]), ('x',)
  )
  data = training_data.TrainingData(
    activitynet.Annotations('one', {'v': video}), {'v': video}, {}, _Source()
  )
  found = paper.derive(config, data)
  assert found.to_json() == config.to_json() and found.is_locked
