import importlib
import pathlib
import re

import pytest

from cmsn_jax.settings import default
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
    ('joint.border_error', float('nan'), 'border_error must be at least 0'),
    ('joint.calibration', (-1.0, 0.0), 'calibration must be .* above 0'),
    ('joint.calibration', (1.0,), 'calibration must be'),
    ('joint.calibration', (1.0, float('nan')), 'calibration must be'),
    ('nms.method', 'threshold', "needs proposals.generator 'stage_template'"),
  ],
)
def test_a_bad_value_is_named(key, value, message):
  config = default.get_config()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(ValueError, match=message):
    config_checks.check(config)


def test_the_template_chain_has_no_stage_decoder():
  config = default.get_config()
  config.proposals.generator = 'stage_template'
  config.proposals.decoder = 'grammar'
  with pytest.raises(ValueError, match="decoder 'grammar' needs .*stage_runs"):
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
    for key in values
  ]
  unread = [
    name for name in keys if not re.search(rf'\.{name.split(".")[1]}\b', code)
  ]
  assert len(keys) > 50 and not unread
