"""One phase from its first step to its last save, on the toy chain."""

import dataclasses
import json
import os
import pathlib
import signal

import jax
import numpy as np
import pytest

from cmsn_jax.chains import protocol, registry
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.runs import checkpoints, config_record, folder
from cmsn_jax.training import loop, phase_run, setup, stopping
from tests.chains.toy import recipe


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
  return setup.open_run(_config(), tmp_path_factory.mktemp('data'))


def _config(**train):
  config = recipe.get_config()
  # Eight devices in tests: a window each.
  config.train.batch_per_device = 1
  config.toy.epochs = 8
  config.train.update(train)
  return config


def _train(opened, workdir, *, batches=None, **train):
  config, data = opened
  config = config.copy_and_resolve_references()
  config.train.update(train)
  options = {} if batches is None else {'batches': batches}
  return loop.train_and_evaluate(
    config.lock(), workdir, data, quiet=True, **options
  )


def _newest(workdir, kind='resume'):
  manager = checkpoints.Checkpoints(workdir / 'only' / kind, read_only=True)
  found = manager.restore_newest()
  manager.close()
  return found


def _steps(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line)['step'] for line in lines]


def test_a_batch_is_over_all_devices_and_accumulated_parts():
  config = _config(batch_per_device=3, accumulate=2)
  assert phase_run.batch_size(config) == 6 * jax.device_count()


def test_it_learns_and_says_so(opened, tmp_path):
  result = _train(opened, tmp_path, log_every_steps=1)
  lines = [
    json.loads(line)
    for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()
  ]
  losses = [line['only/loss'] for line in lines if 'only/loss' in line]
  assert losses[-1] < 0.9 * losses[0]
  assert all('only/learning_rate' in x for x in lines if 'only/loss' in x)
  assert (
    result.metrics['ar_50']
    == pytest.approx(
      [x['only/held_out/ar_50'] for x in lines if 'only/held_out/ar_50' in x][
        -1
      ]
    )
    or result.metrics['best_metric'] > 0
  )
  assert list((tmp_path / 'tensorboard').iterdir())


def test_every_so_many_steps_are_saved_if_asked(opened, tmp_path):
  seen = []

  def batches(loader, start, stop):
    for step in range(start, stop):
      resume = tmp_path / 'only' / 'resume'
      seen.append({p.name for p in resume.glob('[0-9]*')})
      yield loader.batch(step)

  config, _ = opened
  _train(opened, tmp_path, batches=batches, checkpoint_every_steps=1)
  end = _newest(tmp_path).step
  assert end == len(seen) > 3
  # Saved in the background, so one behind at most.
  assert any(str(k) in names for k, names in enumerate(seen) for _ in [0] if k)


def test_a_stop_saves_and_the_same_call_goes_on(opened, tmp_path):
  def stopping(loader, start, stop):
    for step in range(start, stop):
      if step == start + 1:
        os.kill(os.getpid(), signal.SIGTERM)
      yield loader.batch(step)

  with pytest.raises(phase_run.Interrupted, match="step 2 of phase 'only'"):
    _train(opened, tmp_path, batches=stopping)
  assert _newest(tmp_path).step == 2
  _train(opened, tmp_path)
  whole = tmp_path / 'whole'
  _train(opened, whole)
  for x, y in zip(
    jax.tree.leaves(_newest(tmp_path).tree),
    jax.tree.leaves(_newest(whole).tree),
  ):
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_never_kept(opened, tmp_path, bad):
  def spoilt(loader, start, stop):
    for step in range(start, stop):
      batch = loader.batch(step)
      if step == 2:
        batch['inputs'] = np.full_like(batch['inputs'], bad)
      yield batch

  with pytest.raises(phase_run.NanLossError) as error:
    _train(opened, tmp_path, batches=spoilt, checkpoint_every_steps=1)
  text = str(error.value)
  assert 'not finite at step 3' in text and 'last good checkpoint' in text
  assert _newest(tmp_path).step == 2
  tree = _newest(tmp_path).tree
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(tree))


def test_a_damaged_newest_checkpoint_costs_one_interval(opened, tmp_path):
  def killed(loader, start, stop):
    for step in range(start, stop):
      if step == 4:
        raise KeyboardInterrupt
      yield loader.batch(step)

  with pytest.raises(KeyboardInterrupt):
    _train(opened, tmp_path, batches=killed, checkpoint_every_steps=1)
  newest = max(
    (tmp_path / 'only' / 'resume').glob('[0-9]*'), key=lambda p: int(p.name)
  )
  for file in pathlib.Path(newest).rglob('*'):
    if file.is_file() and file.stat().st_size > 20:
      content = bytearray(file.read_bytes())
      content[len(content) // 2] ^= 0xFF
      file.write_bytes(bytes(content))
  with pytest.warns(checkpoints.DamagedCheckpointWarning):
    result = _train(opened, tmp_path, checkpoint_every_steps=1)
  assert result.metrics == _train(opened, tmp_path / 'whole').metrics


def test_other_windows_a_step_are_refused(opened, tmp_path):
  def killed(loader, start, stop):
    yield loader.batch(start)
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    _train(opened, tmp_path, batches=killed, checkpoint_every_steps=1)
  with (
    pytest.warns(config_record.ConfigChangedWarning),
    pytest.raises(config_record.RunFolderError, match='windows a step'),
  ):
    _train(opened, tmp_path, batch_per_device=2)


def test_accumulated_parts_on_fewer_devices_are_the_same_run(opened, tmp_path):
  _train(opened, tmp_path / 'one', batch_per_device=2)
  _train(opened, tmp_path / 'two', batch_per_device=1, accumulate=2)
  for x, y in zip(
    jax.tree.leaves(_newest(tmp_path / 'one').tree),
    jax.tree.leaves(_newest(tmp_path / 'two').tree),
  ):
    np.testing.assert_allclose(x, y, atol=1e-5)


def test_what_is_kept_proposes_with_the_averaged_parameters(opened, tmp_path):
  _train(opened, tmp_path, ema=0.9)
  state = _newest(tmp_path).tree
  kept = folder.read_best(tmp_path)
  assert kept.meta['phase'] == 'only' and kept.meta['config']['toy']
  if kept.step == _newest(tmp_path).step:
    np.testing.assert_array_equal(
      kept.tree['params']['toy']['weight'], state['ema']['weight']
    )
    assert np.any(state['ema']['weight'] != state['params']['weight'])


def test_frozen_parameters_stay(opened, tmp_path):
  # What the toy chain reads of `train.frozen` is its own business: the loop
  # freezes what the phase says.
  config, data = opened
  chain = registry.load(config.chain)
  run = phase_run.PhaseRun(
    config, tmp_path, data, registry.predictor(config, {}),
    lambda loader, a, b: (loader.batch(k) for k in range(a, b)),
    stopping.StopSignal(), True,
  )  # fmt: skip
  job = protocol.Job(
    config, data, run.predictor, phase_run.batch_size(config), tmp_path,
    lambda name: {}, True,
  )  # fmt: skip
  phase = dataclasses.replace(chain.phase('only', job), frozen=('bias',))
  run.train(phase)
  tree = _newest(tmp_path).tree
  assert float(tree['params']['bias']) == 0.0
  assert np.any(tree['params']['weight'])


def test_batches_come_from_where_they_are_told_to(opened, tmp_path):
  asked = []

  def batches(loader, start, stop):
    assert isinstance(loader, windows_lib.WindowLoader)
    asked.append((start, stop))
    return (loader.batch(step) for step in range(start, stop))

  _train(opened, tmp_path, batches=batches)
  ((start, stop),) = asked
  assert start == 0 and stop == _newest(tmp_path).step
