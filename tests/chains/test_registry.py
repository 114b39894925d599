import sys
import types

import pytest

from cmsn_jax.chains import prediction, protocol, registry
from cmsn_jax.settings import default, plus


@pytest.mark.parametrize('name', registry.names())
def test_a_name_is_a_folder(name):
  found = registry.load(name)
  assert found.__name__ == f'cmsn_jax.chains.{name}.chain'
  assert registry.load(found.__name__) is found


def test_the_chains_that_are_here_are_named():
  assert {'paper', 'template', 'bmn', 'tag'} <= set(registry.names())
  with pytest.raises(ValueError, match='bmn, paper, tag, template, or'):
    registry.load('papper')


@pytest.mark.parametrize('name', ['papper', 'no.such.module', 'cmsn_jax.none'])
def test_no_such_chain_is_named(name):
  with pytest.raises(ValueError, match=f'no chain {name!r}'):
    registry.load(name)


@pytest.mark.parametrize('name', ['', '.x', 'a..b', 'a/b', 'my chain'])
def test_what_is_no_name_is_said_so(name):
  with pytest.raises(ValueError, match='config.chain must be'):
    registry.load(name)


def test_a_fault_inside_a_chain_is_not_taken_for_a_missing_one(
  tmp_path, monkeypatch
):
  (tmp_path / 'faulty_chain').mkdir()
  (tmp_path / 'faulty_chain' / '__init__.py').write_text('')
  (tmp_path / 'faulty_chain' / 'chain.py').write_text('import not_there_at_all')
  monkeypatch.syspath_prepend(str(tmp_path))
  with pytest.raises(ModuleNotFoundError, match='not_there_at_all'):
    registry.load('faulty_chain.chain')


def test_a_module_that_is_no_chain_says_what_it_lacks(monkeypatch):
  module = types.ModuleType('half.chain')
  module.__file__ = 'half/chain.py'
  module.READS, module.phases = (), lambda config: ('one',)
  monkeypatch.setitem(sys.modules, 'half', types.ModuleType('half'))
  monkeypatch.setitem(sys.modules, 'half.chain', module)
  with pytest.raises(ValueError, match='AT_INFERENCE, problems, derive'):
    registry.load('half.chain')


@pytest.mark.parametrize(
  'config', [default.get_config(), plus.apply(default.get_config())]
)
def test_a_predictor_takes_parameters_later(config):
  with config.unlocked():
    config.template.durations = (2.0, 5.0)
    config.template.typical_duration = 3.0
  found = registry.predictor(config, {})
  assert isinstance(found, prediction.Predictor)
  assert isinstance(found.networks, protocol.Networks)
  assert found.params == {}
  # A copy shares the compiled programs, and leaves the first as it was.
  other = found.with_params({'x': 1.0})
  assert other.networks is found.networks and found.params == {}
  assert float(other.params['x']) == 1.0


def test_covers_keys_and_sections():
  names = ('nms', 'train.seed')
  assert protocol.covers(names, 'nms.sigma')
  assert protocol.covers(names, 'train.seed')
  assert not protocol.covers(names, 'nmsx.sigma')
  assert not protocol.covers(names, 'train.seeds')
  assert not protocol.covers(names, 'train')
