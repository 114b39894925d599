import contextlib
import types

import numpy as np
import pytest

from cmsn_jax.engines import engine
from cmsn_jax.files import proposal_files
from cmsn_jax.proposing import corpus, inputs, result_files
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.training import setup
from cmsn_jax.video import identities
from configs import rat_social

_STACK = contextlib.ExitStack()
# Nothing is opened, so nothing is asked of it.
_NOBODY = trained_lib.Trained(None, rat_social.get_config(), {}, None, '')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A trained run on generated features, of which one more is damaged."""
  workdir = tmp_path_factory.mktemp('run')
  config = rat_social.get_config('smoke')
  config.data.annotations = 'generated:5x40'
  config.train.stages_epochs = 1
  config.evaluator.enabled = False
  setup.run(config, workdir, quiet=True)
  return workdir


@pytest.mark.slow
def test_a_damaged_video_fails_alone_and_a_rerun_does_only_the_rest(
  run, tmp_path
):
  features = tmp_path / 'features'
  features.mkdir()
  for path in (run / 'generated' / 'features').glob('*.npy'):
    np.save(features / path.name, np.load(path))
  bad = np.load(features / 'video_001.npy')
  bad[-1, 0] = np.nan
  np.save(features / 'video_001.npy', bad)
  output = tmp_path / 'p.json'
  failures = corpus.propose(
    run, str(features), output, feature_fps=5.0, quiet=True,
    save_stages=str(tmp_path / 'stages'),
  )  # fmt: skip
  assert set(failures) == {'video_001'}
  assert 'video_001' in failures['video_001']
  done = proposal_files.read(output)
  assert len(done) == 4 and 'video_001' not in done
  with np.load(tmp_path / 'stages' / 'video_000.npz') as saved:
    assert saved['probabilities'].shape[1] == 6
  np.save(features / 'video_001.npy', np.nan_to_num(bad))
  assert not corpus.propose(
    run, str(features), output, feature_fps=5.0, quiet=True
  )
  assert len(proposal_files.read(output)) == 5
  # Another input into the same file: refused, then appended.
  other = tmp_path / 'other'
  other.mkdir()
  np.save(other / 'one_more.npy', np.nan_to_num(bad))
  options = {'feature_fps': 5.0, 'quiet': True}
  with pytest.raises(ValueError, match='of .*features, .* is now .*other;'):
    corpus.propose(run, str(other), output, **options)
  assert not corpus.propose(run, str(other), output, append=True, **options)
  assert len(proposal_files.read(output)) == 6
  # Two processes give the same bytes, and go on where one stopped.
  alone, both = tmp_path / 'alone.json', tmp_path / 'both.json'
  options = {**options, 'save_stages': str(tmp_path / 'again')}
  assert not corpus.propose(run, str(features), alone, **options)
  two = engine.Settings(workers=2)
  with open(f'{both}.partial.jsonl', 'w') as file:
    file.write('cut short')
  assert not corpus.propose(run, str(features), both, engine=two, **options)
  assert alone.read_bytes() == both.read_bytes()
  # Shards give the same.
  sharded = tmp_path / 's.json'
  for i in range(2):
    corpus.propose(
      run, str(features), sharded, feature_fps=5.0, shard=(i, 2), quiet=True
    )
  one = proposal_files.read(output)
  for name, part in proposal_files.read(sharded).items():
    np.testing.assert_allclose(one[name].scores, part.scores, atol=1e-6)


def test_all_bad_feature_files_are_found_and_the_good_ones_opened(tmp_path):
  good = np.zeros((50, 4), np.float32)
  # The first by name has another width than the model.
  np.save(tmp_path / 'a_narrow.npy', good[:, :3])
  np.save(tmp_path / 'b_objects.npy', np.array([{}, []], object))
  np.save(tmp_path / 'c_good.npy', good)
  np.save(tmp_path / 'd_cube.npy', np.zeros((5, 4, 3, 2), np.float32))
  (tmp_path / 'e_text.npy').write_text('no array')
  np.save(tmp_path / 'f_good.npy', good[:25])
  config = rat_social.get_config()
  data = {'file_fps': 5.0, 'file_dim': 4, 'pool': 1}
  trained = trained_lib.Trained(None, config, data, None, '')
  failures = {}
  _, seconds, *_ = inputs.open_source(
    trained, str(tmp_path), 5.0, failures, _STACK
  )
  assert seconds == {'c_good': 10.0, 'f_good': 5.0}
  assert set(failures) == {'a_narrow', 'b_objects', 'd_cube', 'e_text'}
  assert '3-dimensional' in failures['a_narrow']


def test_a_video_that_fails_on_the_way_ends_at_its_end(monkeypatch, tmp_path):
  reached = {}

  class Bar:
    def __init__(self, seconds, name, quiet):
      pass

    def done(self, video_id):
      reached[video_id] = True

    def __enter__(self):
      return self

    def __exit__(self, *unused):
      pass

  monkeypatch.setattr(corpus.progress, 'VideoBar', Bar)
  results = result_files.Results(tmp_path / 'p.json', 'model')
  failures = {}

  def predict(todo, bar):
    failures['a'] = 'no such file'
    return iter(())

  corpus.run(
    ['a'], predict, results, failures, {'a': 9.0}, None, None, True,
    identities.of,
  )  # fmt: skip
  assert reached == {'a': True}


def test_features_of_another_width_or_rate_are_refused(run, tmp_path):
  np.save(tmp_path / 'v.npy', np.zeros((50, 3), np.float32))
  with pytest.raises(ValueError, match='3-dimensional.*trained on 16'):
    corpus.propose(run, str(tmp_path), tmp_path / 'p.json', feature_fps=5.0)
  np.save(tmp_path / 'v.npy', np.zeros((50, 16), np.float32))
  with pytest.raises(ValueError, match='30 snippets a second.*trained on 5'):
    corpus.propose(run, str(tmp_path), tmp_path / 'p.json', feature_fps=30.0)


def test_no_run_and_no_subset(tmp_path):
  with pytest.raises(ValueError, match='no trained model'):
    trained_lib.load(tmp_path)


def test_a_folder_of_neither_features_nor_videos_is_called_so(tmp_path):
  (tmp_path / 'deeper').mkdir()
  with pytest.raises(ValueError, match='neither features .* nor videos'):
    inputs.open_source(_NOBODY, str(tmp_path), None, {}, _STACK)


def test_who_gives_labels_is_said_where_none_are_given():
  trained = types.SimpleNamespace(
    predictor=types.SimpleNamespace(label_names=())
  )
  with pytest.raises(ValueError, match=r'label_weight.*stages.action_weight'):
    corpus._check_labels(trained, 'all', None)
  corpus._check_labels(trained, 'best', None)
