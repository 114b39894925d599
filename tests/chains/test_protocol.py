"""Every chain that is there, and a toy one, through the same commands."""

import ast
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from cmsn_jax.chains import protocol, registry
from cmsn_jax.files import proposal_files
from cmsn_jax.runs import checkpoints
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.settings import recipes, smoke
from cmsn_jax.training import config_checks, loop, phase_run, setup

from .toy import recipe as toy

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FOLDERS = sorted(
  path.parent.name for path in (_ROOT / 'cmsn_jax/chains').glob('*/chain.py')
)
_TOY = 'tests.chains.toy.chain'


def _config(name):
  """A run of seconds in the chain."""
  if name == _TOY:
    return toy.get_config()
  config = smoke.apply(recipes.of_chain(name), 'smoke')
  config.data.annotations = 'generated:4x40'
  config.windows.length = 32
  config.update_from_flattened_dict(
    {
      'paper': {'train.stages_epochs': 4, 'train.evaluator_epochs': 4},
      'tag': {'train.stages_epochs': 4},
      # One network compiles sooner; other tests have several.
      'template': {'template.members': 1},
    }.get(name, {})
  )
  return config


@pytest.fixture(scope='module', params=[*_FOLDERS, _TOY])
def run(request, tmp_path_factory):
  """(config, data, workdir) of a trained run."""
  workdir = tmp_path_factory.mktemp('run')
  config, data = setup.open_run(_config(request.param), workdir)
  loop.train_and_evaluate(config, workdir, data, quiet=True)
  return config, data, workdir


@pytest.mark.parametrize('name', [*_FOLDERS, _TOY])
def test_a_chain_has_all_names_and_reads_keys_that_are_there(name):
  chain = registry.load(name)
  assert isinstance(chain, protocol.Chain)
  config = _config(name)
  for key in (*protocol.SHARED, *chain.READS, *chain.AT_INFERENCE):
    value = config
    for part in key.split('.'):
      assert part in value, key
      value = value[part]
  assert all(
    protocol.covers((*protocol.SHARED, *chain.READS), key)
    for key in chain.AT_INFERENCE
  )
  config_checks.check(config)


@pytest.mark.parametrize('name', [*_FOLDERS, _TOY])
def test_the_keys_of_another_chain_are_refused(name):
  config = _config(name)
  other = {'template': ('proposals.decay_rate', 0.5)}
  key, value = other.get(name, ('template.steps', 7))
  config.update_from_flattened_dict({key: value})
  with pytest.raises(ValueError, match=f'config.{key} has no effect'):
    config_checks.check(config)


def _newest(workdir, phase, kind):
  manager = checkpoints.Checkpoints(workdir / phase / kind, read_only=True)
  found = manager.restore_newest()
  manager.close()
  return found


@pytest.mark.filterwarnings(
  'ignore::cmsn_jax.runs.config_record.ConfigChangedWarning'
)
def test_a_stopped_run_ends_bit_equal(run, tmp_path):
  config, data, whole = run

  class Stop(BaseException):
    """Stands for a kill: nothing may catch it."""

  def batches(loader, start, stop):
    for step in range(start, stop):
      if step == 2 and start < 2:
        raise Stop
      yield loader.batch(step)

  often = config.copy_and_resolve_references()
  often.train.checkpoint_every_steps = 1
  names = registry.load(config.chain).phases(config)
  for name in names:
    with pytest.raises(Stop):
      loop.train_and_evaluate(
        often, tmp_path, data, phase=name, batches=batches, quiet=True
      )
    # To save the rest at every step would take time, and change nothing.
    loop.train_and_evaluate(config, tmp_path, data, phase=name, quiet=True)
    a, b = (_newest(folder, name, 'resume') for folder in (whole, tmp_path))
    assert a.step == b.step > 2
    for x, y in zip(jax.tree.leaves(a.tree), jax.tree.leaves(b.tree)):
      np.testing.assert_array_equal(x, y)


def test_a_finished_phase_does_no_work(run, monkeypatch):
  config, data, workdir = run

  def unasked(self, phase, read_window):
    raise AssertionError(f'{phase.name} was prepared')

  monkeypatch.setattr(phase_run.PhaseRun, '_loader', unasked)
  result = loop.train_and_evaluate(config, workdir, data, quiet=True)
  assert 'ar_50' in result.metrics


def _call(*words):
  done = subprocess.run(
    [sys.executable, '-m', *words], cwd=_ROOT, capture_output=True, text=True,
    timeout=300,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  return done.stdout


def test_proposes_exports_and_is_inspected(run, tmp_path):
  config, data, workdir = run
  features = workdir / 'generated' / 'features'
  output = tmp_path / 'p.json'
  _call(
    'launch.propose', f'--workdir={workdir}', f'--input={features}',
    f'--output={output}', f'--feature_fps={data.file_fps}',
  )  # fmt: skip
  found = proposal_files.read(output)
  _call('launch.export', f'--workdir={workdir}', f'--output={tmp_path}/export')
  code = f"""
import sys
for name in ('cmsn_jax', 'jaxtyping', 'flax', 'ml_collections'):
  sys.modules[name] = None  # As if it were not installed.
sys.path.insert(0, {str(tmp_path / 'export')!r})
import cmsn_loader, json
import numpy as np
model = cmsn_loader.load({str(tmp_path / 'export')!r})
for name in {sorted(found)!r}:
  segments, scores = model.propose(np.load(f'{features}/{{name}}.npy'))
  print(json.dumps([name, np.asarray(segments).tolist(), scores.tolist()]))
"""
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, timeout=300,
    cwd=tmp_path,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  for line in done.stdout.splitlines():
    name, segments, scores = json.loads(line)
    np.testing.assert_allclose(scores, found[name].scores, atol=1e-5)
    assert len(segments) == len(found[name].segments)
  trained = trained_lib.load(workdir)
  networks = trained.predictor.networks
  shapes = networks.shapes(tuple(trained.data['snippet_shape']))
  # A student stands for all networks of a stack: the first axis counts them.
  own = lambda x: x.shape[config.chain == 'template' :]
  kept = jax.tree.map(own, trained.predictor.params)
  assert jax.tree.map(own, shapes) == kept


# What was called so before: read for old runs' sake, or named to users.
_HISTORY = ('runs/config_history',)


def test_nobody_outside_compares_the_name_of_a_chain_or_phase():
  names = {*_FOLDERS, 'joint', 'evaluator', 'stage_runs', 'stage_template'}
  rooms = [p for p in (_ROOT / 'cmsn_jax').rglob('*.py')]
  rooms += [p for p in (_ROOT / 'launch').glob('*.py')]
  for path in rooms:
    module = str(path.relative_to(_ROOT)).removeprefix('cmsn_jax/')
    if module.startswith(('chains/', 'settings/', *_HISTORY)):
      continue
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Compare):
        compared = {
          value.value
          for value in ast.walk(node)
          if isinstance(value, ast.Constant) and isinstance(value.value, str)
        }
        assert not compared & names, (module, node.lineno, compared & names)
