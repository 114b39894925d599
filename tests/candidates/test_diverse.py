import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax import segments as segments_lib
from cmsn_jax.candidates import diverse


def grid(rng, count):
  """Segments with many equal scores, as a grid has them."""
  start = rng.integers(0, 60, count) / 2
  length = rng.choice([1.5, 2.0, 5.0, 7.5, 20.0], count)
  segments = np.stack([start, start + length], axis=1)
  return segments, rng.integers(0, 8, count) / 8


def slow_select(segments, scores, count, different):
  """One segment after another, in plain Python."""
  order = sorted(
    range(len(scores)),
    key=lambda i: (-scores[i], segments[i, 0], segments[i, 1], i),
  )
  seen, selected = set(), set()
  for i in order:
    start, end = segments[i]
    scale = np.floor(np.log(end - start) / np.log(1.3))
    cell = scale, np.floor((start + end) / 2 / (1.3**scale / 4))
    if cell in seen or len(selected) == min(different, count):
      continue
    seen.add(cell)
    selected.add(i)
  for i in order:
    if len(selected) < count:
      selected.add(i)
  return [i for i in order if i in selected]


@settings(max_examples=60)
@given(
  seed=st.integers(0, 1 << 16),
  size=st.integers(0, 80),
  count=st.integers(0, 90),
  different=st.integers(0, 90),
)
def test_equals_one_after_another(seed, size, count, different):
  segments, scores = grid(np.random.default_rng(seed), size)
  found = diverse.select(segments, scores, count=count, different=different)
  expected = slow_select(segments, scores, count, different)
  assert found.tolist() == expected


def test_hand_computed():
  # Three of one cell, two of another, and one alone that scores least.
  segments = np.array(
    [[10.0, 20], [10.1, 20.1], [10.2, 20.2], [40, 44], [40.1, 44.1], [70, 80]]
  )
  scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])

  def selected(count, different):
    options = {'count': count, 'different': different}
    return diverse.select(segments, scores, **options).tolist()

  assert selected(3, 0) == [0, 1, 2]
  assert selected(3, 2) == [0, 1, 3]
  assert selected(3, 3) == [0, 3, 5]
  assert selected(4, 3) == [0, 1, 3, 5]
  # No more than three cells: the rest is filled by score.
  assert selected(5, 5) == [0, 1, 2, 3, 5]
  assert selected(9, 2) == [0, 1, 2, 3, 4, 5]


def test_without_cells_only_scores_count():
  segments, scores = grid(np.random.default_rng(1), 200)
  found = diverse.select(segments, scores, count=50, different=0)
  order = np.lexsort((segments[:, 1], segments[:, 0], -scores))
  np.testing.assert_array_equal(found, order[:50])


def test_segments_of_a_cell_overlap():
  rng = np.random.default_rng(2)
  start = rng.uniform(0, 30, 800)
  segments = np.stack([start, start + rng.uniform(2, 40, 800)], axis=1)
  cell = diverse.cells(segments)
  same = cell[:, None] == cell[None, :]
  assert segments_lib.tiou(segments, segments)[same].min() > 0.6 - 1e-9
  assert same.sum() > 2 * len(segments)  # Some cells have several.


def test_a_crowded_instance_leaves_room_for_a_quiet_one():
  start = 20 + np.linspace(-3, 3, 200)
  crowd = np.stack([start, start + 20], axis=1)
  segments = np.concatenate([crowd, [[70.0, 90.0]]])
  scores = np.append(np.linspace(0.6, 0.9, 200), 0.2)
  found = diverse.select(segments, scores, count=40, different=20)
  assert 200 in found
  assert 200 not in diverse.select(segments, scores, count=40, different=0)


def test_bad_arguments_are_refused():
  segments = np.array([[0.0, 1.0]])
  with pytest.raises(ValueError, match='at least 0'):
    diverse.select(segments, np.ones(1), count=-1, different=0)
  with pytest.raises(ValueError, match='finite'):
    diverse.select(segments, np.array([np.nan]), count=1, different=0)
  with pytest.raises(ValueError, match='positive'):
    diverse.select(segments * 0, np.ones(1), count=1, different=0)
