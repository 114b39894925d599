import importlib
import pathlib
import re

import ml_collections
import pytest

from cmsn_jax.settings import default, plus
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
    ('template.per_snippet', 0.0, 'template.per_snippet must be above 0'),
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
