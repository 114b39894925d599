"""A trained run as it was, and as inference shall see it otherwise."""

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.data import sources, training_data
from cmsn_jax.runs import config_record, folder, trained
from cmsn_jax.training import setup
from tests.chains.toy import recipe


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  config, data = setup.open_run(recipe.get_config(), workdir)
  setup.loop.train_and_evaluate(config, workdir, data, quiet=True)
  return workdir, config, data


def test_it_proposes_with_the_best_parameters(run):
  workdir, config, data = run
  found = trained.load(workdir)
  kept = folder.read_best(workdir)
  np.testing.assert_array_equal(
    found.predictor.params['toy']['weight'],
    kept.tree['params']['toy']['weight'],
  )
  assert found.config.toy.above == config.toy.above
  videos = list(data.held_out)
  ((name, prediction),) = found.predictor.propose(data.source, videos[:1])
  assert name == videos[0]
  assert np.all(np.diff(prediction.proposals.scores) <= 0)


def test_what_its_snippets_were_is_kept(run):
  workdir, _, data = run
  found = trained.load(workdir)
  assert found.data['feature_fps'] == data.source.feature_fps
  assert tuple(found.data['snippet_shape']) == data.source.snippet_shape
  assert found.data['file_dim'] == data.source.file_dim
  np.testing.assert_array_equal(
    found.statistics.mean, data.source.statistics.mean
  )


def test_inference_may_see_keys_otherwise(run):
  workdir, _, data = run
  found = trained.load(workdir, changes={'toy.above': 0.99})
  assert found.config.toy.above == 0.99
  few = sum(
    len(p.proposals.scores)
    for _, p in found.predictor.propose(data.source, data.held_out)
  )
  usual = sum(
    len(p.proposals.scores)
    for _, p in trained.load(workdir).predictor.propose(
      data.source, data.held_out
    )
  )
  assert few <= usual
  # The run itself is as it was.
  assert trained.load(workdir).config.toy.above == 0.5


def test_the_identity_is_of_parameters_and_settings(run, tmp_path):
  workdir, config, data = run
  assert trained.load(workdir).identity == trained.load(workdir).identity
  other = config.copy_and_resolve_references()
  other.train.seed = 5
  other.train.learning_rate = 0.01
  setup.loop.train_and_evaluate(other.lock(), tmp_path, data, quiet=True)
  assert trained.load(tmp_path).identity != trained.load(workdir).identity


def test_a_phase_must_be_one_of_the_chain(run):
  workdir, _, _ = run
  assert (
    trained.load(workdir, 'only').identity == trained.load(workdir).identity
  )
  with pytest.raises(config_record.RunFolderError, match="no 'stages'"):
    trained.load(workdir, 'stages')


def test_no_run_no_model(tmp_path):
  with pytest.raises(config_record.RunFolderError, match='no trained model'):
    trained.load(tmp_path)


def test_features_as_they_are_have_no_statistics():
  assert trained.statistics_of({}) is None


def test_every_change_is_another_model(run):
  workdir, _, _ = run
  plain = trained.load(workdir)
  one, other = (
    trained.load(workdir, changes={'toy.above': value}) for value in (0.6, 0.7)
  )
  assert len({plain.identity, one.identity, other.identity}) == 3
  # No change is no other model.
  assert trained.load(workdir, changes={}).identity == plain.identity
  assert len(plain.identity) == 16 and int(plain.identity, 16) >= 0
  # Where it came from stays.
  assert (one.phase, one.step) == (plain.phase, plain.step)


def _with_metrics(monkeypatch, **metrics):
  read_best = folder.read_best

  def changed(workdir, phase=None):
    found = read_best(workdir, phase)
    meta = {**found.meta, 'metrics': {**found.meta['metrics'], **metrics}}
    return found._replace(meta=meta)

  monkeypatch.setattr(folder, 'read_best', changed)


def test_the_calibration_is_of_the_scores_as_the_run_made_them(
  run, monkeypatch
):
  workdir, config, _ = run
  assert config.calibration.given == ()
  _with_metrics(monkeypatch, score_slope=0.5, score_offset=-1.0)
  assert trained.load(workdir).config.calibration.given == (0.5, -1.0)
  # Scores that are made otherwise are not calibrated with it ...
  other = trained.load(workdir, changes={'toy.above': 0.6})
  assert other.config.calibration.given == ()
  # ... but with one that was made for them.
  given = {'toy.above': 0.6, 'calibration.given': (2.0, 0.5)}
  other = trained.load(workdir, changes=given)
  assert other.config.calibration.given == (2.0, 0.5)


def test_a_key_that_is_not_there_cannot_be_changed(run):
  workdir, _, _ = run
  with pytest.raises(KeyError, match='abov'):
    trained.load(workdir, changes={'toy.abov': 0.6})


class _Frames:
  feature_fps = 25.0
  snippet_shape = (16, 8, 8, 3)
  statistics = None


def test_a_source_of_frames_is_described_without_files():
  data = training_data.TrainingData(
    activitynet.Annotations('', {}), {}, {}, _Frames()
  )
  found = trained.describe_data(data)
  assert found == {
    'snippet_shape': [16, 8, 8, 3],
    'feature_fps': 25.0,
    'file_fps': 0.0,
    'file_dim': None,
    'pool': 1,
    'sidecar': None,
    'offset_sec': 0.0,
    'lost_rows': 0.0,
    'rescaled': False,
  }
  assert trained.statistics_tree(data) == {}


@pytest.mark.parametrize(
  'extra', [{}, {'quantiles': np.arange(130.0).reshape(65, 2)}]
)
def test_statistics_survive_their_arrays(extra):
  given = sources.Statistics(
    np.array([1.0, 2.0]), np.array([3.0, 4.0]), **extra
  )
  source = _Frames()
  source.statistics = given
  data = training_data.TrainingData(
    activitynet.Annotations('', {}), {}, {}, source
  )
  tree = trained.statistics_tree(data)
  assert set(tree) == {'mean', 'std', *extra}
  found = trained.statistics_of(tree)
  np.testing.assert_array_equal(found.mean, given.mean)
  np.testing.assert_array_equal(found.std, given.std)
  assert (found.quantiles is None) == (not extra) and found.floor is None
