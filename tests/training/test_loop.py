"""Whole small runs: both phases, exact resume, and what stops a run."""

import json
import os
import signal

import jax
import numpy as np
import pytest

from cmsn_jax.chains import prediction
from cmsn_jax.chains.paper import evaluator_phase, hidden_cache
from cmsn_jax.data import opening
from cmsn_jax.files import proposal_files
from cmsn_jax.runs import checkpoints, config_record
from cmsn_jax.training import held_out, loop, phase_run
from configs import rat_social


def _config(**train):
  config = rat_social.get_config('smoke')
  config.data.annotations = 'generated:5x40'
  config.windows.length = 32
  config.train.batch_per_device = 1
  config.train.update(train)
  return config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return opening.open_data(_config(), tmp_path_factory.mktemp('data'))


def _newest(workdir, phase, kind='resume'):
  manager = checkpoints.Checkpoints(workdir / phase / kind, read_only=True)
  found = manager.restore_newest()
  manager.close()
  return found


def _assert_same(a, b):
  flat_a, tree_a = jax.tree.flatten(a)
  flat_b, tree_b = jax.tree.flatten(b)
  assert tree_a == tree_b
  for x, y in zip(flat_a, flat_b, strict=True):
    np.testing.assert_array_equal(x, y)


class _Killed(BaseException):
  """Stands for a kill: nothing may catch it."""


def _killing(step):
  def batches(loader, start, stop):
    for k in range(start, stop):
      if k == step:
        raise _Killed
      yield loader.batch(k)

  return batches


@pytest.mark.slow
def test_both_phases_train_and_a_killed_run_ends_bit_equal(
  tmp_path, data, monkeypatch
):
  config = _config(checkpoint_every_steps=2, ema=0.9)
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  result = loop.train_and_evaluate(config, whole, data, quiet=True)
  assert set(result.metrics) >= {'ar_50', 'best_metric', 'stage_accuracy'}
  for phase, step in (('stages', 3), ('evaluator', 1)):
    with pytest.raises(_Killed):
      loop.train_and_evaluate(
        config, killed, data, phase=phase, batches=_killing(step), quiet=True
      )
    loop.train_and_evaluate(config, killed, data, phase=phase, quiet=True)
  for phase in ('stages', 'evaluator'):
    for kind in ('resume', 'best'):
      a, b = _newest(whole, phase, kind), _newest(killed, phase, kind)
      assert a.step == b.step
      _assert_same(a.tree, b.tree)
  # A finished run is left as it is: not even candidates are mined.
  monkeypatch.setattr(hidden_cache, 'build', None)
  again = loop.train_and_evaluate(config, whole, data, quiet=True)
  assert again.metrics == result.metrics
  lines = (whole / 'metrics.jsonl').read_text().splitlines()
  assert any('evaluator/held_out/ar_50' in json.loads(line) for line in lines)


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(tmp_path, data):
  def batches(loader, start, stop):
    for k in range(start, stop):
      if k == 1:
        os.kill(os.getpid(), signal.SIGTERM)
      yield loader.batch(k)

  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(phase_run.Interrupted, match="step 2 of phase 'stages'"):
    loop.train_and_evaluate(
      _config(), tmp_path, data, phase='stages', batches=batches, quiet=True
    )
  assert _newest(tmp_path, 'stages').step == 2
  assert signal.getsignal(signal.SIGTERM) == before


def test_nan_loss_names_step_windows_and_the_last_good_checkpoint(
  tmp_path, data
):
  def batches(loader, start, stop):
    for k in range(start, stop):
      batch = loader.batch(k)
      if k == 1:
        batch['inputs'] = np.full_like(batch['inputs'], np.nan)
      yield batch

  config = _config(checkpoint_every_steps=1)
  with pytest.raises(phase_run.NanLossError) as error:
    loop.train_and_evaluate(
      config, tmp_path, data, phase='stages', batches=batches, quiet=True
    )
  message = str(error.value)
  assert 'not finite at step 2' in message
  assert 'video_0' in message
  assert 'last good checkpoint: step 1' in message
  assert _newest(tmp_path, 'stages').step == 1


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_windows_a_step_only(tmp_path, data):
  train = lambda **kwargs: loop.train_and_evaluate(
    _config(**kwargs), tmp_path, data, phase='stages', quiet=True
  )
  train(batch_per_device=2, stages_epochs=1)
  more = dict(stages_epochs=2)
  with (
    pytest.warns(config_record.ConfigChangedWarning),
    pytest.raises(config_record.RunFolderError, match='16 windows .* be 8'),
  ):
    train(batch_per_device=1, **more)
  with pytest.warns(
    config_record.ConfigChangedWarning, match='accumulate: 1 -> 2'
  ):
    train(batch_per_device=1, accumulate=2, **more)


def test_a_phase_that_lowers_what_was_reached_is_said_so(
  tmp_path, data, monkeypatch, caplog
):
  reached = iter([0.8, 0.3])

  def told(data, predictor, **unused):
    metric = next(reached)
    return held_out.Evaluation(
      {'ar_50': metric, 'best_metric': metric}, np.zeros(0),
      (next(iter(data.held_out.values())), _nothing()),
    )  # fmt: skip

  monkeypatch.setattr(held_out, 'evaluate', told)
  monkeypatch.setattr(evaluator_phase, '_report_candidates', lambda cache: None)
  loop.train_and_evaluate(
    _config(stages_epochs=1, evaluator_epochs=1), tmp_path, data, quiet=True
  )
  assert "the phase 'evaluator' lowers the mean AR from 0.8000" in caplog.text
  assert '--phase=stages leaves it out' in caplog.text


def _nothing():
  return prediction.Prediction(
    proposal_files.Proposals(np.zeros((0, 2)), np.zeros(0)), None
  )


@pytest.mark.parametrize('phase', ['stage', 'joint', ''])
def test_another_phase_is_refused_before_anything_is_written(
  tmp_path, data, phase
):
  with pytest.raises(ValueError, match='has the phases stages, evaluator'):
    loop.train_and_evaluate(
      _config(), tmp_path / 'run', data, phase=phase, quiet=True
    )
  assert not (tmp_path / 'run').exists()


def test_the_evaluator_needs_finished_stages(tmp_path, data):
  with pytest.raises(config_record.RunFolderError, match='no trained model'):
    loop.train_and_evaluate(
      _config(), tmp_path, data, phase='evaluator', quiet=True
    )
