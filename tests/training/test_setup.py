import pytest

from cmsn_jax.settings import default, plus, smoke
from cmsn_jax.training import setup, steps
from tests.chains.toy import recipe


def _template():
  config = smoke.apply(plus.apply(default.get_config()), 'smoke')
  config.data.annotations = 'generated:4x40'
  return config


def test_what_the_data_decide_is_filled_in_and_the_rest_left(tmp_path):
  config = _template()
  before = config.to_json()
  done, data = setup.open_run(config, tmp_path)
  assert config.to_json() == before
  assert done.template.durations and done.template.typical_duration > 0
  assert done.template.num_actions == len(
    {label for v in data.train.values() for label in v.labels}
  )
  assert done.is_locked
  # Twice the same: a run that goes on derives what it derived.
  again, _ = setup.open_run(config, tmp_path)
  assert again.to_json() == done.to_json()


def test_a_config_that_cannot_be_is_refused_before_data_are_opened(tmp_path):
  config = _template()
  config.data.annotations = 'no/such/file.json'
  config.template.members = 3
  config.train.batch_per_device = 4
  with pytest.raises(ValueError, match='divisible by the 3'):
    setup.open_run(config, tmp_path)
  assert not list(tmp_path.iterdir())


def test_data_that_are_not_there_are_named(tmp_path):
  config = recipe.get_config()
  config.data.annotations = str(tmp_path / 'labels.json')
  config.data.features = str(tmp_path)
  with pytest.raises(FileNotFoundError, match='labels.json'):
    setup.open_run(config, tmp_path / 'run')


@pytest.mark.parametrize('text', ['generated:4', 'generated:x', 'generated:4x'])
def test_made_up_data_must_say_how_many_and_how_long(tmp_path, text):
  config = recipe.get_config()
  config.data.annotations = text
  with pytest.raises(ValueError, match='generated:NxS'):
    setup.open_run(config, tmp_path)


def test_run_opens_and_trains(tmp_path, monkeypatch):
  traced, train_step = [], steps.train_step

  def counted(*args, **kwargs):
    traced.append(args)
    return train_step(*args, **kwargs)

  monkeypatch.setattr(steps, 'train_step', counted)
  result = setup.run(recipe.get_config(), tmp_path, quiet=True)
  assert result.metrics['ar_50'] >= 0
  assert (tmp_path / 'only' / 'best').is_dir()
  # Compiling is most of a short run: once, not again for the step's own result.
  assert len(traced) == 1


def test_a_phase_that_is_not_there_is_named(tmp_path):
  with pytest.raises(ValueError, match='--phase=second: .* has the phase only'):
    setup.run(recipe.get_config(), tmp_path, phase='second', quiet=True)
