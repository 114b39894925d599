"""The student: taught by the members, and standing in for them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cmsn_jax.chains import protocol, registry
from cmsn_jax.chains.template import (
  cross_fit,
  derive,
  joint_phase,
  student_phase,
)
from cmsn_jax.data import opening
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.settings import default
from cmsn_jax.training import loop, optimizer, steps


def _config(**template):
  config = default.get_config()
  config.data.annotations = 'generated:4x60'
  config.chain = 'template'
  config.data.pool = 0
  config.nms.method = 'threshold'
  config.windows.length = 64
  config.train.batch_per_device = 2
  config.train.learning_rate = 3e-3
  config.train.optimizer = 'adamw'
  config.train.weight_decay = 0.03
  config.template.update(
    width=16, dilations=(1, 2), pooled_width=8, hidden=16, members=2,
    steps=4, proposals=16, per_snippet=1.0, student_steps=3,
    student_windows=4,
  )  # fmt: skip
  config.template.update(template)
  return config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return opening.open_data(_config(), tmp_path_factory.mktemp('data'))


def _phase(config, data):
  """The student's phase behind members as they begin, and a batch of it."""
  predictor = registry.predictor(config, {})
  job = protocol.Job(config, data, predictor, 2, None, None)
  members = joint_phase.joint(job).init(jax.random.key(5))
  phase = student_phase.student(
    job._replace(earlier=lambda name: {name: members})
  )
  loader = windows_lib.WindowLoader(
    phase.prepare(), phase.windows, batch_size=8, seed=0
  )
  batch = loader.batch(0)
  batch.pop('window')
  return phase, jax.tree.map(jnp.asarray, batch)


def _taught(phase, params, batch, key):
  """The batch, with what the teachers say of it."""
  said = [phase.teach(params, batch, key, i) for i in range(phase.teachers)]
  return {**batch, 'taught': tuple(said)}


def test_it_begins_as_the_first_member_and_learns_from_all_windows(data):
  config = derive.derive(_config(), data)
  phase, _ = _phase(config, data)
  params = phase.init(jax.random.key(0))
  for own, all_ in zip(
    jax.tree.leaves(params['student']), jax.tree.leaves(params['teachers'])
  ):
    assert own.shape == (1, *all_.shape[1:]) and len(all_) == 2
    np.testing.assert_array_equal(own[0], all_[0])
  assert phase.plan(1) == (3, 3)
  assert phase.windows_key == 'template.student_windows'
  assert student_phase.student(
    protocol.Job(
      derive.derive(_config(student_steps=300), data),
      data,
      registry.predictor(config, {}),
      2,
      None,
      None,
    )
  ).plan(1) == (4, 4)  # As long as the members' phase at most.
  # Few windows are not learned by heart: 15 times each, but 75 steps at least.
  for epochs, per_epoch, planned in (
    (15, 2, 75), (15, 6, 90), (15, 40, 300), (0, 2, 300),
  ):  # fmt: skip
    config = _config(student_steps=300, steps=600, student_epochs=epochs)
    config = derive.derive(config, data)
    job = protocol.Job(
      config, data, registry.predictor(config, {}), 2, None, None
    )
    assert student_phase.student(job).plan(per_epoch) == (planned, planned)
  config = derive.derive(_config(), data)
  # Those without an instance too.
  joint = joint_phase.joint(
    protocol.Job(config, data, registry.predictor(config, {}), 2, None, None)
  )
  assert len(phase.windows) >= len(joint.windows)


@pytest.mark.parametrize(
  ('pattern', 'path', 'matches'),
  [
    ('^encoder/', 'student/encoder/conv/kernel', True),
    ('^encoder/', 'teachers/encoder/conv/kernel', False),
    ('fc_1', 'student/evaluator/fc_1/bias', True),
    ('^evaluator/fc_2', 'student/evaluator/fc_1/bias', False),
  ],
)
def test_what_is_frozen_in_the_members_stays_in_it(pattern, path, matches):
  found = re.search(student_phase._of_student(pattern), path)
  assert bool(found) == matches


def test_who_agrees_with_the_members_has_nothing_to_learn(data):
  # The classifier of labels has a dropout of its own.
  config = _config(members=1, dropout=0.0, label_weight=0.0)
  config = derive.derive(config, data)
  phase, batch = _phase(config, data)
  params = phase.init(jax.random.key(0))
  batch = _taught(phase, params, batch, jax.random.key(1))
  grad = jax.jit(jax.grad(lambda *x: phase.loss_fn(*x)[0]))
  found = grad(params, batch, jax.random.key(1))
  assert all(np.abs(x).max() < 1e-5 for x in jax.tree.leaves(found))
  moved = jax.tree.map(lambda x: x * 1.1, params['student'])
  found = grad(params | {'student': moved}, batch, jax.random.key(1))
  assert max(np.abs(x).max() for x in jax.tree.leaves(found['student'])) > 1e-3
  assert not any(np.any(x) for x in jax.tree.leaves(found['teachers']))


def test_every_other_window_has_a_second_one_laid_over_it():
  inputs = np.arange(24.0, dtype=np.float32).reshape(4, 3, 2)
  mask = np.ones((4, 3), bool)
  mask[0, 2] = False
  found, kept = student_phase._mixed(jax.random.key(0), inputs, mask)
  np.testing.assert_array_equal(kept, mask)
  inputs[0, 2] = 0.0
  np.testing.assert_array_equal(found[::2], inputs[::2])
  for number in (1, 3):
    other = inputs[number - 1]
    share = (found[number] - inputs[number]) / (other - inputs[number])
    np.testing.assert_allclose(share, share[0, 0], rtol=1e-4)
    assert 0 < share[0, 0] < 0.5


def test_who_has_not_seen_a_window_says_most_of_it_but_not_what_happens(data):
  config = derive.derive(_config(), data)
  phase, batch = _phase(config, data)
  params = phase.init(jax.random.key(0))

  @jax.jit
  def said(part):
    parts = {
      name: jnp.broadcast_to(part[:, None], batch[name].shape)
      for name in ('part', 'proposal_part')
    }
    key = jax.random.key(1)
    return student_phase._together(
      _taught(phase, params, {**batch, **parts}, key), 9.0
    )

  count = len(batch['inputs'])
  alike = said(jnp.full(count, cross_fit.NONE))
  first, second = (said(jnp.full(count, number)) for number in (0, 1))
  mixed = said(jnp.arange(count) % 2)
  for name in student_phase._Said._fields:
    one, two, both, mean = (
      np.asarray(getattr(x, name)) for x in (first, second, mixed, alike)
    )
    # Nine parts of one and one of the other, or the other way.
    np.testing.assert_allclose((one + two) / 2, mean, atol=1e-6)
    np.testing.assert_array_equal(both[::2], one[::2])
    np.testing.assert_array_equal(both[1::2], two[1::2])
    apart = np.abs(one - two).max()
    assert (apart > 1e-3) == (name in ('stages', 'match', 'offsets'))


def test_it_comes_closer_to_what_the_members_say_together(data):
  config = derive.derive(_config(dropout=0.0, label_weight=0.0), data)
  phase, batch = _phase(config, data)
  tx = optimizer.create(
    'adamw', optax.constant_schedule(3e-3), weight_decay=0.03, momentum=0.0,
    frozen=phase.frozen, stacked_axes=1,
  )  # fmt: skip
  state = steps.create_state(phase.init(jax.random.key(0)), tx)
  teachers = jax.tree.map(np.array, state.params['teachers'])
  # With the same windows laid over one another at each step.
  key = jax.random.key(3)
  batch = _taught(phase, state.params, batch, jax.random.fold_in(key, 0))
  step = jax.jit(
    lambda state: steps.train_step(
      state.replace(step=0), batch, key, loss_fn=phase.loss_fn, tx=tx
    )
  )
  losses = []
  for _ in range(60):
    state, metrics = step(state)
    losses.append(float(metrics.loss))
  assert losses[-1] < losses[0] - 0.05
  jax.tree.map(
    np.testing.assert_array_equal, state.params['teachers'], teachers
  )


def test_a_run_proposes_with_it_and_keeps_the_members(data, tmp_path):
  config = derive.derive(_config(), data)
  loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  found = trained_lib.load(tmp_path)
  members = trained_lib.load(tmp_path, phase='joint')
  assert (found.phase, members.phase) == ('student', 'joint')
  count = [
    {len(x) for x in jax.tree.leaves(one.predictor.params['joint'])}
    for one in (found, members)
  ]
  assert count == [{1}, {2}]
  video_id = sorted(data.held_out)[0]
  assert found.predictor.encode(data.source, video_id)[1].shape[0] == 1
