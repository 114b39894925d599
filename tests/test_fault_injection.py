"""A few of each fault; as a program, fault_injection tries many."""

import pytest

from tests import fault_injection
from tests.pretraining import pretraining_faults
from tests.proposing import corpus_faults
from tests.training import run_faults

pytestmark = pytest.mark.slow


@pytest.fixture(
  scope='module', params=fault_injection.SMALL, ids=lambda one: one.phases[-1]
)
def runs(request, tmp_path_factory):
  return fault_injection.Runs(tmp_path_factory.mktemp('runs'), request.param)


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
