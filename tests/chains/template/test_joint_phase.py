import numpy as np
import pytest

from cmsn_jax.chains.paper import predictor as inference
from cmsn_jax.chains.template import derive, joint_phase
from cmsn_jax.data import training_data
from cmsn_jax.proposing import corpus
from cmsn_jax.settings import default
from cmsn_jax.suppression import calibration
from cmsn_jax.training import loop


def small(**joint):
  config = default.get_config()
  config.data.annotations = 'generated:4x60'
  config.proposals.generator = 'stage_template'
  config.data.pool = 0
  config.nms.method = 'threshold'
  config.windows.length = 96
  config.windows.time_stretch = 0.2
  config.windows.noise = 0.1
  config.train.learning_rate = 3e-3
  config.train.batch_per_device = 2
  config.train.eval_every_epochs = 1000
  config.joint.update(
    width=16, dilations=(1, 2), pooled_width=8, hidden=16, members=2,
    steps=4, proposals=16, per_snippet=1.0, **joint,
  )  # fmt: skip
  return config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return training_data.open_data(small(), tmp_path_factory.mktemp('data'))


def test_derive_fills_in_what_the_config_leaves_open(data):
  config = small()
  done = derive.derive(config, data)
  assert config.joint.durations == ()
  durations = np.concatenate(
    [v.segments[:, 1] - v.segments[:, 0] for v in data.train.values()]
  )
  fps = data.source.feature_fps
  assert done.joint.typical_duration == pytest.approx(
    np.median(durations) * fps
  )
  assert done.joint.durations[-1] == pytest.approx(
    np.quantile(durations, 0.995) * fps, rel=1e-3
  )
  longest = max(data.source.num_snippets(name) for name in data.train)
  assert done.windows.length == min(96, -(-longest // 32) * 32)
  names = {label for v in data.train.values() for label in v.labels}
  assert done.joint.num_actions == len(names)
  given = small(typical_duration=7.0, durations=(2.0, 4.0))
  kept = derive.derive(given, data)
  assert kept.joint.typical_duration == 7.0
  assert kept.joint.durations == (2.0, 4.0)


def test_derive_counts_actions(data, monkeypatch):
  without = derive.derive(small(action_weight=0.0, num_actions=3), data)
  assert without.joint.num_actions == 0
  number = len(derive.actions(data))
  assert derive.derive(small(num_actions=number), data).joint.num_actions
  with pytest.raises(ValueError, match=f'num_actions is 99.*{number} labels'):
    derive.derive(small(num_actions=99), data)
  # Free text: one label an instance.
  monkeypatch.setattr(derive, '_MAX_ACTIONS', number - 1)
  many = derive.derive(small(), data).joint
  assert (many.num_actions, many.action_weight) == (0, 0.0)


def test_derive_leaves_the_paper_chain_alone(data):
  config = default.get_config()
  assert derive.derive(config, data).to_json() == config.to_json()


def test_batches_are_a_function_of_seed_and_step(data):
  config = derive.derive(small(), data)
  predictor = inference.create(config, {})
  first, second = (
    joint_phase.joint(config, data, predictor, 16).loader.batch(3)
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
  assert first['actions'].max() == config.joint.num_actions


def test_members_must_share_the_batch_evenly(data):
  config = derive.derive(small(), data)
  config.joint.members = 3
  with pytest.raises(ValueError, match='divisible by the 3'):
    joint_phase.joint(config, data, inference.create(config, {}), 16)


def test_evaluations_are_counted_in_the_steps_that_are_run(data):
  config = derive.derive(small(evaluations=1), data)
  config.joint.steps = 1
  predictor = inference.create(config, {})
  once = joint_phase.joint(config, data, predictor, 2)
  per_epoch = once.loader.steps_per_epoch
  assert (once.epochs, once.eval_every) == (1, per_epoch)
  assert per_epoch > 1
  # One step more than an epoch makes two epochs.
  config.joint.steps = per_epoch + 1
  config.joint.evaluations = 2
  twice = joint_phase.joint(config, data, predictor, 2)
  assert (twice.epochs, twice.eval_every) == (2, per_epoch)


def test_trains_and_finds_instances(data, tmp_path):
  config = derive.derive(small(), data)
  result = loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  assert set(result.metrics) >= {'ar_10', 'ar_100', 'stage_accuracy'}
  assert (tmp_path / 'joint' / 'best').is_dir()


def test_scores_are_calibrated_on_the_held_out_videos(
  data, tmp_path, monkeypatch
):
  # The one generated video holds fewer instances than real ones are to.
  monkeypatch.setattr(calibration, '_LEAST_GAIN', 1.0)
  config = derive.derive(small(), data)
  config.joint.steps = 60
  result = loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  trained = corpus.load(tmp_path)
  fitted = result.metrics['score_slope'], result.metrics['score_offset']
  assert trained.config.joint.calibration == fitted
  # Other scores, other meaning.
  soft = corpus.load(tmp_path, changes={'nms.method': 'soft'})
  assert soft.config.joint.calibration == ()
  raw = corpus.load(tmp_path, changes={'joint.calibration': (1.0, 0.0)})
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
