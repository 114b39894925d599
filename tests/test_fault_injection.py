"""A few of each fault; as a program, fault_injection tries many."""

import pytest

from tests import fault_injection
from tests.pretraining import pretraining_faults
from tests.proposing import corpus_faults
from tests.training import run_faults

pytestmark = pytest.mark.slow

# What says when a run saves is as shipped; smaller networks, fewer steps.
_SHORT = {
  'template': fault_injection.TEMPLATE.quicker(
    '--config.template.steps=60',
    '--config.template.width=16',
    '--config.template.members=2',
  ),
  'paper': fault_injection.PAPER.quicker(
    '--config.stages.width=32',
    '--config.stages.lstm_width=16',
    '--config.train.stages_epochs=8',
    '--config.train.evaluator_epochs=6',
  ),
}


@pytest.fixture(scope='module', params=_SHORT)
def runs(request, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs')
  return fault_injection.Runs(folder, _SHORT[request.param])


def test_kills(runs):
  assert 'bit-equal' in fault_injection.kill_training(runs, 2)


def test_sigterm(runs):
  assert 'bit-equal' in fault_injection.terminate_training(runs, 1)


def test_full_disk(runs):
  outcome = fault_injection.fill_disk(runs, 1)
  if outcome.startswith('not tried'):
    pytest.skip(outcome)
  assert 'bit-equal' in outcome


@pytest.mark.parametrize('name', run_faults.FAULTS)
def test_data_and_machines(runs, name):
  assert run_faults.FAULTS[name](runs)


# Orbax leaves coroutines behind where it fails to read.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('kind', ['flip', 'cut'])
def test_damaged_checkpoints(runs, kind):
  outcome = fault_injection.damage_checkpoints(runs, 20, kind)
  assert 'the one before was used' in outcome


def test_pretraining(tmp_path):
  assert 'bit-equal' in pretraining_faults.kill(tmp_path, 1)


def test_corpus(tmp_path):
  assert len(list(corpus_faults.rows(tmp_path, 1))) == 3
