"""Watershed grouping against the loop that the papers describe."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.chains.tag import watershed


def _slow(actionness, step):
  """Level by level, share by share, basin by basin."""
  grid = [i * step for i in range(1, round(1 / step) + 1)]
  found = set()
  for level in grid:
    basins, begin = [], None
    for i, value in enumerate([*actionness, -1.0]):
      if value >= level - 1e-9 and begin is None:
        begin = i
      elif value < level - 1e-9 and begin is not None:
        basins.append((begin, i))
        begin = None
    for share in grid:
      for k, (start, end) in enumerate(basins):
        filled = end - start
        for next_start, next_end in basins[k + 1 :]:
          more = filled + next_end - next_start
          if more / (next_end - start) < share - 1e-9:
            break
          filled, end = more, next_end
        found.add((start, end))
  return sorted(found)


@settings(max_examples=60)
@given(
  st.lists(st.integers(0, 20), max_size=30),
  st.sampled_from([0.1, 0.25, 0.5]),
)
def test_it_is_what_the_loop_finds(values, step):
  actionness = np.array(values, float) / 20
  found = watershed.group(actionness, step)
  assert [tuple(row) for row in found.tolist()] == _slow(actionness, step)


def test_a_gap_is_bridged_while_enough_is_filled():
  actionness = np.array([0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9])
  found = {tuple(row) for row in watershed.group(actionness).tolist()}
  # Three of four are filled, four of eight; (0, 8) needs a share of a half.
  assert {(0, 2), (0, 4), (0, 8), (3, 4), (3, 8), (7, 8)} <= found
  assert (0, 7) not in found


def test_nothing_is_found_in_nothing():
  assert watershed.group(np.zeros(5)).shape == (0, 2)
  assert watershed.group(np.zeros(0)).shape == (0, 2)


def test_time_and_memory_of_ten_hours_stay_small():
  # 36,000 snippets of noise: thousands of basins at every level.
  rng = np.random.default_rng(0)
  found = watershed.group(rng.uniform(0, 1, 36_000).astype(np.float32), 0.25)
  assert len(found) < 10 * 36_000


def test_scores_are_means():
  actionness = np.array([0.5, 1.0, 0.0, 0.25])
  found = watershed.mean_inside(actionness, np.array([[0, 2], [1, 4], [3, 4]]))
  assert found == pytest.approx([0.75, 1.25 / 3, 0.25])
