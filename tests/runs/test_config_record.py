import json
import pathlib

import pytest

from cmsn_jax.runs import config_history, config_record
from configs import custom, rat_social

# What the version before chains had folders saved of both chains.
_SAVED = json.loads(
  (pathlib.Path(__file__).parent / 'configs_0_1.json').read_text()
)
_NOW = {'paper': rat_social, 'template': custom}


def _config(**train):
  config = rat_social.get_config('smoke')
  config.train.update(train)
  return config


def test_another_config_in_the_same_workdir_is_refused(tmp_path):
  config_record.claim(tmp_path, _config())
  # Nothing was trained yet: a mistyped value binds nobody.
  config_record.claim(tmp_path, _config(learning_rate=0.5))
  config_record.claim(tmp_path, _config())
  (tmp_path / 'stages' / 'resume' / '7').mkdir(parents=True)
  changed = _config(learning_rate=1.0)
  with pytest.raises(
    config_record.RunFolderError, match='learning_rate: 0.003'
  ):
    config_record.claim(tmp_path, changed)
  longer = _config(stages_epochs=9)
  with pytest.warns(
    config_record.ConfigChangedWarning, match='train.stages_epochs: 2 -> 9'
  ):
    config_record.claim(tmp_path, longer)


def test_config_survives_json():
  config = _config()
  back = config_record.from_json(config_record.to_json(config))
  assert back.to_dict() == config.to_dict()


def _begin(workdir, saved):
  (workdir / 'joint' / 'best' / '3').mkdir(parents=True)
  (workdir / 'config.json').write_text(json.dumps(saved))


@pytest.mark.parametrize('chain', ['paper', 'template'])
def test_a_run_of_version_0_1_goes_on(tmp_path, chain):
  config = _NOW[chain].get_config('smoke')
  _begin(tmp_path, _SAVED[chain])
  if chain == 'template':
    # Which candidates are scored is no matter of training.
    with pytest.warns(
      config_record.ConfigChangedWarning,
      match='different_per_snippet: 0.0 -> 2.0; .*keep_per_snippet: 1.4 -> 0.0',
    ):
      config_record.claim(tmp_path, config)
  else:
    config_record.claim(tmp_path, config)
  written = json.loads((tmp_path / 'config.json').read_text())
  assert written == config_record.to_json(config)
  read = config_record.from_json(_SAVED[chain])
  assert read.chain == chain
  assert read.calibration.fit == (chain == 'template')


def test_a_run_saved_before_a_key_came_goes_on(tmp_path):
  saved = json.loads(json.dumps(_SAVED['paper']))
  del saved['proposals']['decoder']
  # The paper's chain reads no key of the template chain.
  for key in (
    'action_weight', 'clear_weight', 'clear_reach', 'border_error',
    'calibration', 'num_actions',
  ):  # fmt: skip
    del saved['joint'][key]
  _begin(tmp_path, saved)
  assert config_record.from_json(saved).proposals.decoder == 'argmax'
  config_record.claim(tmp_path, rat_social.get_config('smoke'))
  assert 'decoder' in (tmp_path / 'config.json').read_text()


def test_a_removed_key_with_another_value_is_refused_by_name():
  saved = json.loads(json.dumps(_SAVED['template']))
  saved['joint']['inner_bins'] = 4
  with pytest.raises(
    config_history.RemovedKeyError, match='template.inner_bins = 4'
  ):
    config_record.from_json(saved)


def test_what_inference_alone_sees_may_change(tmp_path):
  config = custom.get_config('smoke')
  _begin(tmp_path, config_record.to_json(config))
  config.template.clear_weight = 0.0
  with pytest.warns(
    config_record.ConfigChangedWarning, match='template.clear_weight: 0.2 -> 0'
  ):
    config_record.claim(tmp_path, config)
  config.nms.method = 'greedy'
  with pytest.warns(
    config_record.ConfigChangedWarning,
    match='propose as they did; launch.propose --nms chooses',
  ):
    config_record.claim(tmp_path, config)
  config.template.steps = 5
  with pytest.raises(config_record.RunFolderError, match='template.steps'):
    config_record.claim(tmp_path, config)
