"""The backbone benchmark's rows, on work of a moment."""

import re

import numpy as np
import pytest

from cmsn_jax.features.backbones import resnet
from launch.benchmarks import backbones, torch_backbones

_KEYS = {
  'suite', 'work', 'ours_s', 'alternative', 'alternative_s', 'ratio', 'note',
}  # fmt: skip


def test_memory_of_a_stream_is_flat():
  # 980 MB of frames; some windows of 23 MB are in use at a time.
  row = backbones.stream_memory(600)
  assert set(row) == _KEYS
  early, late = map(int, re.findall(r'(\d+) MB', row['note']))
  assert late - early < 200


def test_rows_beside_torch(monkeypatch):
  pytest.importorskip('torch', reason='PyTorch is not installed')
  monkeypatch.setattr(backbones, '_SIZE', 32)
  row = backbones._backbone(
    'tiny',
    resnet.ResNet((1, 1, 1, 1), width=4),
    lambda: torch_backbones.ResNet((1, 1, 1, 1), width=4),
    3,
    images=2,
    quick=True,
  )
  assert set(row) == _KEYS
  assert row['ratio'] == pytest.approx(row['ours_s'] / row['alternative_s'])
  assert 'torch' in row['alternative']
  assert 'images/s' in row['note']


def test_row_without_torch(monkeypatch):
  monkeypatch.setattr(torch_backbones, 'torch', None)
  x = np.zeros((2, 3), np.float32)
  row = backbones._compare(lambda x: x + 1, (x,), None, x, True)
  assert row['ratio'] is None and row['ours_s'] > 0
  assert row['note'] == 'torch is not installed'


def test_flow_rows():
  pytest.importorskip('cv2', reason='OpenCV is not installed')
  rows = backbones._flow(quick=True)
  assert len(rows) == 2 and 'fields per CPU second' in rows[0]['note']
