import re

import pytest

from cmsn_jax.chains import registry
from cmsn_jax.settings import default, plus
from cmsn_jax.training import loop, memory, setup
from tests.chains.toy import recipe


class XlaRuntimeError(RuntimeError):
  """Named as XLA's is."""


_FULL = XlaRuntimeError(
  'RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\nlong trace'
)


@pytest.mark.parametrize(
  ('error', 'expected'),
  [
    (MemoryError(), True),
    (_FULL, True),
    (XlaRuntimeError('INVALID_ARGUMENT: shapes'), False),
    (ValueError('RESOURCE_EXHAUSTED'), False),
  ],
)
def test_what_is_out_of_memory(error, expected):
  assert memory.is_out_of_memory(error) == expected


def test_half_the_batch_and_twice_the_parts_are_the_same_step():
  config = default.get_config()
  config.train.batch_per_device, config.train.accumulate = 8, 3
  text = str(memory.explained(config, _FULL))
  assert '--config.train.batch_per_device=4 --config.train.accumulate=6' in text
  assert 'Out of memory allocating 123 bytes.' in text
  assert 'long trace' not in text


def test_members_still_divide_what_is_left():
  config = plus.apply(default.get_config())
  config.train.batch_per_device = 12
  text = str(memory.explained(config, _FULL))
  # 6 would not be divisible by the four members.
  assert 'batch_per_device=4 --config.train.accumulate=3' in text


def test_in_the_students_phase_its_windows_are_what_to_turn():
  # The members' phase, which is done, must have as many windows a step.
  config = plus.apply(default.get_config())
  text = str(memory.explained(config, _FULL, 'template.student_windows'))
  assert (
    '--config.train.batch_per_device=16 --config.train.accumulate=2 '
    '--config.template.student_windows=8 takes as many windows a step (16 a'
  ) in text


def test_windows_that_grew_with_the_data_become_shorter(tmp_path):
  config = plus.apply(default.get_config())
  config.data.annotations = 'generated:3x400'
  config.data.pool, config.windows.length = 1, 32
  config.train.batch_per_device = 4
  grown, data = setup.open_run(config, tmp_path)
  assert grown.windows.length > 64
  text = str(memory.explained(grown, MemoryError()))
  flags = dict(re.findall(r'--config\.(\S+)=(\d+)', text))
  # Given with the command, they are what is derived.
  config.update_from_flattened_dict({k: int(v) for k, v in flags.items()})
  again = registry.load('template').derive(config, data)
  assert again.windows.length == grown.windows.length // 2
  assert again.train.batch_per_device == grown.train.batch_per_device


def test_of_a_single_window_its_length_is_left():
  config = default.get_config()
  config.train.batch_per_device = 1
  text = str(memory.explained(config, MemoryError()))
  assert '--config.windows.length=48 in place of windows of 96' in text
  assert 'MemoryError' in text


def test_a_run_that_runs_out_says_what_to_turn(tmp_path):
  config, data = setup.open_run(recipe.get_config(), tmp_path)

  def batches(loader, start, stop):
    yield loader.batch(start)
    raise MemoryError

  with pytest.raises(memory.OutOfMemoryError, match='windows.length'):
    loop.train_and_evaluate(config, tmp_path, data, batches=batches, quiet=True)
