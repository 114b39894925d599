"""The Python API: as the commands, in any process, with their messages."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import cmsn_jax
from cmsn_jax import api
from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import prediction
from cmsn_jax.data import frame_source
from cmsn_jax.features import video_features
from cmsn_jax.files import proposal_files
from cmsn_jax.proposing import corpus, inputs
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.settings import default, smoke
from cmsn_jax.settings import features as features_default
from configs import custom
from tests.video import made_videos

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_FPS = 5.0
# Annotations are checked in tests, before our own checks.
_CHECKED = 'Type-check error'

# An extractor without weights: the mean colour of parts of each frame.
_BACKBONE = """
import jax.numpy as jnp
from cmsn_jax.features import extractor

def build(section):
  def apply(params, frames, valid):
    b, f = frames.shape[:2]
    rows = frames.astype(jnp.float32).reshape(b, f // 5, 5, -1).mean(2)
    return rows[..., :: rows.shape[-1] // 16][..., :16] / 255
  return extractor.Extractor(
    name='parts', modality='rgb', apply=apply, params={}, dim=16, fps=25.0,
    stride=5, resize=(8, 8), halo_frames=0, weights=section.weights,
  )
"""


def _run(*words, code='', path=()):
  """A process of its own, without what this one has loaded."""
  paths = os.pathsep.join([str(_ROOT), *map(str, path)])
  return subprocess.run(
    [sys.executable, *words], input=code, capture_output=True, text=True,
    timeout=600, env=os.environ | {'PYTHONPATH': paths},
  )  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('api')


def _config():
  config = smoke.apply(default.get_config(), 'smoke')
  config.data.annotations = 'generated:5x30'
  config.train.stages_epochs = 1
  config.evaluator.enabled = False
  return config


@pytest.fixture(scope='module')
def model(folder):
  """A model as `train` returns it; its config stays the caller's."""
  config = _config()
  before = config.to_json()
  found = cmsn_jax.train(config, folder / 'run', quiet=True)
  assert config.to_json() == before
  return found


@pytest.fixture(scope='module')
def features(model, folder):
  """Path of one of the sequences that it was trained with."""
  return folder / 'run' / 'generated' / 'features' / 'video_004.npy'


@pytest.fixture(scope='module')
def exported(model, folder):
  """An export that knows an extractor, so that it proposes for videos."""
  model.export(folder / 'export')
  (folder / 'my_parts.py').write_text(_BACKBONE)
  sys.path.insert(0, str(folder))
  try:
    section = features_default.get_config().features
    section.extractor = 'my_parts'
    record = video_features.from_config(section).record
  finally:
    sys.path.remove(str(folder))
  about = json.loads((folder / 'export' / 'model.json').read_text())
  about['sidecar'] = record
  (folder / 'export' / 'model.json').write_text(json.dumps(about))
  return folder / 'export'


def _same(found, expected):
  np.testing.assert_array_equal(found.segments, expected.segments)
  np.testing.assert_array_equal(found.scores, expected.scores)


# Importing.


def test_importing_the_package_loads_nothing_and_shows_its_names():
  code = (
    'import sys; before = set(sys.modules); import cmsn_jax; '
    'new = set(sys.modules) - before; assert "load" in dir(cmsn_jax); '
    'print(sorted(n.partition(".")[0] for n in new), len(new))'
  )
  done = _run('-c', code)
  names, count = done.stdout.rpartition(' ')[::2]
  # Nothing else of ours, no numpy, no jax, and little of Python's own.
  others = set(ast.literal_eval(names)) - set(sys.stdlib_module_names)
  assert others == {'cmsn_jax'} and int(count) < 10, done.stderr


def test_who_only_proposes_does_not_wait_for_what_trains():
  # With PyTorch installed tensorboardX imports it: 1.4 of 4 seconds.
  done = _run(
    '-c',
    'import sys; from cmsn_jax import api; '
    'from cmsn_jax.training import final_choices; from launch import propose; '
    'from cmsn_jax.proposing import corpus, streaming; '
    'print({n.partition(".")[0] for n in sys.modules})',
  )
  loaded = ast.literal_eval(done.stdout)
  assert 'jax' in loaded
  assert not loaded & {'tensorboardX', 'matplotlib', 'torch', 'tensorflow'}


def test_the_names_are_those_of_the_api():
  for name in ('load', 'train', 'evaluate', 'Model'):
    assert getattr(cmsn_jax, name) is getattr(api, name)
    assert name in dir(cmsn_jax)
  with pytest.raises(AttributeError, match="no attribute 'lod'"):
    _ = cmsn_jax.lod


# Proposing.


def test_propose_unpacks_and_equals_what_the_command_writes(
  model, features, folder
):
  segments, scores = model.propose(features)
  assert segments.shape == (len(scores), 2) and len(scores)
  assert segments.dtype == scores.dtype == np.float64
  assert (np.diff(scores) <= 0).all() and (
    segments[:, 0] < segments[:, 1]
  ).all()
  one = folder / 'one'
  one.mkdir()
  np.save(one / 'v.npy', np.load(features))
  corpus.propose(
    folder / 'run', str(one), folder / 'p.json', feature_fps=_FPS, quiet=True
  )
  written = proposal_files.read(folder / 'p.json')['v']
  _same(model.propose(features), written)
  # The same folder, one video in it.
  _same(model.propose(str(one)), written)
  assert model.identity in (folder / 'p.json').read_text()


def test_arrays_of_any_kind(model, features):
  rows = np.load(features)
  expected = model.propose(features)
  for given in (
    rows,
    rows.astype(np.float64),
    jnp.asarray(rows),
    rows.tolist(),
  ):
    _same(model.propose(given), expected)
  _same(model.propose(rows, feature_fps=_FPS), expected)
  found = model.predict(rows)
  _same(found.proposals, expected)
  assert found.probabilities.shape == (len(rows), 6)
  np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)
  assert model.feature_fps == model.snippet_fps == _FPS
  # A camera that is half as fast again: brought to the model's rate.
  slower = model.predict(rows, feature_fps=1.5 * _FPS)
  assert len(slower.probabilities) == round(len(rows) / 1.5)
  assert slower.proposals.segments.max() <= len(rows) / (1.5 * _FPS) + 0.2


def test_bad_arrays_are_named(model, features):
  rows = np.load(features)
  nan = rows.copy()
  nan[7, 3] = np.nan
  for bad, kind, message in (
    (rows[:, :3], ValueError, 'array has 3-dimensional.* was trained on 16'),
    (
      nan,
      ValueError,
      'array: features: found nan in row 7, column 3, expected',
    ),
    (rows[:, 0], ValueError, r'must have shape \[t, d\], got \(\d+,\)'),
    (rows[:0], ValueError, r'has no rows, of shape \(0, 16\)'),
    (np.array([{}]), TypeError, r'must hold numbers, .* got object'),
    (None, TypeError, 'must hold numbers'),
  ):
    with pytest.raises(kind, match=message):
      model.propose(bad)
  with pytest.raises(ValueError, match='30 snippets a second.* trained on 5'):
    model.propose(rows, feature_fps=30.0)


def test_bad_paths_are_named(model, features, tmp_path):
  with pytest.raises(FileNotFoundError, match='none.npy: no such file'):
    model.propose(tmp_path / 'none.npy')
  with pytest.raises(
    ValueError, match='holds 5 videos .*video_000.*propose_all'
  ):
    model.propose(features.parent)
  (tmp_path / 'v.npy').write_text('no array')
  with pytest.raises(ValueError, match='v.npy'):
    model.propose(tmp_path / 'v.npy')
  video = made_videos.make(tmp_path / 'v.mp4', num_frames=20)
  with pytest.raises(ValueError, match='v.mp4 holds videos, .* unknown extr'):
    model.propose(video)


def test_a_model_on_video_takes_no_features(features):
  config = default.get_config()
  config.data.input = 'video'
  about = {'file_fps': 0.0, 'feature_fps': 3.125, 'snippet_shape': [8, 4, 4, 3]}
  trained = trained_lib.Trained(None, config.lock(), about, None, 'abc')
  found = api.Model(trained, pathlib.Path('runs/video'))
  assert found.feature_fps == 3.125
  assert "'runs/video': chain 'paper', video" in repr(found)
  for given in (features, np.load(features)):
    with pytest.raises(
      ValueError, match='features, but this model was trained'
    ):
      found.propose(given)


def test_a_single_video_is_decoded_in_this_process(tmp_path, monkeypatch):
  path = made_videos.make(tmp_path / 'v.mp4', num_frames=40)
  config = default.get_config()
  config.data.input = 'video'
  shapes = []

  def nobody(*unused):
    raise AssertionError('a worker was started')

  class Predictor:
    def propose(self, source, ids, on_error=None):
      assert isinstance(source, frame_source.DecodingSource)
      frames = source.read(ids[0], 0, 2)
      shapes.append(frames.shape)
      none = proposal_files.Proposals(np.zeros((0, 2)), np.zeros(0))
      yield ids[0], prediction.Prediction(none, None)

  monkeypatch.setattr(inputs.video_reader.VideoReader, '_start', nobody)
  trained = trained_lib.Trained(Predictor(), config.lock(), {}, None, 'abc')
  segments, scores = api.Model(trained, tmp_path).propose(path)
  assert shapes == [(16, *config.video.crop, 3)]
  assert segments.shape == (0, 2) and scores.shape == (0,)


def test_propose_all_gives_every_video_and_keeps_failures(
  model, features, tmp_path
):
  found = dict(model.propose_all(features.parent))
  assert sorted(found) == [f'video_{k:03d}' for k in range(5)]
  _same(found['video_004'], model.propose(features))
  np.save(tmp_path / 'a.npy', np.load(features))
  bad = np.load(features)
  bad[-1] = np.nan
  np.save(tmp_path / 'b.npy', bad)
  (tmp_path / 'c.npy').write_text('no array')
  failures = {}
  found = dict(model.propose_all(tmp_path, failures.__setitem__))
  assert set(found) == {'a'} and set(failures) == {'b', 'c'}
  assert 'found nan' in failures['b']
  with pytest.raises(ValueError, match=r'c.*npy'):
    model.propose_all(tmp_path)
  (tmp_path / 'c.npy').unlink()
  with pytest.raises(ValueError, match='found nan'):
    list(model.propose_all(tmp_path))


# Loading.


def test_a_run_and_its_export_propose_the_same(model, exported, features):
  run, export = cmsn_jax.load(model.path), cmsn_jax.load(str(exported))
  expected = model.propose(features)
  _same(run.propose(features), expected)
  found = export.propose(np.load(features))
  np.testing.assert_array_equal(found.segments, expected.segments)
  np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
  assert run.identity == export.identity == model.identity
  assert export.config.chain == 'paper' and export.config.is_locked
  with pytest.raises(ValueError, match='is an export already'):
    export.export('anywhere')
  with pytest.raises(ValueError, match='is an export, .* load the run'):
    cmsn_jax.load(exported, phase='stages')


def test_changes_reach_run_and_export(model, exported, features):
  for path in (model.path, exported):
    few = cmsn_jax.load(path, changes={'nms.max_proposals': 3})
    assert few.config.nms.max_proposals == 3
    np.testing.assert_array_equal(
      few.propose(features).segments, model.propose(features).segments[:3]
    )
    for changes, message in (
      ({'nms.mthod': 'soft'}, 'no such config key.*method'),
      ({'nms.method': 'x'}, 'config.nms.method must be one of'),
      ({'stages.width': 8}, 'config.stages.width is fixed by training'),
    ):
      with pytest.raises(ValueError, match=message):
        cmsn_jax.load(path, changes=changes)


def test_a_run_cannot_ask_the_training_data():
  config = custom.get_config()
  for key in ('slow_stages', 'slow_features', 'temper', 'per_snippet'):
    message = rf'config\.template\.{key}: 0 takes it from the training data'
    with pytest.raises(ValueError, match=message):
      api._check_changes(config, {f'template.{key}': 0.0})
  api._check_changes(config, {'template.slow_stages': 1.5})


def test_what_is_no_model_is_called_so(model, tmp_path):
  with pytest.raises(FileNotFoundError, match='gone: no such folder'):
    cmsn_jax.load(tmp_path / 'gone')
  with pytest.raises(ValueError, match='holds no trained model'):
    cmsn_jax.load(tmp_path)
  with pytest.raises(ValueError, match="phases stages.*no 'joint'"):
    cmsn_jax.load(model.path, phase='joint')


# Training.


def test_train_goes_on_where_the_workdir_stands(model, folder, tmp_path):
  recipe = tmp_path / 'mine.py'
  recipe.write_text(
    'from cmsn_jax.settings import default, smoke\n'
    'def get_config(arg=None):\n'
    '  config = smoke.apply(default.get_config(), arg)\n'
    "  config.data.annotations = 'generated:5x30'\n"
    '  config.train.stages_epochs = 1\n'
    '  config.evaluator.enabled = False\n'
    '  return config\n'
  )
  # The same config from a file: the run is finished, nothing is trained.
  again = cmsn_jax.train(f'{recipe}:smoke', folder / 'run', quiet=True)
  assert again.identity == model.identity
  with pytest.raises(
    ValueError, match='was started with another config: .*seed'
  ):
    other = _config()
    other.train.seed = 7
    cmsn_jax.train(other, folder / 'run', quiet=True)


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path):
  workdir = tmp_path / 'run'
  bad = _config()
  bad.nms.method = 'x'
  (tmp_path / 'empty.py').write_text('')
  for config, kind, message in (
    (bad, ValueError, 'config.nms.method must be one of'),
    ({}, TypeError, f'config must be a ConfigDict .* got dict|{_CHECKED}'),
    (tmp_path / 'gone.py', FileNotFoundError, 'gone.py: no such config'),
    (tmp_path / 'empty.py', ValueError, 'empty.py .* has no get_config'),
  ):
    with pytest.raises(kind, match=message):
      cmsn_jax.train(config, workdir)
  with pytest.raises(ValueError, match='phase=joint'):
    cmsn_jax.train(_config(), workdir, phase='joint')
  assert not workdir.exists()


# Evaluating.

_TRUTH = {
  'database': {
    'v': {
      'subset': 'testing',
      'duration': 20.0,
      'annotations': [{'segment': [2.0, 6.0], 'label': 'a'}],
    }
  }
}


@pytest.fixture
def truth(tmp_path):
  path = tmp_path / 'labels.json'
  path.write_text(json.dumps(_TRUTH))
  return path


def test_evaluate_takes_files_and_what_was_read_from_them(truth, tmp_path):
  # tIoU 1 with the second: found at every threshold from two proposals on.
  segments, scores = np.array([[10.0, 12.0], [2.0, 6.0]]), np.array([0.9, 0.5])
  found = {'v': proposal_files.Proposals(segments, scores, ('a', 'a'))}
  proposal_files.write(tmp_path / 'p.json', found)
  swapped = {'v': (segments[::-1].tolist(), scores[::-1].tolist())}
  for proposals in (tmp_path / 'p.json', found, swapped):
    for annotations in (truth, activitynet.read(truth)):
      metrics = cmsn_jax.evaluate(
        proposals, annotations, protocol='top_k', ans=(1, 2, 100)
      )
      assert metrics.ar_at_an[1] == 0 and metrics.ar_at_an[100] == 1
  assert cmsn_jax.evaluate(found, truth).protocol == 'thumos'
  for proposals in (tmp_path / 'p.json', found):
    metrics = cmsn_jax.evaluate(proposals, truth, protocol='map')
    assert metrics.average_map == pytest.approx(0.5)


def test_evaluate_names_what_is_wrong(truth):
  found = {'v': ([[2.0, 6.0]], [0.5])}
  for arguments, options, kind, message in (
    ((found, truth, 'test'), {}, ValueError, "unknown subset 'test'"),
    ((found, truth), {'protocol': 'x'}, ValueError, "one of .* got 'x'"),
    ((found, {}), {}, TypeError, f'annotations must be a path|{_CHECKED}'),
    (('gone.json', truth), {}, FileNotFoundError, 'gone.json'),
    (({'w': found['v']}, truth), {}, ValueError, 'given against the testing'),
    (
      ({'v': ([[0, 1]], [1, 2])}, truth),
      {},
      (ValueError, TypeError),
      f'1 segments but 2|{_CHECKED}',
    ),
    ((found, truth), {'protocol': 'map'}, ValueError, 'have no labels'),
    ((found, truth), {'proposals_in': 'frames'}, ValueError, 'of files only'),
  ):
    with pytest.raises(kind, match=message):
      cmsn_jax.evaluate(*arguments, **options)


# Anywhere.

_CODE = """
import cmsn_jax
model = cmsn_jax.load({export!r})
segments, scores = model.propose({video!r})
print(segments.shape == (len(scores), 2) and segments.shape[0] > 0)
((name, found),) = model.propose_all({video!r})
print(name, (found.segments == segments).all())
"""


@pytest.mark.parametrize('way', ['standard input', '-c'])
def test_videos_from_standard_input_and_the_command_line(exported, folder, way):
  """Neither has a main script that a decoding process could run again."""
  video = folder / 'clip.mp4'
  if not video.exists():
    made_videos.make(video, num_frames=200)
  code = _CODE.format(export=str(exported), video=str(video))
  words = ['-c', code] if way == '-c' else ['-']
  done = _run(*words, code='' if way == '-c' else code, path=[folder])
  assert done.stdout == 'True\nclip True\n', done.stderr[-2000:]
