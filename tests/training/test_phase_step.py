"""Steps of several small programs do what one large program would."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cmsn_jax.chains import protocol
from cmsn_jax.training import parallel, phase_step, steps

_MEMBERS = 3
_TX = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1))


def _batch(seed, size=48):
  rng = np.random.default_rng(seed)
  return {
    'x': rng.normal(size=(size, 4)).astype(np.float32),
    'y': rng.normal(size=size).astype(np.float32),
    'mask': rng.uniform(size=size) < 0.6,
  }


def _params():
  rng = np.random.default_rng(9)
  return {'w': jnp.asarray(rng.normal(size=(_MEMBERS, 4)), jnp.float32)}


def _loss(params, batch, key, counts, *, index):
  """Squares over what is valid, each member on every third row, with noise."""
  own = jax.tree.map(
    lambda x: x.reshape(_MEMBERS, -1, *x.shape[1:])[index], batch
  )
  key = jax.random.fold_in(key, index)
  noise = jax.random.normal(key, own['y'].shape)
  error = own['x'] @ params['w'] - own['y'] + 0.1 * noise
  total = jnp.sum(jnp.where(own['mask'], error**2, 0.0))
  return total / counts[index], (jnp.ones(()), {'all': total})


def _phase(counts, **changes):
  unused = lambda *args: None
  return protocol.Phase(
    name='members', salt=0, plan=unused, windows=(), prepare=unused,
    init=unused, bundle=unused,
    **{'loss_fn': _loss, 'counts': counts, **changes},
  )  # fmt: skip


def _counts(parts):
  def counts(batch):
    masks = batch['mask'].reshape(parts, _MEMBERS, -1)
    return masks.sum(axis=(0, 2)).astype(jnp.float32)

  return counts


@pytest.mark.parametrize('accumulate', [1, 2])
def test_members_by_themselves_are_members_in_one_program(accumulate):
  """All losses added up and differentiated at once, on eight devices."""
  counts = _counts(accumulate)

  def whole(params, batch, key, totals):
    found = [
      _loss({'w': params['w'][i]}, batch, key, totals, index=i)
      for i in range(_MEMBERS)
    ]
    total = sum(value for value, _ in found)
    every = sum(extra['all'] for _, (_, extra) in found) / _MEMBERS
    return total, (jnp.ones(()), {'all': every})

  options = {'tx': _TX, 'accumulate': accumulate, 'ema_decay': 0.9}
  one = parallel.parallel_step(
    steps.train_step, loss_fn=whole, counts_fn=counts, **options
  )
  options.pop('tx')
  several = phase_step.phase_step(
    _phase(counts, members=_MEMBERS), _TX, **options
  )
  ends = []
  for step in (one, several):
    state = parallel.replicate(steps.create_state(_params(), _TX, ema=True))
    for seed in range(3):
      state, metrics = step(
        state, parallel.shard(_batch(seed)), jax.random.key(0)
      )
    ends.append(jax.device_get((state, metrics)))
  for one, other in zip(*map(jax.tree.leaves, ends)):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
  assert np.abs(ends[0][0].params['w'] - _params()['w']).max() > 0.01


@pytest.mark.parametrize('accumulate', [1, 2])
def test_a_loss_finds_what_every_teacher_said_of_its_own_windows(accumulate):
  """Teachers draw the random numbers that the loss draws."""

  def teach(params, batch, key, index):
    drawn = jax.random.normal(key, batch['y'].shape)
    # What has no numbers at all goes with it, as actions do that are left out.
    none = jnp.zeros((len(drawn), 2, 0))
    return {'y': batch['y'] * params['w'][0] + drawn + index, 'none': none}

  def loss(params, batch, key):
    assert len(batch['taught']) == 2
    for said in batch['taught']:
      assert said['none'].shape == (len(batch['y']), 2, 0)
    drawn = jax.random.normal(key, batch['y'].shape)
    wrong = [
      jnp.abs(said['y'] - (batch['y'] * params['w'][0] + drawn + i)).max()
      for i, said in enumerate(batch['taught'])
    ]
    return jnp.sum(params['w']), (jnp.ones(()), {'wrong': sum(wrong)})

  step = phase_step.phase_step(
    _phase(None, loss_fn=loss, teach=teach, teachers=2), _TX,
    accumulate=accumulate,
  )  # fmt: skip
  state = parallel.replicate(
    steps.create_state({'w': jnp.arange(1.0, 5.0)}, _TX)
  )
  for seed in range(2):
    state, metrics = step(
      state, parallel.shard(_batch(seed)), jax.random.key(0)
    )
    assert metrics.extra['wrong'] < 1e-6
  assert state.step == 2


def test_several_programs_move_nothing_but_the_batch():
  step = phase_step.phase_step(_phase(_counts(1), members=_MEMBERS), _TX)
  state = parallel.replicate(steps.create_state(_params(), _TX))
  mesh = state.params['w'].sharding.mesh
  split = NamedSharding(mesh, PartitionSpec('devices'))
  key = jax.device_put(jax.random.key(0), NamedSharding(mesh, PartitionSpec()))
  batches = [
    jax.device_put(parallel.shard(_batch(seed)), split) for seed in range(2)
  ]
  state, _ = step(state, batches[0], key)
  with jax.transfer_guard('disallow'):
    jax.block_until_ready(step(state, batches[1], key))
