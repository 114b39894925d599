"""A trained run as it was, and as inference shall see it otherwise."""

import numpy as np
import pytest

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
