"""The host benchmarks compare like with like, and their rows are complete."""

import numpy as np
import pytest

from cmsn_jax.candidates import runs
from cmsn_jax.evaluation import metrics
from cmsn_jax.stages import targets
from cmsn_jax.suppression import nms
from launch.benchmarks import host

KEYS = {
  'suite',
  'work',
  'ours_s',
  'alternative',
  'alternative_s',
  'ratio',
  'note',
}


def test_plain_nms_equals_ours():
  [spans], [scores] = host._scored(1, 80, span_sec=40.0)
  indices, kept = nms.soft_nms(spans, scores)
  plain = host._plain_soft_nms(spans.tolist(), scores.tolist())
  np.testing.assert_allclose(kept, [score for score, _ in plain], rtol=1e-12)
  np.testing.assert_array_equal(spans[indices], [span for _, span in plain])
  greedy, _ = nms.greedy_nms(spans, scores)
  assert greedy.tolist() == host._plain_greedy_nms(
    spans.tolist(), scores.tolist()
  )


def test_plain_generation_equals_ours():
  labels = targets.stage_labels(host._instances(10, 200.0), 500, 2.5)
  ours = runs.generate(labels)
  plain = host._plain_generate(labels.tolist())
  assert list(zip(ours.starts, ours.ends)) == [(i, j) for i, j, _ in plain]
  np.testing.assert_allclose(ours.pre_scores, [score for _, _, score in plain])


def test_loop_recall_equals_top_k():
  found, truth = host._corpus(3, 100, 5)
  ours = metrics.evaluate(
    found,
    truth,
    protocol='top_k',
    tiou_thresholds=np.linspace(0.5, 1, 11).tolist(),
  )
  loop = host._loop_recall(found, truth, 11)
  np.testing.assert_allclose(ours.curve_ar[:100], loop.mean(axis=0))


@pytest.mark.parametrize('run', [host.run_nms, host.run_metrics])
def test_rows(monkeypatch, run):
  monkeypatch.setattr(host, '_VIDEOS', 2)
  monkeypatch.setattr(host, '_PROPOSALS', 30)
  monkeypatch.setattr(host, '_LARGE', 300)
  monkeypatch.setattr(host, '_CORPUS', 20)
  rows = run(quick=True)
  for row in rows:
    assert set(row) == KEYS
    assert row['ours_s'] >= 0
    assert (row['ratio'] is None) == (row['alternative'] is None)
  assert any(row['ratio'] is not None for row in rows)
