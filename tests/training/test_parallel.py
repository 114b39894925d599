import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.training import parallel


def test_a_batch_is_split_in_its_order():
  count = jax.local_device_count()
  batch = {
    'x': np.arange(2 * count * 3).reshape(2 * count, 3),
    'y': np.arange(2 * count),
  }
  found = parallel.shard(batch)
  assert found['x'].shape == (count, 2, 3) and found['y'].shape == (count, 2)
  np.testing.assert_array_equal(found['x'].reshape(-1, 3), batch['x'])
  np.testing.assert_array_equal(found['y'].ravel(), batch['y'])


@pytest.mark.parametrize('size', [1, 7, 9])
def test_a_batch_that_cannot_be_split_names_the_devices(size):
  with pytest.raises(ValueError, match=f'its 8 devices, got {size}'):
    parallel.shard({'x': np.zeros((size, 2))})


def test_a_step_sees_its_share_and_the_whole_state():
  def step(state, batch, key, *, factor, axis_name):
    total = jax.lax.psum(jnp.sum(batch['x']), axis_name)
    return state + factor * total, jax.lax.axis_index(axis_name) * 0 + total

  run = parallel.parallel_step(step, factor=2.0)
  batch = parallel.shard({'x': np.arange(16, dtype=np.float32)})
  state, total = run(jnp.zeros(()), batch, jax.random.key(0))
  assert float(total) == 120.0 and float(state) == 240.0
  # Replicated: as it is, no leading axis of devices.
  assert state.shape == ()


def test_states_go_on_from_step_to_step():
  traced = []

  def step(state, batch, key, *, axis_name):
    traced.append(state)
    return state + jax.lax.psum(batch['x'].sum(), axis_name), ()

  run = parallel.parallel_step(step)
  state = parallel.replicate(jnp.zeros(()))
  batch = {'x': np.ones(8, np.float32)}
  for _ in range(3):
    state, _ = run(state, parallel.shard(batch), jax.random.key(0))
  assert float(state) == 24.0
  # Once for a state that was just made and for the step's own result.
  assert len(traced) == 1


def test_one_process_has_nobody_to_connect_to():
  parallel.connect()
