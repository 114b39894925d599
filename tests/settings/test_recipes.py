import pytest

from cmsn_jax.chains import registry
from cmsn_jax.settings import recipes
from cmsn_jax.training import config_checks
from configs import custom


@pytest.mark.parametrize('name', recipes.names())
@pytest.mark.parametrize('size', ['', ',smoke'])
def test_custom_takes_every_chain(name, size):
  config = custom.get_config(name + size)
  assert config.chain == name
  config_checks.check(config)


def test_every_chain_that_is_here_has_settings():
  assert sorted(recipes.names()) == registry.names()


def test_without_a_chain_it_is_the_template_one():
  assert custom.get_config().chain == 'template'
  assert custom.get_config('smoke').data.annotations.startswith('generated:')
  for arg in ('tiny', 'bmn,tiny', 'smoke,bmn'):
    with pytest.raises(ValueError, match="must be 'smoke' or a chain"):
      custom.get_config(arg)


def _given():
  config = custom.get_config()
  config.data.annotations, config.data.pool = 'a.json', 3
  config.train.seed, config.train.learning_rate = 5, 0.5
  config.evaluation.ans = (7, 50, 100)
  config.bmn.steps = 11
  config.template.steps = 13
  return config


@pytest.mark.parametrize('name', recipes.names())
def test_another_chain_takes_the_data_and_its_own_keys(name):
  given = _given()
  found = recipes.for_chain(given, name)
  config_checks.check(found)
  assert found.chain == name and given.bmn.steps == 11
  assert (found.data.annotations, found.data.pool) == ('a.json', 3)
  assert (found.train.seed, found.evaluation.ans[0]) == (5, 7)
  own = recipes.of_chain(name)
  is_own = name == given.chain
  assert found.train.learning_rate == (
    0.5 if is_own else own.train.learning_rate
  )
  assert found.bmn.steps == (11 if name == 'bmn' else own.bmn.steps)
  assert found.template.steps == (13 if is_own else own.template.steps)


def test_what_a_recipe_sets_for_its_own_chain_is_not_passed_on():
  config = recipes.of_chain('paper')
  config.data.features = 'f'
  found = recipes.for_chain(config, 'template')
  assert found.data.features == 'f'
  usual = recipes.flat(recipes.of_chain('template'))
  changed = {k for k, v in recipes.flat(found).items() if v != usual[k]}
  assert changed == {'data.features'}


def test_a_chain_of_ones_own_keeps_its_config_and_others_need_settings():
  config = recipes.of_chain('paper')
  config.chain = 'tests.chains.toy.chain'
  assert recipes.for_chain(config, config.chain).chain == config.chain
  assert recipes.for_chain(config, 'bmn').chain == 'bmn'
  with pytest.raises(ValueError, match='no settings for the chain'):
    recipes.for_chain(recipes.of_chain('bmn'), 'tests.chains.toy.chain')
