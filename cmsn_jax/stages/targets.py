"""Segments to one stage label per snippet (the paper's Section 3.1)."""

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from cmsn_jax import segments, stage_names

RULES = ('centre', 'majority')


def stage_labels(
  segments_sec: Float[np.ndarray, 'n 2'],
  num_snippets: int,
  feature_fps: float | int,
  *,
  rule: str = 'centre',
  samples_per_snippet: int = 8,
) -> Int32[np.ndarray, ' t']:
  """Stage 0-5 of every snippet of a video.

  An instance [s, e) of length d is Ready on [s - d/2, s), Start on
  [s, s + d/3), Confirm on [s + d/3, e - d/3), End on [e - d/3, e) and Follow
  on [e, e + d/2). Start, Confirm and End beat Ready and Follow; where Ready
  and Follow of two instances meet, the nearer boundary wins (a tie is Ready).
  Of overlapping instances the shorter one counts, of equal lengths the later.

  Args:
    segments_sec: ground truth in seconds, any order, identical ones count
      once, zero-length ones not at all; `[n, 2]`.
    num_snippets: length of the result.
    feature_fps: snippets per second.
    rule: 'centre' takes the stage at the snippet's centre; 'majority' the
      stage of most of `samples_per_snippet` evenly spread times in it (a tie
      goes to the lower stage).
    samples_per_snippet: for 'majority'; the frames per snippet give the
      paper's frame-level sequence.
  Returns:
    labels, `[num_snippets]`, int32, see `stage_names.NAMES`.
  Raises:
    ValueError: on an unknown rule, a rate that is not positive or a malformed
      segment.
  """
  if rule not in RULES:
    raise ValueError(f'rule must be one of {RULES}, got {rule!r}')
  if num_snippets < 0:
    raise ValueError(f'num_snippets must be >= 0, got {num_snippets}')
  instances = segments.check(segments_sec, 'segments_sec')
  if rule == 'centre':
    times = segments.snippet_centres_sec(num_snippets, feature_fps)
    return _labels_at(times, instances)
  if samples_per_snippet < 1:
    raise ValueError(
      f'samples_per_snippet must be >= 1, got {samples_per_snippet}'
    )
  times = segments.snippet_centres_sec(
    num_snippets * samples_per_snippet, feature_fps * samples_per_snippet
  )
  sampled = _labels_at(times, instances)
  votes = sampled.reshape(num_snippets, samples_per_snippet)
  counts = (votes[:, :, None] == np.arange(stage_names.COUNT)).sum(axis=1)
  return counts.argmax(axis=1).astype(np.int32)


def within(
  spans: Float[np.ndarray, 'n 2'], num_snippets: int
) -> Bool[np.ndarray, ' t']:
  """Which snippets have their centre in a span.

  Args:
    spans: in snippets, `[n, 2]`; parts may lie outside.
    num_snippets: t.
  """
  found = np.zeros(num_snippets, bool)
  cuts = np.ceil(np.asarray(spans) - 0.5).astype(np.int64)
  for start, end in np.clip(cuts, 0, num_snippets):
    found[start:end] = True
  return found


def action_labels(
  instances: Float[np.ndarray, 'n 2'],
  actions: Int[np.ndarray, ' n'],
  num_snippets: int,
) -> Int32[np.ndarray, ' t']:
  """Action at the centre of every snippet, 0 where there is none.

  Where instances overlap, the shorter one counts, as in `stage_labels`.

  Args:
    instances: in snippets, `[n, 2]`; parts may lie outside.
    actions: of each instance, from 1, `[n]`.
    num_snippets: t.
  """
  labels = np.zeros(num_snippets, np.int32)
  cuts = np.ceil(np.asarray(instances) - 0.5).astype(np.int64)
  cuts = np.clip(cuts, 0, num_snippets)
  for row in _painting_order(instances):
    labels[slice(*cuts[row])] = actions[row]
  return labels


def _labels_at(
  times: Float[np.ndarray, ' t'],
  instances: Float[np.ndarray, 'n 2'],
) -> Int32[np.ndarray, ' t']:
  """Stage at each of the ascending times."""
  instances = instances[_painting_order(instances)]
  start, end = instances[:, 0], instances[:, 1]
  length = end - start
  borders = np.stack(
    [
      start - length / 2,
      start,
      start + length / 3,
      end - length / 3,
      end,
      end + length / 2,
    ],
    axis=1,
  )
  # Rounding may swap the thirds of an extremely short instance.
  borders = np.maximum.accumulate(borders, axis=1)
  # Each period is a slice of the ascending times.
  cuts = np.searchsorted(times, borders, side='left').tolist()

  to_start = np.full(len(times), np.inf)
  from_end = np.full(len(times), np.inf)
  for row, (s, e) in enumerate(instances.tolist()):
    ready, begin, _, _, stop, follow = cuts[row]
    if ready < begin:
      span = slice(ready, begin)
      to_start[span] = np.minimum(to_start[span], s - times[span])
    if stop < follow:
      span = slice(stop, follow)
      from_end[span] = np.minimum(from_end[span], times[span] - e)
  labels = np.where(
    to_start <= from_end, stage_names.READY, stage_names.FOLLOW
  ).astype(np.int32)
  labels[np.isinf(to_start) & np.isinf(from_end)] = stage_names.BACKGROUND
  for _, begin, confirm, finish, stop, _ in cuts:
    labels[begin:confirm] = stage_names.START
    labels[confirm:finish] = stage_names.CONFIRM
    labels[finish:stop] = stage_names.END
  return labels


def _painting_order(
  instances: Float[np.ndarray, 'n 2'],
) -> Int[np.ndarray, ' n']:
  """Order that leaves the winner of an overlap for last."""
  start, length = instances[:, 0], segments.durations(instances)
  return np.lexsort((start, -length))
