import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.runs import config_history, config_record, data_record
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
    # It has no student, its members have seen all videos, and its proposals have
    # no labels.
    config.template.update(
      label_weight=0.0,
      student_steps=0,
      student_windows=16,
      cross_fit=False,
      student_epochs=0,
      # As they are derived then.
      honest_weight=1.0,
      per_snippet=2.4,
      different_per_snippet=1.6,
      mend_per_snippet=0.4,
    )
    # Which candidates are scored is no matter of training.
    with pytest.warns(
      config_record.ConfigChangedWarning,
      match='different_per_snippet: 0.0 -> 1.6; .*keep_per_snippet: 1.4 -> 0.0',
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


def test_differences_are_sorted_by_key_with_both_values():
  old = {'b': {'y': 1, 'x': 2}, 'a': 0, 'gone': 'was'}
  new = {'b': {'y': 1, 'x': 3}, 'a': 0.0, 'came': [1]}
  assert config_record.differences(old, new) == [
    'b.x: 2 -> 3',
    'came: None -> [1]',
    "gone: 'was' -> None",
  ]
  assert config_record.differences(old, old) == []
  # A section in the place of a value is one difference.
  assert config_record.differences({'a': 1}, {'a': {'b': 1}}) == [
    "a: 1 -> {'b': 1}"
  ]


_VALUES = st.recursive(
  st.one_of(st.integers(-3, 3), st.text('ab', max_size=2), st.booleans()),
  lambda inner: st.dictionaries(st.sampled_from('xyz'), inner, min_size=1),
  max_leaves=6,
)
_SECTIONS = st.dictionaries(st.sampled_from('abc'), _VALUES)


@given(_SECTIONS, _SECTIONS)
def test_differences_do_not_depend_on_the_side(one, other):
  there = config_record.differences(one, other)
  back = config_record.differences(other, one)
  assert (there == []) == (one == other)
  keys = [config_record._key(line) for line in there]
  assert keys == [config_record._key(line) for line in back]
  assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
  ('path', 'expected'),
  [
    ('only/resume/3', True),
    ('joint/best/12', True),
    ('resume/7', True),  # Of a classifier of clips.
    ('best/7', False),
    ('only/resume/half-written', False),
    ('only/best', False),
    ('tensorboard/3', False),
  ],
)
def test_a_run_began_where_it_has_a_checkpoint(tmp_path, path, expected):
  assert not config_record.begun(tmp_path)
  (tmp_path / path).mkdir(parents=True)
  assert config_record.begun(tmp_path) is expected


def test_moved_data_are_free_only_where_they_are_known(tmp_path):
  config = _config()
  config_record.claim(tmp_path, config)
  (tmp_path / 'stages' / 'resume' / '7').mkdir(parents=True)
  config.data.features = 'elsewhere'
  with pytest.raises(config_record.RunFolderError) as error:
    config_record.claim(tmp_path, config)
  assert "data.features: '" in str(error.value)
  assert "-> 'elsewhere'. Use another --workdir" in str(error.value)
  # What was refused is not written.
  assert 'elsewhere' not in (tmp_path / 'config.json').read_text()
  with pytest.warns(config_record.ConfigChangedWarning, match='elsewhere'):
    config_record.claim(tmp_path, config, free=data_record.PATHS)
  assert 'elsewhere' in (tmp_path / 'config.json').read_text()
  # It is the run's config from now on.
  config_record.claim(tmp_path, config)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['config.json', 'stages']


def test_all_that_cannot_change_is_listed_and_nothing_else(tmp_path):
  config_record.claim(tmp_path, _config())
  (tmp_path / 'stages' / 'resume' / '7').mkdir(parents=True)
  config = _config(seed=9, learning_rate=0.5, log_every_steps=3)
  config.template.steps = 1  # Not read by the paper's chain.
  with pytest.raises(config_record.RunFolderError) as error:
    config_record.claim(tmp_path, config)
  listed = str(error.value).partition('config: ')[2].partition('. Use')[0]
  assert [line.partition(':')[0] for line in listed.split('; ')] == [
    'train.learning_rate', 'train.seed',
  ]  # fmt: skip


def test_a_step_keeps_its_number_of_windows(tmp_path):
  config_record.check_batch(tmp_path, 16, 16)
  # Saved before it was noted.
  config_record.check_batch(tmp_path, None, 16)
  with pytest.raises(config_record.RunFolderError) as error:
    config_record.check_batch(tmp_path, 16, 24)
  text = str(error.value)
  assert 'saved with 16 windows a step, now it would be 24' in text
  assert 'accumulate x devices is 16' in text
  with pytest.raises(
    config_record.RunFolderError, match='student_windows x accumulate'
  ):
    config_record.check_batch(tmp_path, 16, 24, 'template.student_windows')


def test_a_student_goes_on_on_another_number_of_devices(tmp_path):
  config = custom.get_config()
  config_record.claim(tmp_path, config)
  (tmp_path / 'student' / 'resume' / '5').mkdir(parents=True)
  with config.unlocked():
    config.template.student_windows = 8
  with pytest.warns(
    config_record.ConfigChangedWarning, match='student_windows'
  ):
    config_record.claim(tmp_path, config)


def test_a_config_that_was_read_is_locked_and_has_tuples():
  found = config_record.from_json(config_record.to_json(_config()))
  assert found.is_locked
  assert isinstance(found.evaluation.ans, tuple)
  with pytest.raises((AttributeError, KeyError), match='learning_rat'):
    found.train.learning_rat = 1.0


def test_what_is_measured_may_change_within_a_run(tmp_path):
  config = custom.get_config('smoke')
  _begin(tmp_path, config_record.to_json(config))
  config.evaluation.protocol = 'thumos'
  with pytest.warns(config_record.ConfigChangedWarning, match='protocol'):
    config_record.claim(tmp_path, config)
