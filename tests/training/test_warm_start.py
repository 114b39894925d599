"""A run that begins with the parameters of an earlier one."""

import json

import jax
import numpy as np
import pytest

from cmsn_jax.chains import protocol
from cmsn_jax.runs import checkpoints, config_record, folder
from cmsn_jax.training import setup, warm_start
from configs import custom
from tests.chains.toy import recipe


def _fit(params, earlier, **options):
  return warm_start.fit(
    params, lambda p: {'net': p}, {'net': earlier}, **options
  )


def test_parameters_are_taken_by_name_and_shape():
  params = {
    'same': np.zeros(3, np.float32),
    'wider': np.zeros((2, 4), np.float32),
    'new': {'bias': np.ones(1, np.float32)},
  }
  earlier = {
    'same': np.array([1.0, 2.0, 3.0]),
    'wider': np.ones((2, 5)),
    'gone': np.ones(7),
  }
  found = _fit(params, earlier)
  assert found.taken == ('same',)
  assert found.fresh == {'wider': '2x4, there 2x5', 'new/bias': 'not there'}
  np.testing.assert_array_equal(found.params['same'], [1, 2, 3])
  assert found.params['same'].dtype == np.float32
  assert found.params['wider'] is params['wider']
  assert found.params['new']['bias'] is params['new']['bias']


def test_where_the_bundle_says_and_not_where_names_are_alike():
  params = {'w': np.zeros(2)}
  # The bundle of a second phase brings what the first one learned.
  bundle = lambda p: {'first': {'w': np.ones(2)}, 'second': p}
  earlier = {'first': {'w': np.full(2, 5.0)}, 'second': {'w': np.full(2, 7.0)}}
  found = warm_start.fit(params, bundle, earlier)
  np.testing.assert_array_equal(found.params['w'], [7, 7])


@pytest.mark.parametrize(
  ('count', 'expected'), [(1, [0]), (5, [0, 1, 2, 0, 1])]
)
def test_stacked_networks_are_taken_in_turn(count, expected):
  earlier = {'w': np.arange(3.0)[:, None] * np.ones((3, 4))}
  found = _fit({'w': np.zeros((count, 4))}, earlier, stacked_axes=1)
  np.testing.assert_array_equal(found.params['w'][:, 0], expected)
  # Not where the networks themselves differ.
  assert _fit({'w': np.zeros((count, 6))}, earlier, stacked_axes=1).fresh


@pytest.fixture(scope='module')
def earlier(tmp_path_factory):
  """A trained run of the toy chain, and its kept bundle."""
  workdir = tmp_path_factory.mktemp('earlier')
  setup.run(recipe.get_config(), workdir, quiet=True)
  return workdir, folder.read_best(workdir).tree['params']['toy']


def _warm(init_from, **train):
  config = recipe.get_config()
  config.data.annotations = 'generated:5x40'
  config.train.init_from = str(init_from)
  config.train.update(train)
  return config


def test_a_run_begins_there_and_has_its_own_statistics(earlier, tmp_path):
  before, kept = earlier
  # Without a step's effect: what is kept is what it began with.
  setup.run(_warm(before, learning_rate=1e-30), tmp_path, quiet=True)
  found = folder.read_best(tmp_path)
  np.testing.assert_array_equal(
    found.tree['params']['toy']['weight'], kept['weight']
  )
  old = folder.read_best(before).tree['statistics']['mean']
  assert not np.array_equal(found.tree['statistics']['mean'], old)
  record = json.loads((tmp_path / 'only' / 'init_from.json').read_text())
  assert record['run'] == str(before) and not record['begin_anew']
  assert sorted(record['taken']) == ['bias', 'weight']
  saved = json.loads((tmp_path / 'config.json').read_text())
  assert saved['train']['init_from'] == str(before)


def test_once_begun_it_goes_on_without_the_earlier_run(
  earlier, tmp_path, monkeypatch
):
  before, _ = earlier
  config = _warm(before)
  first = setup.run(config, tmp_path, quiet=True)
  monkeypatch.setattr(warm_start, 'begin', None)
  assert setup.run(config, tmp_path, quiet=True).metrics == first.metrics
  with pytest.raises(config_record.RunFolderError, match='train.init_from'):
    setup.run(_warm(''), tmp_path, quiet=True)


def test_folders_that_are_no_run_are_named(earlier, tmp_path):
  before, _ = earlier
  with pytest.raises(ValueError, match='is no folder; give'):
    setup.run(_warm(tmp_path / 'none'), tmp_path / 'a', quiet=True)
  (tmp_path / 'export').mkdir()
  with pytest.raises(ValueError, match='holds no trained run'):
    setup.run(_warm(tmp_path / 'export'), tmp_path / 'a', quiet=True)
  (tmp_path / 'export' / 'model.json').write_text('{}')
  with pytest.raises(ValueError, match='is an export: programs, without param'):
    setup.run(_warm(tmp_path / 'export'), tmp_path / 'a', quiet=True)
  with pytest.raises(ValueError, match='is the --workdir itself'):
    warm_start.check(str(before), before)
  # Nothing was begun.
  assert not (tmp_path / 'a').exists()


def _phase(params, bundle):
  never = lambda *args: None
  return protocol.Phase(
    'joint', 0, never, (), never, lambda key: params, never, bundle
  )


def test_another_network_and_a_frozen_random_one_are_refused(earlier, tmp_path):
  before, kept = earlier
  params = {'weight': np.zeros(99), 'bias': np.zeros(())}

  def begin(params, bundle, frozen=()):
    return warm_start.begin(
      _phase(params, bundle), params, str(before), tmp_path, frozen, 5.0
    )

  with pytest.raises(ValueError, match=r'none of its .*toy.chain.*not there'):
    begin(params, lambda p: {'other': p})
  with pytest.raises(ValueError, match='random values .*weight .99, there'):
    begin(params, lambda p: {'toy': p}, ('weight',))
  found = begin(params, lambda p: {'toy': p}, ('bias',))
  np.testing.assert_array_equal(found['bias'], kept['bias'])


@pytest.mark.slow
def test_a_frozen_encoder_stays_and_the_rest_learns(tmp_path):
  config = custom.get_config('smoke')
  setup.run(config, tmp_path / 'old', quiet=True)
  config = custom.get_config('smoke')
  config.data.annotations = 'generated:5x60'
  config.train.init_from = str(tmp_path / 'old')
  config.train.frozen = ('^encoder/',)
  config.template.steps = 3
  config.template.members = 4
  config.train.ema = 0.0  # An average of what stays rounds.
  setup.run(config, tmp_path / 'new', quiet=True)
  kept = [
    folder.read_best(tmp_path / name).tree['params']['joint']
    for name in ('old', 'new')
  ]
  old, new = (checkpoints._flatten(tree) for tree in kept)
  assert jax.tree.structure(kept[0]) == jax.tree.structure(kept[1])
  same = {
    path: np.array_equal(value, old[path][[0, 1, 0, 1]])
    for path, value in new.items()
  }
  assert all(same[path] for path in same if path.startswith('encoder'))
  assert not same['pooled|kernel']
