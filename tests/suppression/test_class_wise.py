import numpy as np
import pytest

from cmsn_jax.suppression import class_wise, nms


def _proposals(seed=0, count=60):
  rng = np.random.default_rng(seed)
  start = rng.uniform(0, 30, count)
  segments = np.stack([start, start + rng.uniform(2, 10, count)], axis=1)
  labels = [('run', 'jump', 'sit')[k] for k in rng.integers(0, 3, count)]
  return segments, rng.random(count), labels


@pytest.mark.parametrize(
  ('method', 'alone', 'options'),
  [
    ('greedy', nms.greedy_nms, {'tiou': 0.4}),
    ('soft', nms.soft_nms, {'sigma': 0.5, 'threshold': 0.1}),
  ],
)
def test_is_that_of_each_label_alone(method, alone, options):
  segments, scores, labels = _proposals()
  kept, left = class_wise.suppress(
    segments, scores, labels, method=method, **options
  )
  expected = {}
  for label in set(labels):
    own = np.array([k for k, name in enumerate(labels) if name == label])
    which, score = alone(segments[own], scores[own], **options)
    expected.update(zip(own[which].tolist(), score.tolist()))
  assert dict(zip(kept.tolist(), left.tolist())) == expected
  assert (np.diff(left) <= 0).all()


def test_same_segments_of_two_labels_both_stay():
  segments = np.array([[0.0, 1], [0, 1], [0, 1]])
  scores = np.array([0.5, 0.9, 0.8])
  kept, left = class_wise.suppress(segments, scores, ['b', 'a', 'a'])
  assert kept.tolist() == [1, 0]
  assert left.tolist() == [0.9, 0.5]


def test_none_and_nothing():
  segments, scores, labels = _proposals()
  kept, left = class_wise.suppress(segments, scores, labels, method='none')
  assert sorted(kept.tolist()) == list(range(60))
  np.testing.assert_array_equal(left, scores[kept])
  kept, left = class_wise.suppress(np.zeros((0, 2)), np.zeros(0), [])
  assert not len(kept)
  assert not len(left)
  with pytest.raises(ValueError, match='method'):
    class_wise.suppress(segments, scores, labels, method='hard')
