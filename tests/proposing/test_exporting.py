"""Exported models give the proposals of the run, with jax and numpy only."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from cmsn_jax.chains import registry
from cmsn_jax.chains.template import networks
from cmsn_jax.data import sources
from cmsn_jax.proposing import exported, exporting, inputs, jax_programs
from cmsn_jax.runs import config_history
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.settings import default
from configs import rat_social

_LENGTHS = {'short': 3, 'window': 64, 'long': 301}
_WIDTH = 5
_OLD = pathlib.Path(__file__).parents[1] / 'runs' / 'configs_0_1.json'


def _trained(config, params, pool, dim=_WIDTH, fps=8.0, sidecar=None):
  width = dim * (2 if config.data.pool_deviation and pool > 1 else 1)
  rng = np.random.default_rng(1)
  return trained_lib.Trained(
    registry.predictor(config, params),
    config.lock(),
    {
      'snippet_shape': [width],
      'feature_fps': fps / pool,
      'file_fps': fps,
      'file_dim': dim,
      'pool': pool,
      'sidecar': sidecar,
    },
    sources.Statistics(
      *(rng.uniform(0.5, 2, width).astype(np.float32) for _ in range(2))
    ),
    'tested',
  )


def _paper(stitch, evaluator=True, dim=_WIDTH, **about):
  config = rat_social.get_config('smoke')
  config.windows.length = 32
  config.proposals.stitch = stitch
  config.data.pool_deviation = False
  model = registry.predictor(config, {}).networks
  keys = jax.random.split(jax.random.key(0))
  params = {'stages': model.init_stages(keys[0], 32, (dim,))}
  if evaluator:
    params['evaluator'] = model.init_evaluator(keys[1], config.stages.width)
  return _trained(config, params, 1, dim, **about)


def _template(dim=_WIDTH, **about):
  config = default.get_config()
  config.chain = 'template'
  config.nms.method = 'threshold'
  config.data.pool_deviation = True
  config.template.update(
    width=8, dilations=(1, 2), pooled_width=4, hidden=8, members=3,
    durations=(3.0, 8.0, 20.0), typical_duration=8.0, per_snippet=2.0,
    different_per_snippet=1.0, mend_per_snippet=0.4,
    num_actions=3, label_names=('dig', 'run', 'sit'),
  )  # fmt: skip
  params = networks.init_members(
    networks.build(config).model, jax.random.key(0), 3, 32, 2 * dim
  )
  return _trained(config, {'joint': params}, 2, dim, **about)


def _load(path):
  name = 'paper'
  if (path / 'model.json').is_file():
    about = json.loads((path / 'model.json').read_text())
    name = config_history.current(about['config'])['chain']
  return exported.load(path, registry.load(name).predictor, jax_programs)


_MODELS = {
  'runs': lambda: _paper('pool'),
  'stitched': lambda: _paper('average'),
  'no_evaluator': lambda: _paper('pool', evaluator=False),
  'template': _template,
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
import importlib
import numpy as np
videos, found = np.load('videos.npz'), {{}}
for model in {list(_MODELS)!r}:
  for name in [n for n in sys.modules if n.startswith('cmsn_loader')]:
    del sys.modules[name]
  sys.path.insert(0, model)
  importlib.invalidate_caches()
  import cmsn_loader
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
    if model == 'template':
      found[f'{{name}}/labels'] = prediction.labels.probabilities
      assert set(prediction.proposals.labels) <= {{'dig', 'run', 'sit'}}
      assert loaded.propose(videos[name]).labels == prediction.proposals.labels
      every = loaded.propose(videos[name], labels='all')
      assert every.labels == prediction.rows('all').labels
      assert loaded.propose(videos[name], labels='none').labels is None
np.savez('found.npz', **found)
try:
  cmsn_loader.load('runs')
except ValueError as error:
  assert "chain 'paper', this loader of 'template'" in str(error), error
else:
  raise AssertionError('an export of another chain was taken')
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
      source = inputs.feature_source(trained, _Store(video, features))
      ((_, expected),) = trained.predictor.propose(source, [video])
      np.testing.assert_allclose(
        found[f'{name}/{video}/scores'], expected.proposals.scores, atol=1e-5
      )
      np.testing.assert_allclose(
        found[f'{name}/{video}/stages'], expected.probabilities, atol=1e-5
      )
      _assert_same_segments(found, f'{name}/{video}', expected.proposals)
      total += len(expected.proposals.scores)
      if name == 'template':
        np.testing.assert_allclose(
          np.sort(found[f'{video}/labels'], axis=0),
          np.sort(expected.labels.probabilities, axis=0),
          atol=1e-3,
        )
  assert total > 5


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
  programs = _load(folder / name).programs
  assert set(programs) == {
    'stages',
    *(('evaluator',) if name != 'no_evaluator' else ()),
    *(('labels',) if name == 'template' else ()),
  }
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
  probabilities, hidden = _load(folder / 'runs').encode(videos['window'][:20])
  assert probabilities.shape == (1, 20, 6) and hidden.shape[:2] == (1, 20)
  np.testing.assert_allclose(probabilities.sum(axis=2), 1, atol=1e-5)
  pooled = _load(folder / 'template').encode(videos['window'])
  assert pooled.shape[:3] == (3, 1, 32)


def test_an_export_of_version_0_1_is_read(folder, tmp_path, videos):
  """Its config has the old keys, and facts stand beside the rest."""
  saved = json.loads(_OLD.read_text())
  for name in ('runs', 'template'):
    old = shutil.copytree(folder / name, tmp_path / name)
    about = json.loads((old / 'model.json').read_text())
    config = saved['template' if name == 'template' else 'paper']
    config['joint'].update(durations=[3.0, 8.0, 20.0], typical_duration=8.0)
    config['windows']['length'] = 32
    config['data']['pool_deviation'] = name == 'template'
    about['config'] = config
    # It had no labels.
    about |= {k: v for k, v in about.pop('facts').items() if k != 'labels'}
    (old / 'labels.jaxexport').unlink(missing_ok=True)
    (old / 'model.json').write_text(json.dumps(about))
    found = _load(old).propose(next(iter(videos.values())))
    assert found.segments.shape[1] == 2 and found.labels is None


def test_faults_are_named(folder, tmp_path, videos):
  model = _load(folder / 'no_evaluator')
  with pytest.raises(ValueError, match=r'shape \[t, 5\], got \(64, 3\)'):
    model.propose(videos['window'][:, :3])
  broken = videos['window'].copy()
  broken[7, 2] = np.nan
  with pytest.raises(ValueError, match='row 7'):
    model.propose(broken)
  with pytest.raises(FileNotFoundError, match='no exported model'):
    _load(tmp_path)


def test_a_new_export_leaves_nothing_of_the_old_one(tmp_path):
  exporting.write(_paper('pool'), tmp_path)
  exporting.write(_paper('pool', evaluator=False), tmp_path)
  assert not (tmp_path / 'evaluator.jaxexport').exists()
  assert not list(tmp_path.rglob('*.tmp*'))
  assert set(_load(tmp_path).programs) == {'stages'}


def test_a_model_on_video_is_refused():
  trained = _paper('pool')
  trained.data['snippet_shape'] = [8, 32, 32, 3]
  with pytest.raises(ValueError, match='trained on video'):
    exporting.programs(trained)
