"""Costs add up over interruptions; rows are what was measured."""

import json

import numpy as np
import pytest

from cmsn_jax import process_memory
from cmsn_jax.settings import recipes, smoke
from cmsn_jax.training import compared, loop, phase_run


@pytest.fixture
def config():
  config = smoke.apply(recipes.of_chain('tag'), 'smoke')
  config.data.annotations = 'generated:4x40'
  config.windows.length = 32
  config.train.stages_epochs = 1
  config.evaluation.ans = (10, 50, 100)
  return config


def test_a_run_that_was_stopped_adds_up(config, tmp_path, monkeypatch):
  def stopped(*args, **kwargs):
    raise phase_run.Interrupted('stopped')

  with monkeypatch.context() as patched:
    patched.setattr(loop, 'train_and_evaluate', stopped)
    with pytest.raises(phase_run.Interrupted):
      compared.train(config, tmp_path, True)
  costs = tmp_path / 'compare_costs.json'
  first = json.loads(costs.read_text())
  assert not first['finished'] and first['train_cpu_sec'] > 0
  compared.train(config, tmp_path, True)
  second = json.loads(costs.read_text())
  assert second['finished']
  assert second['train_cpu_sec'] > first['train_cpu_sec']
  # What finds the run finished costs the run nothing.
  compared.train(config, tmp_path, True)
  assert json.loads(costs.read_text()) == second

  row = compared.measure(
    config, tmp_path, subset='', protocol='top_k', ans=(5, 10)
  )
  assert row.chain == 'tag' and set(row.ar_at_an) == {5, 10}
  assert row.train_cpu_sec == second['train_cpu_sec']
  assert row.propose_cpu_sec_per_hour > 0 and row.num_proposals > 0
  assert row.average_map is None  # The chain names nothing.
  kept = json.loads((tmp_path / 'compare.json').read_text())
  assert kept['parameters'] == row.parameters > 1000
  with pytest.raises(ValueError, match='give --subset'):
    compared.measure(
      _without_held_out(config), tmp_path, subset='', protocol='top_k', ans=(5,)
    )


def _without_held_out(config):
  config = config.copy_and_resolve_references()
  config.data.eval_subset = ''
  return config


def test_the_peak_is_of_this_process():
  before = process_memory.peak_bytes()
  assert before > 10e6
  held = np.ones(30_000_000)  # 240 MB
  assert process_memory.peak_bytes() >= held.nbytes
  assert process_memory.peak_bytes() >= before
