"""A run that begins with the parameters of an earlier one."""

import json

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.chains import protocol
from cmsn_jax.proposing import exporting
from cmsn_jax.runs import checkpoints, config_record, folder
from cmsn_jax.runs import trained as trained_lib
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


def test_an_export_is_as_good_as_its_run(earlier, tmp_path):
  before, _ = earlier
  exporting.write(trained_lib.load(before), tmp_path / 'export')
  begun = []
  for name, source in (('a', before), ('b', tmp_path / 'export')):
    workdir = tmp_path / name
    setup.run(_warm(source), workdir, quiet=True)
    (path,) = workdir.glob('*/init_from.json')
    begun.append(json.loads(path.read_text()))
  for one in begun:
    del one['run']
  assert begun[0] == begun[1] and begun[0]['taken']


def test_folders_that_are_no_run_are_named(earlier, tmp_path):
  before, _ = earlier
  with pytest.raises(ValueError, match='is no folder; give'):
    setup.run(_warm(tmp_path / 'none'), tmp_path / 'a', quiet=True)
  (tmp_path / 'export').mkdir()
  with pytest.raises(ValueError, match='holds no trained run'):
    setup.run(_warm(tmp_path / 'export'), tmp_path / 'a', quiet=True)
  (tmp_path / 'export' / 'model.json').write_text('{}')
  with pytest.raises(
    config_record.RunFolderError, match='an export without parameters.npz'
  ):
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
    folder.read_best(tmp_path / name, 'joint').tree['params']['joint']
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


def test_an_earlier_parameter_of_another_type_takes_the_new_ones():
  found = _fit(
    {'w': np.zeros(2, np.float32), 'n': np.zeros((), np.int32)},
    {'w': np.array([1.5, 2.5]), 'n': np.int64(7)},
  )
  assert found.taken == ('w', 'n') and found.fresh == {}
  assert found.params['w'].dtype == np.float32
  assert found.params['n'].dtype == np.int32 and found.params['n'] == 7


def test_shapes_are_written_as_people_do():
  found = _fit(
    {'one': np.zeros(()), 'many': np.zeros((2, 3, 4))},
    {'one': np.zeros(5), 'many': np.zeros(())},
  )
  assert found.taken == ()
  assert found.fresh == {
    'one': 'one number, there 5', 'many': '2x3x4, there one number',
  }  # fmt: skip


def test_what_was_taken_is_a_copy():
  earlier = {'w': np.ones(2)}
  found = _fit({'w': np.zeros(2)}, earlier)
  found.params['w'][:] = 9
  np.testing.assert_array_equal(earlier['w'], [1, 1])


def test_of_two_stacked_axes_each_is_taken_in_turn():
  earlier = np.arange(6.0).reshape(2, 3, 1) * np.ones((2, 3, 4))
  found = _fit({'w': np.zeros((3, 2, 4))}, {'w': earlier}, stacked_axes=2)
  expected = [[earlier[i % 2, j % 3] for j in range(2)] for i in range(3)]
  np.testing.assert_array_equal(found.params['w'], expected)


def test_without_stacked_networks_more_rows_are_another_shape():
  found = _fit({'w': np.zeros((4, 4))}, {'w': np.ones((2, 4))})
  assert found.fresh == {'w': '4x4, there 2x4'}


_SHAPES = st.sampled_from([(), (2,), (3,), (2, 3)])


@given(
  st.dictionaries(st.sampled_from('abcd'), _SHAPES, min_size=1),
  st.dictionaries(st.sampled_from('abcd'), _SHAPES, min_size=1),
)
def test_every_parameter_is_taken_or_begins_anew(new, old):
  found = _fit(
    {name: np.zeros(shape) for name, shape in new.items()},
    {name: np.ones(shape) for name, shape in old.items()},
  )
  assert sorted([*found.taken, *found.fresh]) == sorted(new)
  for name, shape in new.items():
    same = old.get(name) == shape
    assert (name in found.taken) == same
    assert found.params[name].shape == shape
    assert np.all(found.params[name] == float(same))


def test_the_folder_of_a_run_without_an_evaluation_is_none(tmp_path):
  (tmp_path / 'old' / 'joint' / 'best').mkdir(parents=True)
  (tmp_path / 'old' / 'config.json').write_text('{}')
  with pytest.raises(ValueError, match='launch.train came to an evaluation'):
    warm_start.check(str(tmp_path / 'old'), tmp_path / 'new')
  (tmp_path / 'old' / 'joint' / 'best' / '5').mkdir()
  warm_start.check(str(tmp_path / 'old'), tmp_path / 'new')
  # A run that was exported into its own folder is one.
  (tmp_path / 'old' / 'model.json').write_text('{}')
  warm_start.check(str(tmp_path / 'old'), tmp_path / 'new')
  # By whichever path it is called.
  with pytest.raises(ValueError, match='is the --workdir itself'):
    warm_start.check(str(tmp_path / 'old' / '..' / 'old'), tmp_path / 'old')


def _kept(monkeypatch, params, fps=5.0):
  """An earlier run of the toy chain with these parameters, not on disk."""
  meta = {
    'config': config_record.to_json(recipe.get_config()),
    'phase': 'only',
    'data': {'feature_fps': fps},
  }
  restored = checkpoints.Restored(8, {'params': params}, meta)
  monkeypatch.setattr(warm_start, 'check', lambda *unused: None)
  monkeypatch.setattr(folder, 'read_best', lambda *unused: restored)


def _begin(params, workdir, frozen=(), fps=5.0):
  phase = _phase(params, lambda p: {'toy': p})
  return warm_start.begin(phase, params, 'old', workdir, frozen, fps)


def test_what_was_taken_and_what_not_is_recorded(monkeypatch, tmp_path):
  kept = {'toy': {'weight': np.arange(3.0), 'bias': np.ones(2)}}
  _kept(monkeypatch, kept)
  _begin({'weight': np.zeros(3), 'bias': np.zeros(())}, tmp_path)
  record = json.loads((tmp_path / 'joint' / 'init_from.json').read_text())
  flat = {f'toy/{name}': value for name, value in kept['toy'].items()}
  assert record == {
    'run': 'old',
    'phase': 'only',
    'step': 8,
    'parameters_crc32': checkpoints.checksums(flat),
    'taken': ['weight'],
    'begin_anew': {'bias': 'one number, there 2'},
  }


@pytest.mark.parametrize(
  ('fps', 'told'), [(5.0, False), (5.04, False), (5.2, True), (25.0, True)]
)
def test_another_rate_is_told(monkeypatch, tmp_path, caplog, fps, told):
  _kept(monkeypatch, {'toy': {'weight': np.ones(3)}})
  with caplog.at_level('WARNING'):
    _begin({'weight': np.zeros(3)}, tmp_path, fps=fps)
  assert ('learned from 5 snippets a second' in caplog.text) == told
  assert ('config.data.pool' in caplog.text) == told


def test_of_many_that_begin_anew_twelve_are_named(monkeypatch, tmp_path):
  _kept(monkeypatch, {'toy': {'other': np.ones(3)}})
  params = {f'w{k:02}': np.zeros(1) for k in range(15)}
  with pytest.raises(ValueError) as error:
    _begin(params, tmp_path)
  text = str(error.value)
  assert 'w11 (not there) and 3 more. Give the config' in text
  assert 'w12' not in text
  # Nothing was recorded of what did not begin.
  assert not (tmp_path / 'joint').exists()
