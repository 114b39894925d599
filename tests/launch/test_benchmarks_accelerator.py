"""The accelerator's rows, at the setting that a CPU takes."""

import pytest

from launch.benchmarks import accelerator

_KEYS = {
  'suite', 'work', 'ours_s', 'alternative', 'alternative_s', 'ratio', 'note',
}  # fmt: skip


def test_training_step_row(monkeypatch):
  monkeypatch.setattr(accelerator, '_SIDE', 16)
  row = accelerator.training_step(8, small=True)
  assert set(row) == _KEYS
  assert '1 x 8 x 16 x 16' in row['work'] and row['ours_s'] > 0
  assert (row['ratio'] is None) == row['alternative'].startswith('torch:')


def test_evaluator_and_i3d_rows():
  assert '500 proposals' in accelerator.evaluator(small=True)['work']
  assert 'times real time' in accelerator.i3d_stream(4, small=True)['note']


def test_operations_of_a_step():
  config = accelerator._config(8, small=True)
  config.extractor.widths = (1, 1, 1, 1, 1)
  config.stages.width = config.stages.lstm_width = 1
  # Frames x side x side of each convolution, and its channels in.
  shapes = [(8, 112, 3), (8, 56, 1), (4, 28, 1), (4, 28, 1), (2, 14, 1),
            (2, 14, 1), (1, 7, 1), (1, 7, 1)]  # fmt: skip
  counts = [2 * 27 * c * f * side * side for f, side, c in shapes]
  # Two that are frozen, one that sends no gradient on, and the rest.
  convolutions = sum(counts[:2]) + 2 * counts[2] + 3 * sum(counts[3:])
  maps = 3 * 2 * (2 * 27 * 49)
  lstm = 3 * 2 * 2 * 4 * ((1 + 1) + (2 + 1))
  assert accelerator._step_flops(config, 8) == convolutions + maps + lstm


def test_torch_has_the_same_layers():
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  config = accelerator._config(16, small=True)
  net = accelerator._torch_network(config)
  assert net(torch.zeros(1, 3, 16, 112, 112)).shape == (2, 6)
  still = [p for p in net.parameters() if not p.requires_grad]
  assert len(still) == 2 * config.extractor.frozen_layers
