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
from cmsn_jax.chains.template import cross_fit, derive, joint_phase
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


def _window(name, start=0, length=20):
  return windows_lib.Window(name, start, length)


def test_videos_are_dealt_by_their_instances_there_and_back_again():
  counts = dict(a=3, b=9, c=8, d=7, e=9, f=5, g=1, h=0, i=0)
  part_of = cross_fit.parts(_data(counts), 4)
  dealt = {name: part_of(_window(name)) for name in counts}
  # By instances, then by name: b e c d | f a g h | i.
  assert dealt == dict(b=0, e=1, c=2, d=3, f=3, a=2, g=1, h=0, i=0)
  assert part_of(_window('b', start=60)) == 0


def test_few_videos_are_cut_in_stretches_where_the_middle_of_a_window_lies():
  part_of = cross_fit.parts(_data(dict(a=5, b=1)), 4)
  starts = (0, 14, 16, 39, 41, 64, 66, 80)
  assert [part_of(_window('b', start)) for start in starts] == [
    0, 0, 1, 1, 2, 2, 3, 3,
  ]  # fmt: skip
  # One that is longer than its video.
  assert part_of(_window('a', 0, 220)) == 3


def test_one_member_leaves_nothing_out():
  part_of = cross_fit.parts(_data(dict(a=5, b=1)), 1)
  assert part_of(_window('a')) == cross_fit.NONE
  np.testing.assert_array_equal(
    cross_fit.weights(jnp.array([0, cross_fit.NONE]), 1, 9), np.ones((1, 2))
  )


@given(st.lists(st.integers(0, 30), min_size=4, max_size=40), st.integers(2, 4))
def test_every_part_has_videos_and_about_as_many_instances(counts, members):
  named = {f'{i:02}': count for i, count in enumerate(counts)}
  part_of = cross_fit.parts(_data(named), members)
  totals = np.zeros(members)
  videos = np.zeros(members, int)
  for name, count in named.items():
    totals[part_of(_window(name))] += count
    videos[part_of(_window(name))] += 1
  assert videos.min() >= 1 and np.ptp(videos) <= 2
  assert np.ptp(totals) <= 2 * max(counts)


def test_members_know_nothing_of_what_they_leave_out():
  known = np.ones((2, 3, 4), bool)
  known[0, 1, 2] = False
  part = jnp.array([[0, 1, -1], [0, 1, -1]])
  found = cross_fit.learned(part, jnp.asarray(known))
  expected = known.copy()
  expected[0, 0] = expected[1, 1] = False
  np.testing.assert_array_equal(found, expected)


def test_who_left_a_window_out_counts_nine_times_as_much():
  found = cross_fit.weights(jnp.array([2, cross_fit.NONE, 0]), 4, 9)
  twelfth, quarter = 1 / 12, 1 / 4
  np.testing.assert_allclose(
    found,
    [
      [twelfth, quarter, 0.75],
      [twelfth, quarter, twelfth],
      [0.75, quarter, twelfth],
      [twelfth, quarter, twelfth],
    ],
    rtol=1e-6,
  )
  found = cross_fit.weights(jnp.array([1, cross_fit.NONE]), 2, 9.0)
  np.testing.assert_allclose(found, [[0.1, 0.5], [0.9, 0.5]], rtol=1e-6)


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
  batch['part'] = np.array([0, 1, 0, 1, 1, 0, 0, 0], np.int32)
  left_out = np.array([1, 0, 1, 0, 1, 0, 0, 0], bool)
  batch = jax.tree.map(jnp.asarray, batch)
  grad = jax.jit(
    lambda params, batch: jax.grad(lambda p: phase.loss_fn(
      p, batch, jax.random.key(1), phase.counts(batch)
    )[0])(params)
  )  # fmt: skip
  params = phase.init(jax.random.key(0))
  before = grad(params, batch)

  def changed(rows):
    inputs = batch['inputs'].at[rows].add(1.0)
    return grad(params, {**batch, 'inputs': inputs})

  for one, other in zip(*map(jax.tree.leaves, (before, changed(left_out)))):
    np.testing.assert_allclose(one, other, atol=1e-6)
  same = zip(*map(jax.tree.leaves, (before, changed(~left_out))))
  assert not all(np.allclose(one, other, atol=1e-6) for one, other in same)


def test_windows_know_their_part_where_the_config_asks_for_it(job):
  for asked in (True, False):
    config = job.config.copy_and_resolve_references()
    config.template.cross_fit = asked
    phase = joint_phase.joint(job._replace(config=config))
    read = phase.prepare()
    found = {
      int(read(window, np.random.default_rng(0))['part'])
      for window in phase.windows
    }
    assert found == ({0, 1} if asked else {cross_fit.NONE})
