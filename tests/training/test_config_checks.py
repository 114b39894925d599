import importlib
import pathlib
import re

import ml_collections
import pytest

from cmsn_jax.settings import default, plus, recipes
from cmsn_jax.training import config_checks

_CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
_RUNS = sorted(
  path.stem
  for path in _CONFIGS.glob('*.py')
  if 'def get_config' in path.read_text()
  and not path.stem.startswith(('features_', 'pretrain_'))
)


@pytest.mark.parametrize('name', _RUNS)
def test_every_shipped_config_is_valid_and_has_a_docstring(name):
  module = importlib.import_module(f'configs.{name}')
  config_checks.check(module.get_config())
  assert module.__doc__


@pytest.mark.parametrize(
  ('key', 'value', 'message'),
  [
    ('stages.loss', 'vmlc', 'stages.loss must be one of .*vmcl_arc'),
    ('nms.method', 'softt', "nms.method must be one of .*got 'softt'"),
    ('windows.length', 0, 'windows.length must be at least 2, got 0'),
    ('windows.overlap', 1.0, 'overlap must be within'),
    ('evaluation.best_ans', (7,), 'best_ans must be among'),
    ('template.border_error', float('nan'), 'border_error must be at least 0'),
    ('calibration.given', (-1.0, 0.0), 'given must be .* above 0'),
    ('calibration.given', (1.0,), 'given must be'),
    ('calibration.given', (1.0, float('nan')), 'given must be'),
    ('data.holdout', 0.6, r'holdout must be within \[0, 0.5\], got 0.6'),
    ('data.holdout', -0.1, 'holdout must be within'),
    ('stages.dropout', 1.5, r'stages.dropout must be within \[0, 1\), got 1.5'),
    ('stages.dropout', 1.0, 'stages.dropout must be within'),
    ('evaluator.dropout', float('nan'), 'evaluator.dropout must be within'),
    ('nms.sigma', 0.0, 'nms.sigma must be above 0, got 0'),
    ('nms.threshold', 1.1, r'threshold must be within \[0, 1\], got 1.1'),
    ('nms.max_proposals', -1, 'max_proposals must be at least 0, got -1'),
    ('template.keep_per_snippet', -1.0, 'keep_per_snippet must be at least 0'),
    ('template.per_snippet', -1.0, 'template.per_snippet must be at least 0'),
    ('windows.jitter', -3.0, r'jitter must be within \[0, 1\], got -3'),
    ('windows.channel_drop', 1.0, 'channel_drop must be within'),
    ('train.ema', 1.0, r'train.ema must be within \[0, 1\), got 1.0'),
    ('train.learning_rate', 0.0, 'learning_rate must be above 0'),
    ('nms.method', 'threshold', "needs config.chain 'template'"),
  ],
)
def test_a_bad_value_is_named(key, value, message):
  config = default.get_config()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(ValueError, match=message):
    config_checks.check(config)


@pytest.mark.parametrize(
  ('chain', 'key', 'value'),
  [
    ('template', 'proposals.decoder', 'grammar'),
    ('template', 'windows.jitter', 0.5),
    ('template', 'stages.label_rule', 'majority'),
    ('template', 'train.stages_epochs', 3),
    ('paper', 'windows.noise', 0.1),
    ('paper', 'template.steps', 5),
  ],
)
def test_a_key_that_the_chain_does_not_read_is_an_error(chain, key, value):
  config = default.get_config()
  if chain == 'template':
    config = plus.apply(config)
  config.update_from_flattened_dict({key: value})
  match = f"config.{key} has no effect in the chain '{chain}'"
  with pytest.raises(ValueError, match=match):
    config_checks.check(config)


def test_a_chain_that_is_not_there_is_named():
  config = default.get_config()
  config.chain = 'papper'
  with pytest.raises(ValueError, match="no chain 'papper'"):
    config_checks.check(config)


def test_the_template_chain_has_no_video():
  # It used to decode all videos before it failed on a shape.
  config = plus.apply(default.get_config())
  config.data.input = 'video'
  with pytest.raises(ValueError, match="'template' learns from features"):
    config_checks.check(config)


@pytest.mark.parametrize('dilations', [(512, 512), (1024,)])
def test_dilations_must_leave_something_of_a_piece(dilations):
  config = plus.apply(default.get_config())
  config.template.dilations = dilations
  with pytest.raises(ValueError, match='must stay below 1024'):
    config_checks.check(config)


def test_all_problems_come_at_once():
  config = default.get_config()
  config.stages.loss = 'x'
  config.train.dtype = 'float16'
  with pytest.raises(ValueError, match='stages.loss.*train.dtype'):
    config_checks.check(config)


def test_every_key_is_read_somewhere():
  # `proposals.max_candidates` once was in the config and nowhere else.
  root = pathlib.Path(__file__).parents[2]
  files = [*(root / 'cmsn_jax').rglob('*.py'), *(root / 'launch').rglob('*.py')]
  code = '\n'.join(path.read_text() for path in files)
  keys = [
    f'{section}.{key}'
    for section, values in default.get_config().items()
    if isinstance(values, ml_collections.ConfigDict)
    for key in values
  ]
  unread = [
    name for name in keys if not re.search(rf'\.{name.split(".")[1]}\b', code)
  ]
  assert len(keys) > 50 and not unread


def _set(key, value):
  config = default.get_config()
  config.update_from_flattened_dict({key: value})
  return config


def _said(config):
  """What is said of a config, '' of one that is fine."""
  try:
    config_checks.check(config)
  except ValueError as error:
    return str(error)
  return ''


_KNOWN = set(recipes.flat(default.get_config()))
_TABLES = ('_CHOICES', '_AT_LEAST', '_ABOVE', '_WITHIN')


@pytest.mark.parametrize('table', _TABLES)
def test_only_keys_that_there_are_are_checked(table):
  # A key that was renamed would not be checked any more, in silence.
  assert set(getattr(config_checks, table)) <= _KNOWN


def test_no_key_is_checked_twice():
  keys = [key for name in _TABLES for key in getattr(config_checks, name)]
  assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
  ('key', 'choices'), sorted(config_checks._CHOICES.items())
)
def test_the_default_is_one_of_the_choices(key, choices):
  assert recipes.flat(default.get_config())[key] in choices
  said = _said(_set(key, 'none of them'))
  assert f'config.{key} must be one of {", ".join(choices)}, got' in said


@pytest.mark.parametrize(
  ('key', 'least'), sorted(config_checks._AT_LEAST.items())
)
def test_the_least_value_is_allowed_and_what_is_below_is_not(key, least):
  text = f'config.{key} must be at least'
  assert text not in _said(_set(key, least))
  assert f'{text} {least}, got {least - 1}' in _said(_set(key, least - 1))


@pytest.mark.parametrize(
  ('key', 'bounds'), sorted(config_checks._WITHIN.items())
)
def test_of_a_range_the_lower_end_belongs_to_it(key, bounds):
  low, high, closed = bounds
  text = f'config.{key} must be within'
  assert text not in _said(_set(key, float(low)))
  assert text not in _said(_set(key, (low + high) / 2))
  assert (text in _said(_set(key, float(high)))) == (not closed)
  for value in (low - 0.25, high + 0.25, float('nan')):
    assert text in _said(_set(key, value))


@pytest.mark.parametrize(('key', 'least'), sorted(config_checks._ABOVE.items()))
def test_what_must_be_above_is_not_equal(key, least):
  assert f'config.{key} must be above {least:g}, got' in _said(_set(key, least))
  assert f'config.{key} must be above' not in _said(_set(key, least + 1e-6))


@pytest.mark.parametrize(
  ('value', 'allowed'),
  [
    ((), True),
    ((0.5, -3.0), True),
    ((1.0, 0.0), True),
    ((0.0, 0.0), False),
    ((1.0, float('inf')), False),
    ((1.0, 0.0, 0.0), False),
  ],
)
def test_a_calibration_is_a_slope_and_an_offset(value, allowed):
  assert (
    'calibration.given must be' in _said(_set('calibration.given', value))
  ) is (not allowed)


def test_the_best_is_chosen_by_numbers_that_are_measured():
  config = default.get_config()
  config.evaluation.ans, config.evaluation.best_ans = (10, 100), ()
  assert 'best_ans must be among evaluation.ans (10, 100), got ()' in (
    _said(config)
  )
  config.evaluation.best_ans = (100, 10)
  assert _said(config) == ''


@pytest.mark.parametrize(
  ('make', 'phase', 'expected'),
  [
    (default.get_config, 'joint', 'has the phases stages, evaluator here'),
    (
      lambda: plus.apply(default.get_config()),
      'stages',
      'has the phases joint, student',
    ),
    (lambda: _set('evaluator.enabled', False), 'evaluator', 'the phase stages'),
  ],
)
def test_a_phase_is_one_of_the_chain_as_it_is_configured(make, phase, expected):
  with pytest.raises(ValueError, match=expected) as error:
    config_checks.check_phase(make(), phase)
  assert f'--phase={phase}: ' in str(error.value)
  assert 'leave --phase out' in str(error.value)


def test_every_phase_and_all_of_them_may_be_asked_for():
  config = default.get_config()
  for phase in ('all', 'stages', 'evaluator'):
    config_checks.check_phase(config, phase)
