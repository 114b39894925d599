import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cmsn_jax.training import optimizer, parallel, steps


def _loss(params, batch, key):
  del key
  error = batch['x'] @ params['w'] - batch['y']
  mask = batch['mask']
  count = mask.sum()
  loss = jnp.sum(jnp.where(mask, error**2, 0)) / jnp.maximum(count, 1)
  return loss, (count, {'positive': jnp.mean(error > 0)})


def _batch(rng, size=16):
  return {
    'x': rng.normal(size=(size, 3)).astype(np.float32),
    'y': rng.normal(size=size).astype(np.float32),
    'mask': rng.uniform(size=size) < 0.6,
  }


def _params():
  return {'w': jnp.array([0.3, -0.2, 0.1])}


def _run(step_fn, batches):
  tx = optax.sgd(0.1)
  state = steps.create_state(_params(), tx)
  for batch in batches:
    state, metrics = step_fn(state, batch, jax.random.key(0))
  return state, metrics


def _single(**kwargs):
  return jax.jit(
    functools.partial(
      steps.train_step, loss_fn=_loss, tx=optax.sgd(0.1), **kwargs
    )
  )


def test_one_step_is_the_closed_form_gradient_step():
  rng = np.random.default_rng(0)
  batch = _batch(rng)
  state, metrics = _run(_single(), [batch])
  x, y = batch['x'][batch['mask']], batch['y'][batch['mask']]
  w = np.asarray(_params()['w'])
  grad = 2 * x.T @ (x @ w - y) / len(y)
  np.testing.assert_allclose(state.params['w'], w - 0.1 * grad, atol=1e-6)
  np.testing.assert_allclose(metrics.loss, np.mean((x @ w - y) ** 2), rtol=1e-5)
  np.testing.assert_allclose(metrics.grad_norm, np.linalg.norm(grad), rtol=1e-5)


@pytest.mark.parametrize('accumulate', [2, 4])
def test_accumulation_gives_the_gradient_of_the_whole_batch(accumulate):
  rng = np.random.default_rng(1)
  batches = [_batch(rng) for _ in range(3)]
  one, _ = _run(_single(), batches)
  many, _ = _run(_single(accumulate=accumulate), batches)
  np.testing.assert_allclose(one.params['w'], many.params['w'], atol=1e-6)


def test_eight_devices_equal_one_on_the_same_global_batch():
  assert jax.local_device_count() == 8
  rng = np.random.default_rng(2)
  batches = [_batch(rng) for _ in range(4)]
  one, one_metrics = _run(_single(), batches)
  step_fn = parallel.parallel_step(
    steps.train_step, loss_fn=_loss, tx=optax.sgd(0.1)
  )
  many, many_metrics = _run(step_fn, [parallel.shard(b) for b in batches])
  np.testing.assert_allclose(one.params['w'], many.params['w'], atol=1e-6)
  np.testing.assert_allclose(one_metrics.loss, many_metrics.loss, rtol=1e-5)


def test_a_batch_without_valid_entries_changes_nothing():
  batch = _batch(np.random.default_rng(3))
  batch['mask'][:] = False
  state, metrics = _run(_single(), [batch])
  np.testing.assert_array_equal(state.params['w'], _params()['w'])
  assert metrics.loss == 0


def test_ema_follows_the_parameters():
  tx = optax.sgd(0.1)
  state = steps.create_state(_params(), tx, ema=True)
  step = jax.jit(
    functools.partial(steps.train_step, loss_fn=_loss, tx=tx, ema_decay=0.999)
  )
  batch = _batch(np.random.default_rng(4))
  expected = np.asarray(state.params['w'])
  for i in range(5):
    state, _ = step(state, batch, jax.random.key(0))
    decay = min(0.999, (1 + i) / (10 + i))
    expected = decay * expected + (1 - decay) * np.asarray(state.params['w'])
  np.testing.assert_allclose(state.eval_params['w'], expected, rtol=1e-5)
  assert not np.allclose(state.params['w'], expected)


def test_shard_names_the_devices_that_do_not_divide():
  with pytest.raises(ValueError, match='divisible by its 8 devices, got 12'):
    parallel.shard({'x': np.zeros((12, 2))})


def _network():
  return {
    'conv1a': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)},
    'fc': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)},
  }


def _optimizer(name='sgd', **kwargs):
  return optimizer.create(
    name,
    optax.constant_schedule(1.0),
    weight_decay=kwargs.pop('weight_decay', 0.5),
    momentum=0.0,
    **kwargs,
  )


def test_weight_decay_touches_weights_only_and_frozen_layers_stay():
  params = _network()
  tx = _optimizer(frozen=('^conv1a/',))
  zero = jax.tree.map(jnp.zeros_like, params)
  updates, _ = tx.update(zero, tx.init(params), params)
  np.testing.assert_allclose(updates['fc']['kernel'], -0.5)
  np.testing.assert_allclose(updates['fc']['bias'], 0)
  np.testing.assert_allclose(updates['conv1a']['kernel'], 0)


def test_frozen_expressions_that_match_nothing_or_all_are_errors():
  with pytest.raises(ValueError, match="'conv9' matches no parameter"):
    _optimizer(frozen=('conv9',)).init(_network())
  with pytest.raises(ValueError, match='leaves nothing to train'):
    _optimizer(frozen=('.',)).init(_network())


def test_clipping_bounds_the_update():
  tx = _optimizer(clip_norm=1.0, weight_decay=0.0)
  params = _network()
  grads = jax.tree.map(lambda p: 100.0 * p, params)
  updates, _ = tx.update(grads, tx.init(params), params)
  np.testing.assert_allclose(optax.global_norm(updates), 1.0, rtol=1e-5)


def test_schedules():
  rate = optimizer.schedule('cosine', 2.0, warmup_steps=4, total_steps=34)
  np.testing.assert_allclose(rate(0), 0.0)
  np.testing.assert_allclose(rate(2), 1.0)
  np.testing.assert_allclose(rate(4), 2.0)
  np.testing.assert_allclose(rate(19), 1.0, atol=1e-6)
  np.testing.assert_allclose(rate(34), 0.0, atol=1e-6)
  constant = optimizer.schedule('constant', 2.0, warmup_steps=0, total_steps=9)
  assert constant(7) == 2.0
  for bad in ('linear', ''):
    with pytest.raises(ValueError, match="must be 'constant' or 'cosine'"):
      optimizer.schedule(bad, 1.0, warmup_steps=0, total_steps=9)


def test_the_warm_up_is_as_short_as_the_run():
  # A run of 20 steps with the 50 of warm-up that long runs have.
  rate = optimizer.schedule('constant', 2.0, warmup_steps=50, total_steps=20)
  np.testing.assert_allclose([rate(0), rate(1), rate(2)], [0.0, 1.0, 2.0])
  rate = optimizer.schedule('constant', 2.0, warmup_steps=50, total_steps=600)
  np.testing.assert_allclose([rate(25), rate(50)], [1.0, 2.0])


def test_unknown_optimizer_is_an_error():
  with pytest.raises(ValueError, match="'adam', 'adamw' or 'sgd', got 'lion'"):
    _optimizer('lion')


def test_a_step_moves_nothing_but_its_batch_between_host_and_devices():
  rng = np.random.default_rng(3)
  batches = [parallel.shard(_batch(rng)) for _ in range(3)]
  step_fn = parallel.parallel_step(
    steps.train_step, loss_fn=_loss, tx=optax.sgd(0.1)
  )
  state = steps.create_state(_params(), optax.sgd(0.1))
  state, _ = step_fn(state, batches[0], jax.random.key(0))
  mesh = state.params['w'].sharding.mesh
  split = NamedSharding(mesh, PartitionSpec('devices'))
  key = jax.device_put(jax.random.key(0), NamedSharding(mesh, PartitionSpec()))
  state, _ = step_fn(state, jax.device_put(batches[1], split), key)
  placed = jax.device_put(batches[2], split)
  with jax.transfer_guard('disallow'):
    state, metrics = step_fn(state, placed, key)
    jax.block_until_ready((state, metrics))
    with pytest.raises(Exception, match='Disallowed host-to-device'):
      step_fn(state, batches[2], key)


def _two_means(params, batch, key, counts):
  """Squared errors over valid entries, and absolute ones over positive y."""
  del key
  error = batch['x'] @ params['w'] - batch['y']
  valid = jnp.sum(jnp.where(batch['mask'], error**2, 0))
  above = jnp.sum(jnp.where(batch['y'] > 0, jnp.abs(error), 0))
  loss = valid / jnp.maximum(counts['valid'], 1)
  loss += above / jnp.maximum(counts['above'], 1)
  return loss, (jnp.ones(()), {'above': above})


def _two_counts(batch):
  return {'valid': batch['mask'].sum(), 'above': (batch['y'] > 0).sum()}


def test_a_loss_of_two_means_by_hand():
  batch = _batch(np.random.default_rng(5))
  state, metrics = _run(
    jax.jit(
      functools.partial(
        steps.train_step, loss_fn=_two_means, tx=optax.sgd(0.1),
        counts_fn=_two_counts,
      )
    ),
    [batch],
  )  # fmt: skip
  w = np.asarray(_params()['w'])
  error = batch['x'] @ w - batch['y']
  valid, above = batch['mask'], batch['y'] > 0
  expected = np.mean(error[valid] ** 2) + np.mean(np.abs(error[above]))
  np.testing.assert_allclose(metrics.loss, expected, rtol=1e-5)
  grad = 2 * batch['x'][valid].T @ error[valid] / valid.sum()
  grad += batch['x'][above].T @ np.sign(error[above]) / above.sum()
  np.testing.assert_allclose(state.params['w'], w - 0.1 * grad, atol=1e-6)


@pytest.mark.parametrize('accumulate', [2, 8])
def test_several_means_do_not_depend_on_the_parts(accumulate):
  rng = np.random.default_rng(6)
  batches = [_batch(rng) for _ in range(2)]

  def run(parts):
    step = functools.partial(
      steps.train_step, loss_fn=_two_means, tx=optax.sgd(0.1),
      counts_fn=_two_counts, accumulate=parts,
    )  # fmt: skip
    return _run(jax.jit(step), batches)

  (one, one_metrics), (many, many_metrics) = run(1), run(accumulate)
  np.testing.assert_allclose(one.params['w'], many.params['w'], atol=1e-6)
  np.testing.assert_allclose(one_metrics.loss, many_metrics.loss, rtol=1e-5)
  np.testing.assert_allclose(
    one_metrics.extra['above'], many_metrics.extra['above'], rtol=1e-5
  )


def test_several_means_do_not_depend_on_the_devices():
  batch = _batch(np.random.default_rng(7))
  options = {
    'loss_fn': _two_means, 'tx': optax.sgd(0.1), 'counts_fn': _two_counts,
  }  # fmt: skip
  one, _ = _run(
    jax.jit(functools.partial(steps.train_step, **options)), [batch]
  )
  step_fn = parallel.parallel_step(steps.train_step, **options)
  many, _ = _run(step_fn, [parallel.shard(batch)])
  np.testing.assert_allclose(one.params['w'], many.params['w'], atol=1e-6)


def _noise(params, batch, key):
  """A loss whose gradient is a random number."""
  del batch
  return params['w'] * jax.random.normal(key), (jnp.ones(()), {})


def _noisy_steps(count, accumulate=1, key=0):
  tx = optax.sgd(1.0)
  state = steps.create_state({'w': jnp.zeros(())}, tx)
  step = jax.jit(
    functools.partial(
      steps.train_step, loss_fn=_noise, tx=tx, accumulate=accumulate
    )
  )
  places = [0.0]
  for _ in range(count):
    state, _ = step(state, {'x': np.zeros(4)}, jax.random.key(key))
    places.append(float(state.params['w']))
  return -np.diff(places)


def test_every_step_draws_anew_and_the_same_run_the_same():
  found = _noisy_steps(4)
  assert len(set(found)) == 4
  np.testing.assert_array_equal(found, _noisy_steps(4))
  assert not np.isclose(found, _noisy_steps(4, key=1)).any()
  expected = [
    jax.random.normal(jax.random.fold_in(jax.random.key(0), step))
    for step in range(4)
  ]
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_accumulated_parts_draw_differently():
  (found,) = _noisy_steps(1, accumulate=4)
  keys = jax.random.split(jax.random.fold_in(jax.random.key(0), 0), 4)
  expected = np.mean([jax.random.normal(key) for key in keys])
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_without_an_average_the_parameters_themselves_are_judged():
  tx = optax.sgd(0.1)
  state = steps.create_state(_params(), tx)
  assert state.ema is None and state.eval_params is state.params
  assert state.step == 0
  # The average begins as a copy: a step may write into the parameters' memory.
  state = steps.create_state(_params(), tx, ema=True)
  assert state.ema['w'] is not state.params['w']
  np.testing.assert_array_equal(state.ema['w'], state.params['w'])
