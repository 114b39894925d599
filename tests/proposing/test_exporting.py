"""Exported models give the proposals of the run, with jax and numpy only."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from cmsn_jax.chains.paper import predictor
from cmsn_jax.chains.template import networks
from cmsn_jax.data import sources
from cmsn_jax.proposing import corpus, exported, exporting
from cmsn_jax.settings import default
from configs import rat_social

_LENGTHS = {'short': 3, 'window': 64, 'long': 301}
_WIDTH = 5


def _trained(config, params, pool):
  width = _WIDTH * (2 if config.data.pool_deviation and pool > 1 else 1)
  rng = np.random.default_rng(1)
  return corpus.Trained(
    predictor.create(config, params),
    config.lock(),
    {
      'snippet_shape': [width * (1 + config.data.per_video_features)],
      'feature_fps': 8.0 / pool,
      'file_fps': 8.0,
      'file_dim': _WIDTH,
      'pool': pool,
      'sidecar': None,
    },
    sources.Statistics(
      *(rng.uniform(0.5, 2, width).astype(np.float32) for _ in range(2))
    ),
    'tested',
  )


def _stage_runs(stitch, evaluator=True):
  config = rat_social.get_config('smoke')
  config.windows.length = 32
  config.proposals.stitch = stitch
  config.data.per_video_features = True
  config.data.pool_deviation = False
  model = predictor.create(config, {}).model
  keys = jax.random.split(jax.random.key(0))
  params = {'stages': model.init_stages(keys[0], 32, (2 * _WIDTH,))}
  if evaluator:
    params['evaluator'] = model.init_evaluator(keys[1], config.stages.width)
  return _trained(config, params, 1)


def _stage_template():
  config = default.get_config()
  config.proposals.generator = 'stage_template'
  config.nms.method = 'threshold'
  config.data.pool_deviation = True
  config.joint.update(
    width=8, dilations=(1, 2), pooled_width=4, hidden=8, members=3,
    durations=(3.0, 8.0, 20.0), typical_duration=8.0, per_snippet=2.0,
  )  # fmt: skip
  params = networks.init_members(
    networks.build(config), jax.random.key(0), 3, 32, 2 * _WIDTH
  )
  return _trained(config, {'joint': params}, 2)


_MODELS = {
  'runs': lambda: _stage_runs('pool'),
  'stitched': lambda: _stage_runs('average'),
  'no_evaluator': lambda: _stage_runs('pool', evaluator=False),
  'template': _stage_template,
}


@pytest.fixture(scope='module')
def videos():
  rng = np.random.default_rng(0)
  return {
    name: rng.normal(0, 2, (length, _WIDTH)).astype(np.float32)
    for name, length in _LENGTHS.items()
  }


@pytest.fixture(scope='module')
def folder(tmp_path_factory, videos):
  """All models exported, and what the loader proposes in a process of its own.

  In that process nothing can be imported of what the loader must not need.
  """
  folder = tmp_path_factory.mktemp('exported')
  for name, make in _MODELS.items():
    exporting.write(make(), folder / name)
  np.savez(folder / 'videos.npz', **videos)
  code = f"""
import sys
for name in ('cmsn_jax', 'jaxtyping', 'flax', 'optax', 'orbax', 'absl', 'tqdm',
             'ml_collections', 'tensorflow'):
  sys.modules[name] = None  # As if it were not installed.
sys.path.insert(0, 'runs')
import numpy as np
import cmsn_loader
videos, found = np.load('videos.npz'), {{}}
for model in {list(_MODELS)!r}:
  loaded = cmsn_loader.load(model)
  for name in videos:
    prediction = loaded.predict(videos[name])
    segments, scores = loaded.propose(videos[name])
    np.testing.assert_array_equal(segments, prediction.proposals.segments)
    found |= {{
      f'{{model}}/{{name}}/segments': segments,
      f'{{model}}/{{name}}/scores': scores,
      f'{{model}}/{{name}}/stages': prediction.probabilities,
    }}
np.savez('found.npz', **found)
"""
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=folder, capture_output=True, text=True,
    timeout=600,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  return folder


@pytest.mark.parametrize('name', list(_MODELS))
def test_the_loader_proposes_what_the_run_proposes(name, folder, videos):
  trained = _MODELS[name]()
  total = 0
  with np.load(folder / 'found.npz') as found:
    for video, features in videos.items():
      source = corpus.feature_source(trained, _Store(video, features))
      ((_, expected),) = trained.predictor.propose(source, [video])
      np.testing.assert_allclose(
        found[f'{name}/{video}/scores'], expected.proposals.scores, atol=1e-5
      )
      np.testing.assert_allclose(
        found[f'{name}/{video}/stages'], expected.probabilities, atol=1e-5
      )
      _assert_same_segments(found, f'{name}/{video}', expected.proposals)
      total += len(expected.proposals.scores)
  assert total > 20


def _assert_same_segments(found, key, expected):
  """The same rows, whatever the order of near ties."""
  found = np.c_[found[f'{key}/segments'], found[f'{key}/scores']]
  expected = np.c_[expected.segments, expected.scores]
  assert len(found) == len(expected)
  apart = np.abs(found[:, None] - expected[None]).max(axis=2)
  assert (apart.min(axis=0, initial=np.inf) < 1e-4).all()
  assert (apart.min(axis=1, initial=np.inf) < 1e-4).all()


class _Store:
  sidecar = None
  dim = _WIDTH

  def __init__(self, video, features):
    self.ids = (video,)
    self._features = features

  def num_snippets(self, video_id):
    assert video_id in self.ids
    return len(self._features)

  def read(self, video_id, start=0, stop=None):
    assert video_id in self.ids
    return self._features[start:stop]


@pytest.mark.parametrize('name', list(_MODELS))
def test_programs_have_symbolic_batch_and_time_on_three_platforms(name, folder):
  programs = exported.load(folder / name).programs
  assert set(programs) == {'stages'} | (
    {'evaluator'} if name != 'no_evaluator' else set()
  )
  for program in programs.values():
    assert program.platforms == ('cpu', 'cuda', 'tpu')
    assert not all(isinstance(n, int) for n in program.in_avals[0].shape)
  stages = programs['stages']
  width = stages.in_avals[0].shape[2]
  rng = np.random.default_rng(2)
  whole = rng.normal(size=(3, 40, width)).astype(np.float32)
  mask = np.ones((3, 40), bool)
  batched = jax.tree.leaves(stages.call(whole, mask))[0]
  alone = jax.tree.leaves(stages.call(whole[1:2], mask[1:2]))[0]
  # Members come before the batch.
  batched = batched[:, 1] if name == 'template' else batched[1]
  alone = alone[:, 0] if name == 'template' else alone[0]
  np.testing.assert_allclose(batched, alone, atol=1e-5)


def test_stages_in_one_call(folder, videos):
  probabilities, hidden = exported.load(folder / 'runs').stages(
    videos['window'][:20]
  )
  assert probabilities.shape == (20, 6) and len(hidden) == 20
  np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
  probabilities, hidden = exported.load(folder / 'template').stages(
    videos['window']
  )
  assert probabilities.shape == (32, 6) and hidden.shape[:2] == (3, 32)


def test_an_export_from_before_a_key_came_is_read(folder, tmp_path, videos):
  for name in _MODELS:
    old = shutil.copytree(folder / name, tmp_path / name)
    about = json.loads((old / 'model.json').read_text())
    del about['config']['joint']['clear_weight']
    del about['config']['joint']['clear_reach']
    del about['config']['joint']['border_error']
    del about['config']['joint']['calibration']
    del about['config']['proposals']['decoder']
    (old / 'model.json').write_text(json.dumps(about))
    segments, _ = exported.load(old).propose(next(iter(videos.values())))
    assert segments.shape[1] == 2


def test_faults_are_named(folder, tmp_path, videos):
  model = exported.load(folder / 'no_evaluator')
  with pytest.raises(ValueError, match=r'shape \[t, 5\], got \(64, 3\)'):
    model.propose(videos['window'][:, :3])
  broken = videos['window'].copy()
  broken[7, 2] = np.nan
  with pytest.raises(ValueError, match='row 7'):
    model.propose(broken)
  with pytest.raises(FileNotFoundError, match='no exported model'):
    exported.load(tmp_path)


def test_a_new_export_leaves_nothing_of_the_old_one(tmp_path):
  exporting.write(_stage_runs('pool'), tmp_path)
  exporting.write(_stage_runs('pool', evaluator=False), tmp_path)
  assert not (tmp_path / 'evaluator.jaxexport').exists()
  assert not list(tmp_path.rglob('*.tmp*'))
  assert set(exported.load(tmp_path).programs) == {'stages'}


def test_a_model_on_video_is_refused():
  trained = _stage_runs('pool')
  trained.data['snippet_shape'] = [8, 32, 32, 3]
  with pytest.raises(ValueError, match='trained on video'):
    exporting.programs(trained)
