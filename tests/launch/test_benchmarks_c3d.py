import numpy as np
import pytest

from cmsn_jax.features.backbones import c3d
from launch.benchmarks import c3d as benchmark

KEYS = {
  'suite', 'work', 'ours_s', 'alternative', 'alternative_s', 'ratio', 'note',
}  # fmt: skip
WIDTHS = (2, 3, 4, 4, 5)


def test_both_sides_do_the_same_work():
  torch = pytest.importorskip('torch')
  _, params, clip = made = benchmark.make(16, 16, WIDTHS)
  want = benchmark.jax_runs(*made)[0]()
  runs, reason = benchmark.torch_runs(params, clip)
  assert not reason
  got = runs[0]().permute(0, 2, 3, 4, 1).numpy()
  np.testing.assert_allclose(got, want, atol=1e-4)
  assert torch.get_num_threads() == 1


def test_flops_of_the_full_size():
  forward, both = benchmark.flops(96, 112, c3d.WIDTHS)
  # 463 GFLOP: 1.7 s at the 275 GFLOP/s that torch reaches on two cores.
  assert forward == pytest.approx(463e9, rel=0.02)
  assert 2.9 < both / forward < 3


def test_rows(monkeypatch):
  pytest.importorskip('torch')
  rows = benchmark.run_size(8, 16, WIDTHS, repeats=2)
  assert [set(row) for row in rows] == [KEYS, KEYS]
  assert all(row['ratio'] > 0 and 'GFLOP/s' in row['note'] for row in rows)
  monkeypatch.setattr(
    benchmark, 'torch_runs', lambda *_: (None, 'torch is not installed')
  )
  rows = benchmark.run_size(8, 16, WIDTHS, repeats=1)
  assert all(row['ratio'] is None and row['ours_s'] > 0 for row in rows)
  assert all('not installed' in row['note'] for row in rows)


def test_memory_rows_say_the_bytes(monkeypatch):
  peaks = {'jax': 3 * 10**9, 'torch': 2 * 10**9}
  monkeypatch.setattr(benchmark, '_peak_of', lambda side, *_: peaks[side])
  rows = benchmark.run_memory(8, 16)
  assert [set(row) for row in rows] == [KEYS, KEYS]
  assert rows[0]['ratio'] == 1.5
  assert rows[0]['note'] == 'ours 3.00 GB, torch 2.00 GB'
  peaks['torch'] = 'torch is not installed'
  rows = benchmark.run_memory(8, 16)
  assert rows[1]['ratio'] is None and 'not installed' in rows[1]['alternative']
