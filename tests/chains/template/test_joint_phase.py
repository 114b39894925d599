import dataclasses
import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cmsn_jax.chains import protocol, registry
from cmsn_jax.chains.template import chain, derive, joint_phase
from cmsn_jax.data import opening, training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.settings import default
from cmsn_jax.suppression import calibration
from cmsn_jax.training import loop, optimizer, parallel, phase_step, steps


def small(**template):
  config = default.get_config()
  config.data.annotations = 'generated:4x60'
  config.chain = 'template'
  config.data.pool = 0
  config.nms.method = 'threshold'
  config.windows.length = 96
  config.windows.time_stretch = 0.2
  config.windows.noise = 0.1
  config.train.learning_rate = 3e-3
  config.train.batch_per_device = 2
  config.calibration.fit = True
  config.template.update(
    width=16, dilations=(1, 2), pooled_width=8, hidden=16, members=2,
    steps=4, proposals=16, per_snippet=1.0, **template,
  )  # fmt: skip
  return config


def _job(config, data, batch_size):
  return protocol.Job(
    config, data, registry.predictor(config, {}), batch_size, None, None
  )


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return opening.open_data(small(), tmp_path_factory.mktemp('data'))


def test_derive_fills_in_what_the_config_leaves_open(data):
  config = small()
  done = derive.derive(config, data)
  assert config.template.durations == ()
  durations = np.concatenate(
    [v.segments[:, 1] - v.segments[:, 0] for v in data.train.values()]
  )
  fps = data.source.feature_fps
  assert done.template.typical_duration == pytest.approx(
    np.median(durations) * fps
  )
  assert done.template.durations[-1] == pytest.approx(
    np.quantile(durations, 0.995) * fps, rel=1e-3
  )
  longest = max(data.source.num_snippets(name) for name in data.train)
  assert done.windows.length == min(96, -(-longest // 32) * 32)
  names = {label for v in data.train.values() for label in v.labels}
  assert done.template.num_actions == len(names)
  given = small(typical_duration=7.0, durations=(2.0, 4.0))
  kept = derive.derive(given, data)
  assert kept.template.typical_duration == 7.0
  assert kept.template.durations == (2.0, 4.0)


def _long(data, seconds):
  """The same videos with instances of that length."""
  segments = np.array([[0.0, seconds], [seconds, 2 * seconds]])
  train = {
    name: dataclasses.replace(v, segments=segments, labels=('x', 'x'))
    for name, v in data.train.items()
  }

  class Source:
    feature_fps = 10.0
    snippet_shape = data.source.snippet_shape
    statistics = None

    def num_snippets(self, video_id):
      return 6000

  return dataclasses.replace(data, train=train, source=Source())


def test_windows_grow_with_the_instances_and_a_step_stays_as_large(data):
  # 300-s instances among windows of 10 s were never found.
  config = small()
  config.train.batch_per_device = 32
  done = derive.derive(config, _long(data, 40.0))
  assert done.windows.length == 800
  # 32 windows of 96 snippets: 4 of 800, two a member.
  assert done.train.batch_per_device == 4
  assert done.template.proposals == 16 * 8
  # And the student's 16 likewise.
  assert done.template.student_windows == 2
  # A third of 400 snippets lies within the reach of 1 + 1 + 2 + ... + 128.
  assert done.template.dilations == (1, 2, 4, 8, 16, 32, 64, 128)
  config.template.max_window = 256
  done = derive.derive(config, _long(data, 40.0))
  assert done.windows.length == 256
  config.template.max_window = 0
  done = derive.derive(config, _long(data, 40.0))
  assert done.windows.length == 96 and done.template.dilations == (1, 2)
  assert done.train.batch_per_device == 32


def test_what_no_window_holds_is_said(data, caplog):
  config = small()
  config.template.max_window = 256
  with caplog.at_level('WARNING'):
    derive.derive(config, _long(data, 40.0))
  assert 'longer than the window of 256 snippets' in caplog.text
  assert 'config.template.max_window' in caplog.text
  caplog.clear()
  with caplog.at_level('WARNING'):
    derive.derive(small(), _long(data, 40.0))
  assert 'longer than' not in caplog.text


def test_a_grown_view_leaves_most_of_a_piece(data):
  done = derive.derive(small(), _long(data, 280.0))
  # A quarter more than the longest.
  assert done.windows.length == 3520
  assert max(done.template.dilations) == 256
  assert chain.problems(done) == []


def test_derive_counts_actions(data, monkeypatch):
  without = derive.derive(small(action_weight=0.0, num_actions=3), data)
  assert without.template.num_actions == 0
  number = len(derive.actions(data))
  assert derive.derive(small(num_actions=number), data).template.num_actions
  with pytest.raises(ValueError, match=f'num_actions is 99.*{number} labels'):
    derive.derive(small(num_actions=99), data)
  # Free text: one label an instance.
  monkeypatch.setattr(training_data, 'MAX_LABELS', number - 1)
  many = derive.derive(small(), data).template
  assert (many.num_actions, many.action_weight) == (0, 0.0)


def test_batches_are_a_function_of_seed_and_step(data):
  config = derive.derive(small(), data)
  phase = joint_phase.joint(_job(config, data, 16))
  first, second = (
    windows_lib.WindowLoader(
      phase.prepare(), phase.windows, batch_size=16, seed=0
    ).batch(3)
    for _ in range(2)
  )
  for name in first:
    np.testing.assert_array_equal(first[name], second[name])
  length = config.windows.length
  assert first['inputs'].shape[:2] == (16, length)
  assert first['proposals'].shape == (16, 16, 2)
  valid = first['mask'].sum(axis=1)
  assert np.all(first['proposals'].max(axis=(1, 2)) <= valid)
  assert first['tiou'].max() > 0.6
  assert np.all(first['labels'][~first['mask']] == 0)
  inside = (first['labels'] >= 2) & (first['labels'] <= 4)
  np.testing.assert_array_equal(first['actions'] > 0, inside)
  assert first['actions'].max() == config.template.num_actions


def test_members_must_share_the_batch_evenly(data):
  config = derive.derive(small(), data)
  config.template.members = 3
  with pytest.raises(ValueError, match='divisible by the 3'):
    joint_phase.joint(_job(config, data, 16))


def test_the_steps_that_are_asked_are_run(data):
  config = derive.derive(small(evaluations=3), data)
  config.template.steps = 20
  plan = joint_phase.joint(_job(config, data, 2)).plan
  # Whatever an epoch is: 170 hours of video once made 4,754 steps of 12.
  assert plan(7) == plan(9_000) == (20, 7)


def _one_program(phase, tx, accumulate=1, axis_name=None):
  """A step of all members, written out one after the other."""

  def step(state, batch, key):
    found = [
      steps.gradients(
        jax.tree.map(lambda x, i=i: x[i], state.params), state.step, batch, key,
        loss_fn=functools.partial(phase.loss_fn, index=i),
        counts_fn=phase.counts, accumulate=accumulate, axis_name=axis_name,
      )
      for i in range(phase.members)
    ]  # fmt: skip
    return steps.update(
      state, phase_step.together(found), tx=tx, counted=True,
      axis_name=axis_name,
    )  # fmt: skip

  return step


@pytest.mark.parametrize(('devices', 'accumulate'), [(1, 2), (2, 2), (8, 1)])
def test_a_batch_gives_the_same_gradient_however_split(
  data, devices, accumulate
):
  """Windows of few valid snippets beside full ones, and few fair proposals."""
  config = derive.derive(small(dropout=0.0), data)
  whole = joint_phase.joint(_job(config, data, 32))
  loader = windows_lib.WindowLoader(
    whole.prepare(), whole.windows, batch_size=16, seed=0
  )
  batch = loader.batch(0)
  batch.pop('window')
  batch['mask'][::3, 4:] = False
  batch['tiou'][1::2] *= 0.5
  params = whole.init(jax.random.key(0))
  tx = optax.sgd(1.0)
  state = steps.create_state(params, tx)
  expected, metrics = jax.jit(_one_program(whole, tx))(
    state, jax.tree.map(jnp.asarray, batch), jax.random.key(1)
  )
  # Each member must get the windows that it had: part by part a block each.
  parts, members = devices * accumulate, config.template.members
  order = np.arange(16).reshape(members, parts, -1).swapaxes(0, 1).ravel()
  batch = {name: value[order] for name, value in batch.items()}
  with config.unlocked():
    config.train.accumulate = accumulate
  split = joint_phase.joint(_job(config, data, 32))
  if devices == jax.local_device_count():
    # As it is trained: a program of one member, run for each.
    found, parted = phase_step.phase_step(split, tx, accumulate=accumulate)(
      parallel.replicate(state), parallel.shard(batch), jax.random.key(1)
    )
  else:
    found, parted = jax.pmap(
      _one_program(split, tx, accumulate, 'd'),
      axis_name='d', in_axes=(None, 0, None), out_axes=None,
      devices=jax.devices()[:devices],
    )(
      state,
      {k: v.reshape(devices, -1, *v.shape[1:]) for k, v in batch.items()},
      jax.random.key(1),
    )  # fmt: skip
  np.testing.assert_allclose(parted.loss, metrics.loss, rtol=1e-5)
  for x, y in zip(
    jax.tree.leaves(found.params), jax.tree.leaves(expected.params)
  ):
    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_biases_of_stacked_members_do_not_decay(data):
  config = derive.derive(small(), data)
  phase = joint_phase.joint(_job(config, data, 16))
  params = jax.tree.map(jnp.ones_like, phase.init(jax.random.key(0)))
  tx = optimizer.create(
    'sgd', optax.constant_schedule(1.0), weight_decay=0.5, momentum=0.0,
    stacked_axes=phase.stacked_axes,
  )  # fmt: skip
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = tx.update(zeros, tx.init(params), params)
  flat = flax.traverse_util.flatten_dict(updates, sep='/')
  decayed = {name for name, value in flat.items() if np.any(value)}
  # What a single network would decay: kernels and the cosine head's weights.
  one = jax.tree.map(lambda x: x[0], params)
  wanted = {
    name
    for name, value in flax.traverse_util.flatten_dict(one, sep='/').items()
    if value.ndim > 1
  }
  assert decayed == wanted and len(decayed) < len(flat)


@pytest.mark.parametrize(
  ('labels', 'weight'), [(0, 0.0), (2, 0.5 * 2 / 7), (7, 0.5), (20, 0.5)]
)
def test_few_labels_weigh_less(labels, weight):
  config = small(label_weight=0.5, num_actions=labels)
  assert joint_phase.loss_weights(config).labels == pytest.approx(weight)


def test_counts_of_a_batch_without_labels(data):
  # An array without numbers cannot be reshaped to -1.
  config = derive.derive(small(label_weight=0.0), data)
  phase = joint_phase.joint(_job(config, data, 16))
  batch = {
    'part': np.full((4, 8), -1, np.int32),
    'proposal_part': np.full((4, 3), -1, np.int32),
    'known': np.ones((4, 8), bool),
    'judged': np.ones((4, 3), bool),
    'tiou': np.zeros((4, 3)),
    'proposal_labels': np.zeros((4, 3, 0)),
  }
  counts = phase.counts(jax.tree.map(jnp.asarray, batch))
  assert counts.snippets.tolist() == [16, 16]


def test_it_trains_and_scores_are_calibrated_on_the_held_out_videos(
  data, tmp_path, monkeypatch
):
  # The one generated video holds fewer instances than real ones are to.
  monkeypatch.setattr(calibration, '_LEAST_GAIN', 1.0)
  config = derive.derive(small(), data)
  config.template.steps = 60
  result = loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  assert set(result.metrics) >= {'ar_10', 'ar_100', 'stage_accuracy'}
  assert (tmp_path / 'joint' / 'best').is_dir()
  trained = trained_lib.load(tmp_path)
  fitted = result.metrics['score_slope'], result.metrics['score_offset']
  assert trained.config.calibration.given == fitted
  # Other scores, other meaning.
  soft = trained_lib.load(tmp_path, changes={'nms.method': 'soft'})
  assert soft.config.calibration.given == ()
  raw = trained_lib.load(tmp_path, changes={'calibration.given': (1.0, 0.0)})
  gain, score, before = [], [], []
  for (name, one), (_, other) in zip(
    trained.predictor.propose(data.source, data.held_out),
    raw.predictor.propose(data.source, data.held_out),
  ):
    np.testing.assert_array_equal(
      one.proposals.segments, other.proposals.segments
    )
    truth = data.held_out[name].segments
    gain.append(calibration.gains(one.proposals.segments, truth))
    score.append(one.proposals.scores)
    before.append(other.proposals.scores)
  gain, score, before = map(np.concatenate, (gain, score, before))
  assert score.mean() == pytest.approx(gain.mean(), rel=0.01)
  assert before.mean() != pytest.approx(gain.mean(), rel=0.05)
