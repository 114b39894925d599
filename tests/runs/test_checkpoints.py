import pathlib
import zlib

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cmsn_jax.runs import checkpoints
from cmsn_jax.training import steps


def _tree(value=1.0):
  return {
    'a': {'kernel': np.full((64, 3), value, np.float32)},
    'step': np.int32(3),
  }


@pytest.fixture
def manager(tmp_path):
  manager = checkpoints.Checkpoints(tmp_path / 'resume')
  yield manager
  manager.close()


def _biggest_data_file(step: int, manager) -> pathlib.Path:
  files = (manager.directory / str(step) / 'arrays').rglob('*')
  found = [f for f in files if f.is_file() and f.parent.name == 'd']
  return max(found, key=lambda f: f.stat().st_size)


def test_saved_and_restored_equal(manager):
  manager.save(5, _tree(), {'note': [1, 2]})
  manager.wait()
  found = manager.restore_newest()
  assert found.step == 5
  assert found.meta == {'note': [1, 2]}
  np.testing.assert_array_equal(
    found.tree['a']['kernel'], _tree()['a']['kernel']
  )
  assert found.tree['step'] == 3


def test_a_save_holds_the_values_of_its_moment(manager):
  tree = _tree()
  manager.save(1, tree, {})
  tree['a']['kernel'][:] = 7
  manager.wait()
  assert manager.restore_newest().tree['a']['kernel'][0, 0] == 1


def test_the_newest_two_are_kept(manager):
  for step in (1, 2, 3):
    manager.save(step, _tree(step), {})
  manager.wait()
  assert manager.steps() == [2, 3]


def test_empty_folder_restores_none(manager):
  assert manager.restore_newest() is None


def _flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 0x40
  path.write_bytes(bytes(data))


@pytest.mark.parametrize('damage', ['flip', 'truncate', 'delete'])
def test_damage_is_noticed_and_the_one_before_is_used(manager, damage):
  rng = np.random.default_rng(0)
  trees = {s: {'w': rng.normal(size=500).astype(np.float32)} for s in (1, 2)}
  for step, tree in trees.items():
    manager.save(step, tree, {'step': step})
  manager.wait()
  path = _biggest_data_file(2, manager)
  if damage == 'flip':
    _flip(path)
  elif damage == 'truncate':
    path.write_bytes(path.read_bytes()[:100])
  else:
    path.unlink()
  with pytest.warns(checkpoints.DamagedCheckpointWarning, match='2'):
    found = manager.restore_newest()
  assert found.step == 1
  np.testing.assert_array_equal(found.tree['w'], trees[1]['w'])
  # The damaged one no longer counts, and is not lost either.
  assert manager.steps() == [1]
  assert (manager.directory.parent / 'resume-damaged-2').is_dir()


def test_all_damaged_is_an_error(manager):
  manager.save(1, {'w': np.arange(500, dtype=np.float32)}, {})
  manager.wait()
  _flip(_biggest_data_file(1, manager))
  with (
    pytest.warns(checkpoints.DamagedCheckpointWarning),
    pytest.raises(checkpoints.CheckpointError, match='every checkpoint'),
  ):
    manager.restore_newest()


def test_a_failed_write_says_what_is_kept(manager, monkeypatch):
  manager.save(1, _tree(), {})
  manager.wait()

  def full(*args, **kwargs):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(manager._manager, 'save', full)
  with pytest.raises(
    checkpoints.CheckpointError, match='No space left.*step 1 is kept'
  ):
    manager.save(2, _tree(), {})
  assert manager.restore_newest().step == 1


def test_one_of_the_same_step_is_replaced(manager):
  for value in (1.0, 2.0, 3.0):
    manager.replace(5, _tree(value), {'value': value})
  found = manager.restore_newest()
  assert found.step == 5 and found.meta == {'value': 3.0}
  assert found.tree['a']['kernel'][0, 0] == 3.0
  assert [path.name for path in manager.directory.parent.iterdir()] == [
    manager.directory.name
  ]


def test_what_could_not_be_replaced_is_still_there(manager, monkeypatch):
  manager.replace(5, _tree(), {'value': 1.0})

  def full(*unused, **unused_options):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(manager._manager, 'save', full)
    with pytest.raises(checkpoints.CheckpointError, match='No space left'):
      manager.replace(5, _tree(2.0), {'value': 2.0})
  assert manager.restore(5).meta == {'value': 1.0}
  assert manager.steps() == [5]
  manager.replace(5, _tree(2.0), {'value': 2.0})
  assert manager.restore(5).meta == {'value': 2.0}


def test_train_state_round_trip(manager):
  tx = optax.adam(1e-3)
  state = steps.create_state({'w': jnp.arange(3.0)}, tx, ema=True)
  manager.save(1, state, {})
  manager.wait()
  zero = steps.create_state({'w': jnp.zeros(3)}, tx, ema=True)
  back = checkpoints.into(zero, manager.restore_newest().tree)
  np.testing.assert_array_equal(back.params['w'], np.arange(3.0))
  assert type(back.opt_state) is type(state.opt_state)


def test_another_model_is_an_error_that_lists_what_differs():
  target = {'a': np.zeros(3), 'b': np.zeros(2)}
  with pytest.raises(checkpoints.CheckpointError) as error:
    checkpoints.into(target, {'a': np.zeros(4), 'c': np.zeros(1)})
  message = str(error.value)
  assert 'b is missing' in message
  assert 'c is not expected' in message
  assert 'a has shape (4,), expected (3,)' in message


def test_missing_folder_read_only(tmp_path):
  with pytest.raises(checkpoints.CheckpointError, match='no checkpoint folder'):
    checkpoints.Checkpoints(tmp_path / 'none', read_only=True)


_TREES = st.dictionaries(
  st.text('abc_', min_size=1, max_size=4),
  arrays(
    st.sampled_from(['float32', 'int32', 'bool']),
    array_shapes(min_dims=0, max_dims=3, max_side=4),
  ),
  min_size=1,
  max_size=4,
)


@given(_TREES)
def test_a_checksum_is_of_type_shape_and_bytes(tree):
  sums = checkpoints.checksums(tree)
  assert sums == checkpoints.checksums({k: v.copy() for k, v in tree.items()})
  for name, value in tree.items():
    if not value.size:
      continue
    for other in (
      value.reshape(1, *value.shape),
      value.astype('float64'),
    ):
      assert checkpoints.checksums({name: other})[name] != sums[name]


@given(_TREES, st.data())
def test_one_flipped_bit_is_another_checksum(tree, data):
  name = data.draw(st.sampled_from(sorted(tree)))
  raw = bytearray(np.ascontiguousarray(tree[name]).tobytes())
  if not raw:
    return
  place = data.draw(st.integers(0, len(raw) - 1))
  raw[place] ^= 1 << data.draw(st.integers(0, 7))
  other = np.frombuffer(bytes(raw), tree[name].dtype).reshape(tree[name].shape)
  before = checkpoints.checksums(tree)[name]
  assert checkpoints.checksums({name: other})[name] != before


def test_not_contiguous_arrays_have_the_checksum_of_their_values():
  values = np.arange(12.0).reshape(3, 4)
  turned = values.T
  assert not turned.flags['C_CONTIGUOUS']
  assert checkpoints.checksums({'x': turned}) == checkpoints.checksums(
    {'x': np.ascontiguousarray(turned)}
  )


def test_metadata_come_back_as_they_were(manager):
  meta = {'phase': 'x', 'metrics': {'ar_50': 0.25}, 'best': None, 'n': [1, 2]}
  manager.save(1, {'w': np.ones(2)}, meta)
  manager.wait()
  assert manager.restore(1).meta == meta


def test_a_step_that_is_not_there_is_named(manager):
  with pytest.raises(checkpoints.CheckpointError, match='cannot be read'):
    manager.restore(99)


def test_empty_arrays_are_dropped_and_come_back_empty(manager):
  tree = {'w': np.ones(2), 'none': np.zeros((0, 3))}
  manager.save(1, tree, {})
  manager.wait()
  assert set(manager.restore(1).tree) == {'w'}


@pytest.mark.parametrize(
  ('tree', 'part'),
  [
    ({'a': np.ones(2)}, 'b is missing'),
    ({'a': np.ones(2), 'b': np.ones(1), 'c': np.ones(1)}, 'c is not expected'),
    (
      {'a': np.ones(3), 'b': np.ones(1)},
      r'a has shape \(3,\), expected \(2,\)',
    ),
  ],
)
def test_what_does_not_fit_is_listed(tree, part):
  target = {'a': np.zeros(2), 'b': np.zeros(1)}
  with pytest.raises(checkpoints.CheckpointError, match=part):
    checkpoints.into(target, tree)


def test_what_fits_takes_the_place():
  target = {'a': np.zeros(2), 'b': {'c': np.zeros(1)}}
  tree = {'a': np.array([1.0, 2.0]), 'b': {'c': np.array([3.0])}}
  found = checkpoints.into(target, tree)
  np.testing.assert_array_equal(found['a'], [1.0, 2.0])
  np.testing.assert_array_equal(found['b']['c'], [3.0])
  # The target itself is as it was.
  assert not target['a'].any()


def test_a_checksum_by_hand():
  value = np.array([[1, 2]], np.int16)
  expected = zlib.crc32(b'int16(1, 2)' + value.tobytes())
  assert checkpoints.checksums({'a|b': value}) == {'a|b': expected}


def test_of_many_parts_that_do_not_fit_eight_are_shown():
  target = {f'w{k}': np.zeros(1) for k in range(11)}
  with pytest.raises(checkpoints.CheckpointError) as error:
    checkpoints.into(target, {})
  text = str(error.value)
  assert 'w7 is missing' in text and 'w8' not in text
  assert text.endswith('; and 3 more')


def test_what_was_off_stays_off():
  # A run without a moving average has none to restore.
  target = {'w': np.zeros(1), 'ema': None, 'empty': {}}
  found = checkpoints.into(target, {'w': np.ones(1)})
  assert found['ema'] is None and found['empty'] == {}
  np.testing.assert_array_equal(found['w'], [1.0])


def test_nested_names_come_back_nested(manager):
  tree = {'a': {'b': {'c': np.arange(2.0)}}, 'd/e': np.ones(1)}
  manager.save(1, tree, {})
  manager.wait()
  found = manager.restore(1).tree
  np.testing.assert_array_equal(found['a']['b']['c'], [0.0, 1.0])
  assert set(found) == {'a', 'd/e'}


def test_other_metadata_than_were_saved_are_damage(manager):
  manager.save(1, {'w': np.ones(2)}, {'step': 1})
  manager.wait()
  records = list((manager.directory / '1' / 'record').rglob('*'))
  (path,) = [p for p in records if p.is_file() and b'crc32' in p.read_bytes()]
  text = path.read_text()
  assert '"step": 1' in text
  path.write_text(text.replace('"step": 1', '"step": 2'))
  with pytest.raises(
    checkpoints.CheckpointError, match='checksum of the metadata differs'
  ):
    manager.restore(1)
