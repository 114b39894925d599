"""Members leave parts of the videos out; the student hears who has not seen them."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import protocol, registry
from cmsn_jax.chains.template import (
  cross_fit,
  derive,
  joint_phase,
  networks,
)
from cmsn_jax.data import opening, training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.settings import default, plus, smoke


def _data(counts, snippets=100):
  """Training data that know only how many instances a video has."""
  starts = {name: np.arange(count) * 3.0 for name, count in counts.items()}
  videos = {
    name: activitynet.Video(
      name, 'training', 100.0, np.stack([x, x + 1], axis=1), ('x',) * len(x)
    )
    for name, x in starts.items()
  }
  source = types.SimpleNamespace(num_snippets=lambda name: snippets)
  return training_data.TrainingData(
    activitynet.Annotations('', videos), videos, {}, source
  )


def _dealt(parts_of, names):
  """Part of whole videos."""
  found = {name: set(parts_of(name, np.arange(100) + 0.5)) for name in names}
  assert all(len(parts) == 1 for parts in found.values()), found
  return {name: int(*parts) for name, parts in found.items()}


def test_videos_are_dealt_by_their_instances_there_and_back_again():
  counts = dict(a=3, b=9, c=8, d=7, e=9, f=5, g=1, h=0, i=0)
  parts_of = cross_fit.parts(_data(counts), 4)
  # By instances, then by name: b e c d | f a g h | i.
  assert _dealt(parts_of, counts) == dict(
    b=0, e=1, c=2, d=3, f=3, a=2, g=1, h=0, i=0
  )
  assert parts_of('b', np.zeros((2, 3))).dtype == np.int32


@pytest.mark.parametrize(
  'counts',
  [
    dict(a=5, b=1),
    # Enough videos, but one alone has instances, or most of them.
    dict(a=0, b=0, c=9, d=0, e=0),
    dict(a=1, b=1, c=9, d=1, e=1),
  ],
)
def test_few_videos_are_cut_in_stretches_of_time(counts):
  parts_of = cross_fit.parts(_data(counts), 4)
  for name in counts:
    found = parts_of(name, np.array([-1.0, 0, 24.9, 25, 50, 74.9, 99, 130]))
    assert found.tolist() == [0, 0, 0, 1, 2, 2, 3, 3]
    assert found.dtype == np.int32


def test_one_member_leaves_nothing_out():
  parts_of = cross_fit.parts(_data(dict(a=5, b=1)), 1)
  assert parts_of('a', np.arange(3.0)).tolist() == [cross_fit.NONE] * 3
  part = jnp.array([[0, cross_fit.NONE]])
  np.testing.assert_array_equal(
    cross_fit.weights(part, 1, 9), np.ones((1, 1, 2))
  )


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(2, 4))
def test_each_member_leaves_something_out_and_is_left_half_at_least(
  counts, members
):
  named = {f'{i:02}': count for i, count in enumerate(counts)}
  parts_of = cross_fit.parts(_data(named), members)
  left_out = np.zeros(members)
  seconds = np.zeros(members)
  for name, count in named.items():
    # Instances of the made videos begin every three seconds.
    for start in np.arange(count) * 3.0:
      left_out[parts_of(name, np.array([start]))[0]] += 1
    found = parts_of(name, np.arange(100) + 0.5)
    seconds += np.bincount(found, minlength=members)
  by_videos = all(
    len(set(parts_of(name, np.arange(100.0)))) == 1 for name in named
  )
  assert seconds.min() > 0
  if by_videos:
    assert left_out.min() > 0
    assert left_out.max() <= left_out.sum() / 2
  else:
    # 100 snippets in three are 33, 34 and 33.
    assert np.ptp(seconds) <= len(named)


def test_members_know_nothing_of_what_they_leave_out():
  part = np.array([[0] * 4, [1] * 4, [-1] * 4])
  part[2, 3] = 0
  known = np.ones((3, 4), bool)
  known[1, 2] = False
  batch = {
    'part': part, 'known': known, 'proposal_part': part[:, :2],
    'judged': np.ones((3, 2), bool), 'inputs': np.zeros((3, 4, 5)),
  }  # fmt: skip
  batch = jax.tree.map(jnp.asarray, batch)
  left = [[False] * 4, [True, True, False, True], [True] * 3 + [False]]
  found = cross_fit.learned(batch, 0)
  assert set(found) == {'known', 'judged', 'inputs'}
  np.testing.assert_array_equal(found['known'], left)
  np.testing.assert_array_equal(found['judged'], [[0, 0], [1, 1], [1, 1]])
  np.testing.assert_array_equal(
    cross_fit.learned(batch, 1)['judged'], [[1, 1], [0, 0], [1, 1]]
  )


def test_who_left_something_out_counts_nine_times_as_much():
  found = cross_fit.weights(jnp.array([[2, cross_fit.NONE], [0, 2]]), 4, 9)
  twelfth, quarter = 1 / 12, 1 / 4
  np.testing.assert_allclose(
    found,
    [
      [[twelfth, quarter], [0.75, twelfth]],
      [[twelfth, quarter], [twelfth, twelfth]],
      [[0.75, quarter], [twelfth, 0.75]],
      [[twelfth, quarter], [twelfth, twelfth]],
    ],
    rtol=1e-6,
  )
  found = cross_fit.weights(jnp.array([[1, cross_fit.NONE]]), 2, 9.0)
  np.testing.assert_allclose(found, [[[0.1, 0.5]], [[0.9, 0.5]]], rtol=1e-6)


@pytest.fixture(scope='module')
def job(tmp_path_factory):
  config = smoke.apply(plus.apply(default.get_config()), 'smoke')
  config.data.annotations = 'generated:4x60'
  config.windows.length = 96
  config.template.update(members=2, dropout=0.0)
  data = opening.open_data(config, tmp_path_factory.mktemp('data'))
  config = derive.derive(config, data)
  return protocol.Job(
    config, data, registry.predictor(config, {}), 64, None, None
  )


def test_no_member_learns_from_the_part_it_leaves_out(job):
  phase = joint_phase.joint(job)
  loader = windows_lib.WindowLoader(
    phase.prepare(), phase.windows, batch_size=8, seed=0
  )
  batch = loader.batch(0)
  batch.pop('window')
  # The first half is the first member's share.
  part = np.array([0, 1, 0, 1, 1, 0, 0, 0], np.int32)
  for name in ('part', 'proposal_part'):
    batch[name] = np.broadcast_to(part[:, None], batch[name].shape)
  left_out = np.array([1, 0, 1, 0, 1, 0, 0, 0], bool)
  batch = jax.tree.map(jnp.asarray, batch)

  def loss(params, batch):
    return sum(
      phase.loss_fn(
        networks.member(params, index), batch, jax.random.key(1),
        phase.counts(batch), index=index,
      )[0]
      for index in range(phase.members)
    )  # fmt: skip

  grad = jax.jit(jax.grad(loss))
  params = phase.init(jax.random.key(0))
  before = grad(params, batch)

  def changed(rows):
    inputs = batch['inputs'].at[rows].add(1.0)
    return grad(params, {**batch, 'inputs': inputs})

  for one, other in zip(*map(jax.tree.leaves, (before, changed(left_out)))):
    np.testing.assert_allclose(one, other, atol=1e-6)
  same = zip(*map(jax.tree.leaves, (before, changed(~left_out))))
  assert not all(np.allclose(one, other, atol=1e-6) for one, other in same)
  # A member that leaves out all of its share learns nothing, and stays a number.
  nothing = dict(batch)
  for name in ('part', 'proposal_part'):
    nothing[name] = batch[name].at[:4].set(0)
  for leaf in jax.tree.leaves(grad(params, nothing)):
    assert np.isfinite(leaf).all() and not np.any(leaf[0])


def test_snippets_and_proposals_know_their_part_where_the_config_asks(job):
  for asked in (True, False):
    config = job.config.copy_and_resolve_references()
    config.template.cross_fit = asked
    phase = joint_phase.joint(job._replace(config=config))
    read = phase.prepare()
    found = set()
    for window in phase.windows:
      example = read(window, np.random.default_rng(0))
      both = {*example['part'], *example['proposal_part']}
      found |= {int(part) for part in both}
    assert found == ({0, 1} if asked else {cross_fit.NONE})


def test_the_part_of_a_stretched_and_shifted_window_is_that_of_its_snippets(
  job, monkeypatch
):
  # The position itself in place of the part.
  monkeypatch.setattr(
    cross_fit, 'parts', lambda data, members: lambda video_id, at: at
  )
  config = job.config.copy_and_resolve_references()
  config.windows.time_stretch = 0.3
  phase = joint_phase.joint(job._replace(config=config))
  read = phase.prepare()
  for seed in range(10):
    window = phase.windows[-1]
    example = read(window, np.random.default_rng(seed))
    at = example['part']
    steps = np.diff(at)
    np.testing.assert_allclose(steps, steps[0])
    assert 0.7 < steps[0] < 1.4
    middles = example['proposals'].mean(axis=1)
    expected = at[0] + (middles - 0.5) * steps[0]
    np.testing.assert_allclose(
      example['proposal_part'], expected, rtol=1e-4, atol=1e-3
    )
    assert at[0] >= 0
