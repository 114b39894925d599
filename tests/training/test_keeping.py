"""Parameters are on disk before anything is measured, and stay there."""

import dataclasses
import json

import numpy as np
import pytest

from cmsn_jax.runs import checkpoints, folder
from cmsn_jax.training import held_out, keeping, loop, setup
from tests.chains.toy import recipe as toy


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
  return setup.open_run(toy.get_config(), tmp_path_factory.mktemp('data'))


def _newest(workdir, kind):
  manager = checkpoints.Checkpoints(workdir / 'only' / kind, read_only=True)
  found = manager.restore_newest()
  manager.close()
  return found


def _without_instances(data):
  none = {
    name: dataclasses.replace(video, segments=np.zeros((0, 2)), labels=())
    for name, video in data.held_out.items()
  }
  return dataclasses.replace(data, held_out=none)


def test_held_out_videos_without_an_instance_cost_nothing(
  opened, tmp_path, caplog
):
  config, data = opened
  result = loop.train_and_evaluate(
    config, tmp_path, _without_instances(data), quiet=True
  )
  assert not any(name.startswith('ar_') for name in result.metrics)
  assert 'no AR can be measured' in caplog.text
  kept = folder.read_best(tmp_path)
  assert kept.step == _newest(tmp_path, 'resume').step
  # Nothing is left to do.
  again = loop.train_and_evaluate(
    config, tmp_path, _without_instances(data), quiet=True
  )
  assert again.metrics == result.metrics


@pytest.mark.parametrize('epochs', [1, 2])
def test_a_failing_measurement_costs_nothing_and_is_made_up_for(
  opened, tmp_path, monkeypatch, epochs
):
  # With one epoch it is the last step that was kept, and is kept again.
  config, data = opened
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.toy.epochs = epochs
  with monkeypatch.context() as patch:
    patch.setattr(held_out.metrics, 'evaluate', lambda *a, **k: 1 / 0)
    with pytest.raises(keeping.MeasuringError, match='ZeroDivisionError'):
      loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  first = _newest(tmp_path, 'resume')
  assert folder.read_best(tmp_path).step == first.step
  result = loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  assert result.metrics['ar_50'] >= 0
  assert folder.read_best(tmp_path).meta['metrics'] == result.metrics


@pytest.mark.parametrize('evaluation', [1, 2, 4])
def test_killed_between_a_save_and_its_measurement(
  opened, tmp_path, monkeypatch, evaluation
):
  config, data = opened

  class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""

  def kill(*args, **kwargs):
    raise Killed

  judged, measured = [], []
  evaluate = held_out.evaluate

  def dying(data, predictor, **settings):
    judged.append(predictor)
    if len(judged) == evaluation:
      kill()
    found = evaluate(data, predictor, **settings)
    measured.append(found.metrics)
    return found

  monkeypatch.setattr(held_out, 'evaluate', dying)
  with pytest.raises(Killed):
    loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  path = tmp_path / 'only' / 'evaluated.json'
  reached = _newest(tmp_path, 'resume').step
  if path.exists():
    assert json.loads(path.read_text())['step'] < reached
  result = loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  again = list(measured)
  measured.clear()
  whole = loop.train_and_evaluate(config, tmp_path / 'w', data, quiet=True)
  # Each is made up for, in its turn.
  assert again == measured and len(again) == config.toy.epochs
  assert result.metrics == whole.metrics
  for kind in ('resume', 'best'):
    assert _newest(tmp_path, kind).step == _newest(tmp_path / 'w', kind).step
  record = json.loads(path.read_text())
  assert record['step'] == _newest(tmp_path, 'resume').step


@pytest.mark.parametrize(
  ('values', 'kept'), [((0.0, 0.0, 0.0), 3), ((0.5, 0.6, 0.6, 0.4), 3)]
)
def test_of_equals_the_newest_is_kept(
  opened, tmp_path, monkeypatch, values, kept
):
  config, data = opened
  with config.copy_and_resolve_references().unlocked() as config:
    config.toy.epochs = len(values)
  waiting = list(values)
  monkeypatch.setattr(
    keeping.Keeper,
    '_judged',
    lambda *_: held_out.NOTHING._replace(
      metrics={'best_metric': waiting.pop(0)}
    ),
  )
  result = loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  assert not waiting and result.metrics == {'best_metric': max(values)}
  steps = _newest(tmp_path, 'resume').step // len(values)
  assert folder.read_best(tmp_path).step == kept * steps


def test_a_picture_that_fails_is_a_warning(
  opened, tmp_path, monkeypatch, caplog
):
  config, data = opened
  original = keeping.Keeper._tell

  def failing(self, step, found):
    class Writer:
      def scalars(self, *unused):
        raise OSError(28, 'No space left on device')

    self._writer, kept = Writer(), self._writer
    original(self, step, found)
    self._writer = kept

  monkeypatch.setattr(keeping.Keeper, '_tell', failing)
  result = loop.train_and_evaluate(config, tmp_path, data, quiet=True)
  assert result.metrics and 'metrics are not drawn: OSError' in caplog.text


def test_a_broken_record_is_said_so(tmp_path, caplog):
  (tmp_path / 'evaluated.json').write_text('{"step": 3, "wrong": 1}')
  resumed = checkpoints.Restored(
    7, {}, {'best': {'ar_50': 0.5}, 'best_metric': 0.5}
  )
  best = keeping.read(tmp_path, resumed)
  assert best == keeping.Best(7, 0.5, {'ar_50': 0.5})
  assert 'is not read' in caplog.text
  assert (
    keeping.read(tmp_path / 'none', checkpoints.Restored(7, {}, {})).step < 0
  )
