"""Two programs timed in turns, so that a busy machine slows both alike."""

import statistics
import time
from collections.abc import Callable

from . import limits


def compare(
  suite: str,
  ours: Callable[[], object],
  theirs: Callable[[], object] | None,
  repeats: int,
  *,
  floor: Callable[[], object] | None = None,
  warm: bool = False,
) -> dict:
  """A row of medians, and the ratio of each pair of runs.

  CPU seconds on a CPU, so that a neighbour's load does not count; else wall
  time.

  Args:
    suite: of the row.
    ours: one run; returns when it has ended.
    theirs: the alternative's, None where it is not installed.
    repeats: runs of each, after one that is not timed.
    floor: our run's part that cannot be made faster.
    warm: nothing is left to compile or to load: that one run is left out.
  """
  clock = time.process_time if limits.on_cpu() else time.perf_counter
  runs = [run for run in (ours, theirs, floor) if run]
  times = [[] for _ in runs]
  walls = [[] for _ in runs]
  for run in () if warm else runs:
    run()
  for _ in range(repeats):
    for run, spent, wall in zip(runs, times, walls):
      start, start_wall = clock(), time.perf_counter()
      run()
      spent.append(clock() - start)
      wall.append(time.perf_counter() - start_wall)
  row = {
    'suite': suite,
    'ours_s': statistics.median(times[0]),
    'alternative_s': None,
    'ratio': None,
    'note': '',
  }
  if theirs:
    ratios = [a / c for a, c in zip(times[0], times[1])]
    wall = statistics.median(a / c for a, c in zip(walls[0], walls[1]))
    row['alternative_s'] = statistics.median(times[1])
    row['ratio'] = statistics.median(ratios)
    row['note'] = (
      f'ratios {min(ratios):.2f}-{max(ratios):.2f}, wall ratio {wall:.2f}'
    )
  if floor:
    share = statistics.median(times[-1]) / row['ours_s']
    row['note'] += '; ' if row['note'] else ''
    row['note'] += f'its matrix products alone take {share:.0%} of it'
  return row
