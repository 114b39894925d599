import json
import pathlib

import pytest

from cmsn_jax.runs import config_history
from cmsn_jax.settings import default

_SAVED = json.loads(
  (pathlib.Path(__file__).parent / 'configs_0_1.json').read_text()
)


def _flat(values, prefix=''):
  for key, value in values.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}'


@pytest.mark.parametrize('chain', ['paper', 'template'])
def test_a_config_of_version_0_1_has_the_keys_of_today(chain):
  before = json.dumps(_SAVED[chain])
  found = config_history.current(_SAVED[chain])
  assert json.dumps(_SAVED[chain]) == before
  assert set(_flat(found)) == set(_flat(default.get_config().to_dict()))
  assert found['chain'] == chain


@pytest.mark.parametrize('chain', ['paper', 'template'])
def test_a_config_of_today_stays_as_it_is(chain):
  once = config_history.current(_SAVED[chain])
  assert config_history.current(once) == once


def test_the_config_of_a_classifier_of_clips_gets_what_came_later():
  values = {'train': {'epochs': 3}, 'clips': {'per_video': 2}}
  once = config_history.current(values)
  assert once == {
    'train': {'epochs': 3, 'checkpoint_every_sec': 60.0},
    'clips': {'per_video': 2},
  }
  assert config_history.current(once) == once


def test_a_calibration_is_kept_under_its_new_name():
  saved = json.loads(json.dumps(_SAVED['template']))
  saved['joint']['calibration'] = [0.7, -1.5]
  assert config_history.current(saved)['calibration']['given'] == [0.7, -1.5]


@pytest.mark.parametrize(
  ('section', 'key', 'value', 'name'),
  [
    ('data', 'per_video_features', True, 'data.per_video_features'),
    ('evaluator', 'high_tiou', 0.7, 'evaluator.high_tiou'),
    ('stages', 'class_balance', 0.5, 'stages.class_balance'),
    ('joint', 'duration_ratio', 1.3, 'template.duration_ratio'),
  ],
)
def test_what_is_no_more_is_refused_where_it_was_used(
  section, key, value, name
):
  saved = json.loads(json.dumps(_SAVED['template']))
  saved[section][key] = value
  with pytest.raises(config_history.RemovedKeyError, match=name):
    config_history.current(saved)


@pytest.mark.parametrize(
  ('key', 'value', 'expected'),
  [
    ('joint.steps', '20', ('template.steps', '20')),
    ('joint.calibration', '(1.0, 0.0)', ('calibration.given', '(1.0, 0.0)')),
    ('proposals.generator', 'stage_template', ('chain', 'template')),
    ('proposals.generator', 'my.chain', ('chain', 'my.chain')),
    ('jointly.steps', '20', ('jointly.steps', '20')),
    ('train.seed', '1', ('train.seed', '1')),
  ],
)
def test_a_key_of_an_older_version_is_found(key, value, expected):
  assert config_history.current_key(key, value) == expected


def test_a_removed_key_is_named():
  with pytest.raises(config_history.RemovedKeyError, match='inner_bins'):
    config_history.current_key('joint.inner_bins', '4')
  with pytest.raises(
    config_history.RemovedKeyError, match='breadth is no more; .*mend_per_snip'
  ):
    config_history.current_key('template.breadth', '2.0')


@pytest.mark.parametrize(('breadth', 'factor'), [(2.0, 2), (1.0, 1), (0.0, 1)])
def test_the_candidates_of_runs_with_a_breadth_stay_as_many(breadth, factor):
  values = json.loads(default.get_config().to_json())
  values['template'] |= {
    'per_snippet': 3.25,
    'different_per_snippet': 2.0,
    'mend_per_snippet': 0.5,
    'breadth': breadth,
  }
  del values['template']['clear_candidates']
  found = config_history.current(values)['template']
  assert found['per_snippet'] == 3.25 * factor
  assert found['different_per_snippet'] == 2.0 * factor
  assert found['mend_per_snippet'] == 0.5 * factor
  assert 'breadth' not in found and found['clear_candidates'] == 0.0
