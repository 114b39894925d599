"""The benchmarks of whole steps measure what they say."""

import time

import numpy as np
import pytest

from launch import benchmark
from launch.benchmarks import chain, growth, limits, loading


def test_the_stopwatch_counts_waiting_apart_from_work():
  def batches(loader, start, stop):
    for step in range(start, stop):
      time.sleep(loader)
      yield step

  watch = loading.Stopwatch(batches)
  seen = []
  for step in watch(0.02, 5, 11):
    seen.append(step)
    time.sleep(0.03)
  assert seen == list(range(5, 11))
  assert watch.count == 2  # 3 warm ones and the last are left out.
  assert 0.04 <= watch.waited < watch.total
  assert watch.total - watch.waited >= 0.06


@pytest.mark.slow
@pytest.mark.parametrize(
  'make, steps', [(chain.paper, 60), (chain.template, 2)]
)
def test_both_chains_propose(make, steps):
  predictor, source = make(300, steps=steps)
  [(name, prediction)] = predictor.propose(source, ['v'])
  assert name == 'v'
  assert prediction.probabilities.shape == (300, 6)


def test_a_curve_states_its_slope(monkeypatch, tmp_path):
  taken = {1.0: 2.0, 10.0: 20.0, 100.0: 2000.0}
  monkeypatch.setattr(growth, '_seconds', lambda run: run())
  rows = growth._curve(
    'toy', 'things', lambda n: lambda: taken[n], tuple(taken)
  )
  assert [row['ours_s'] for row in rows] == [2.0, 20.0, 2000.0]
  assert rows[-1]['note'] == 'slope 1.50, of the last step 2.00'
  growth.plot([*rows, {'suite': 'nms', 'work': 'x'}], tmp_path / 'g.png')
  assert (tmp_path / 'g.png').stat().st_size > 5_000
  assert benchmark.table(rows).count('toy') == 3


def test_limits_are_positive_rates():
  rows = limits.run_limits()
  assert all(np.isfinite(row['ours_s']) and row['ours_s'] > 0 for row in rows)
  assert 'GFLOP/s' in rows[0]['note'] and 'GB/s' in rows[1]['note']
