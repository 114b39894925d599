"""Candidate proposals against a slow reading of Section 3.2, and THUMOS14."""

import collections
import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax import segments as segments_lib
from cmsn_jax.candidates import runs as proposals
from cmsn_jax.stages import targets

B, R, S, C, E, F = range(6)


def _slow_runs(stages, split=True):
  runs, current = [], []
  for t, stage in enumerate(stages):
    if stage == B:
      if current:
        runs.append(current)
      current = []
      continue
    if split and current and stages[t - 1] in (E, F) and stage in (R, S):
      runs.append(current)
      current = []
    current.append(t)
  return runs + ([current] if current else [])


def _slow_generate(
  stages,
  probabilities=None,
  rate=0.09,
  split=True,
  stage_set=(S, C, F),
  rule='any',
):
  """Every pair of every run, one by one."""
  found = []
  for run in _slow_runs(stages, split):
    confirms = [t for t in run if stages[t] == C]
    m = len(confirms)
    first_half = confirms[: math.ceil(m / 2)]
    second_half = confirms[m // 2 :]
    starts = [t for t in run if stages[t] in (R, S)] + first_half
    ends = [t for t in run if stages[t] in (E, F)] + second_half
    first_start = [t for t in run if stages[t] == S] or confirms or run
    last_end = [t for t in run if stages[t] == E] or confirms or run
    for i in starts:
      for j in ends:
        inside = {stages[t] for t in range(i, j + 1)}
        present = [stage in inside for stage in stage_set]
        ok = (any(present) if rule == 'any' else all(present)) or not stage_set
        if i >= j or not ok:
          continue
        from_start = 1 - abs(i - first_start[0]) * rate
        from_end = 1 - abs(j - last_end[-1]) * rate
        score = max(0, from_start) * max(0, from_end)
        if score <= 0:
          continue
        mean = 0.0
        if probabilities is not None:
          mean = math.fsum(
            probabilities[t][stages[t]] for t in range(i, j + 1)
          ) / (j - i + 1)
        found.append((-score, -round(mean, 9), i, j))
  return sorted(found)


def _tuples(candidates):
  return list(
    zip(
      (-candidates.pre_scores).tolist(),
      np.round(-candidates.mean_probabilities, 9).tolist(),
      candidates.starts.tolist(),
      candidates.ends.tolist(),
    )
  )


def _pairs(candidates):
  return set(zip(candidates.starts.tolist(), candidates.ends.tolist()))


def test_runs_by_hand():
  stages = np.array([B, R, S, C, E, F, R, S, E, S, B, C, F])
  first, last = proposals.split_runs(stages)
  assert first.tolist() == [1, 6, 9, 11]
  assert last.tolist() == [5, 8, 9, 12]
  first, last = proposals.split_runs(stages, split=False)
  assert (first.tolist(), last.tolist()) == ([1, 11], [9, 12])


def test_one_run_by_hand():
  #                  0  1  2  3  4  5  6  7
  stages = np.array([B, R, S, C, C, C, E, F])
  found = proposals.generate(stages)
  # Starts 1, 2, 3, 4 (first half of 3, 4, 5 with the middle), ends 4, 5 (the
  # second half), 6, 7; anchors: Start at 2, End at 6.
  expected = {(i, j) for i in (1, 2, 3, 4) for j in (4, 5, 6, 7) if i < j}
  assert _pairs(found) == expected
  assert (found.starts[0], found.ends[0], found.pre_scores[0]) == (2, 6, 1.0)
  scores = dict(zip(zip(found.starts, found.ends), found.pre_scores))
  assert scores[1, 7] == pytest.approx(0.91 * 0.91)
  assert scores[4, 4 + 1] == pytest.approx((1 - 2 * 0.09) * (1 - 0.09))


def test_anchors_fall_back_to_confirm_then_to_the_border():
  only_confirm = proposals.generate(np.array([B, R, C, C, C, F, F]))
  best = only_confirm.starts[0], only_confirm.ends[0]
  assert best == (2, 4)
  neither = proposals.generate(np.array([B, R, R, F, F, B]))
  assert (neither.starts[0], neither.ends[0]) == (1, 4)


def test_two_negative_factors_do_not_make_a_score():
  # Both ends of the outermost pair lie 20 snippets from the anchors: the
  # unclamped product would be (-.8) * (-.8) = .64.
  stages = np.array([R] * 20 + [S, E] + [F] * 20)
  found = proposals.generate(stages)
  assert found.pre_scores.min() > 0
  assert found.starts.min() == 20 - 11
  assert found.ends.max() == 21 + 11
  assert len(found.starts) == 12 * 12


def test_stage_rule():
  #                  0  1  2  3  4
  stages = np.array([R, E, C, R, F])
  assert _pairs(proposals.generate(stages, split=False)) == {
    (0, 2),
    (0, 4),
    (2, 4),
    (3, 4),
  }
  every = proposals.generate(
    stages, split=False, stage_set=(C, F), stage_rule='all'
  )
  assert _pairs(every) == {(0, 4), (2, 4)}
  nothing_asked = proposals.generate(stages, split=False, stage_set=())
  assert (0, 1) in _pairs(nothing_asked)


def test_ties_break_by_mean_probability_then_time():
  stages = np.array([B, R, S, S, E, E, F, B])
  probabilities = np.full((8, 6), 0.1)
  probabilities[np.arange(8), stages] = [0, 0.9, 0.8, 0.5, 0.5, 0.5, 0.2, 0]
  plain = proposals.generate(stages)
  tied = np.flatnonzero(np.isclose(plain.pre_scores, 0.91))
  order = [(plain.starts[k], plain.ends[k]) for k in tied]
  # One step from either anchor: by time.
  assert order == [(1, 5), (2, 4), (2, 6), (3, 5)]
  judged = proposals.generate(stages, probabilities)
  order = [(judged.starts[k], judged.ends[k]) for k in tied]
  # Means .64, .6, .5, .5.
  assert order == [(1, 5), (2, 4), (2, 6), (3, 5)]
  probabilities[6, F] = 0.95  # (2, 6) rises to .65
  judged = proposals.generate(stages, probabilities)
  assert (judged.starts[1], judged.ends[1]) == (2, 6)


@pytest.mark.parametrize(
  'stages, expected',
  [
    ([], 0),
    ([S], 0),
    ([C], 0),
    ([B] * 5, 0),
    ([C, C], 1),
    ([F, E, C, S, R], 0),  # backwards: F E | C S R; no start before an end
    ([E, F, C, R, S], 0),
    ([S, B, E], 0),  # Background inside
    ([R, S, R, S], 0),  # nothing to end it
  ],
)
def test_edges(stages, expected):
  found = proposals.generate(np.array(stages, np.int64))
  assert _tuples(found) == _slow_generate(stages)
  assert len(found.starts) >= expected
  if not expected:
    assert all(i < j for i, j in _pairs(found))


def test_long_run_stays_small():
  stages = np.full(10_000, C)
  stages[0], stages[-1] = S, E
  found = proposals.generate(stages)
  # Every start is too far from every end only in score, not in reach: 12
  # starts from the first Start on, 12 ends up to the last End.
  assert len(found.starts) == 12 * 12
  noise = np.random.default_rng(0).integers(1, 6, 10_000)
  assert len(proposals.generate(noise, split=False).starts) <= 23 * 23


@settings(max_examples=300)
@given(
  st.lists(st.integers(0, 5), max_size=40),
  st.booleans(),
  st.sampled_from(['any', 'all']),
  st.sampled_from([(S, C, F), (C,), (S, E), ()]),
  st.sampled_from([0.09, 0.25, 0.01]),
)
def test_equals_the_slow_reference(stages, split, rule, stage_set, rate):
  found = proposals.generate(
    np.array(stages, np.int64),
    split=split,
    stage_rule=rule,
    stage_set=stage_set,
    decay_rate=rate,
  )
  expected = _slow_generate(stages, None, rate, split, stage_set, rule)
  assert _tuples(found) == expected


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 2**31))
def test_probabilities_order_as_the_slow_reference(stages, seed):
  # Eighths: sums are exact, so ties of the mean really are ties.
  probabilities = (
    np.random.default_rng(seed).integers(0, 9, (len(stages), 6)) / 8
  )
  found = proposals.generate(np.array(stages, np.int64), probabilities)
  assert _tuples(found) == _slow_generate(stages, probabilities.tolist())


def test_float16_probabilities():
  stages = np.array([R, S, C, E, F])
  probabilities = np.full((5, 6), 0.5, np.float16)
  found = proposals.generate(stages, probabilities)
  assert (found.mean_probabilities == 0.5).all()


def test_errors_name_the_argument():
  good = np.array([R, S, E])
  with pytest.raises(ValueError, match='stages must be 0-5 .* 6 at snippet 1'):
    proposals.generate(np.array([R, 6]))
  with pytest.raises(ValueError, match=r'must have shape \[3, 6\]'):
    proposals.generate(good, np.zeros((2, 6)))
  with pytest.raises(ValueError, match='probabilities must be finite'):
    proposals.generate(good, np.full((3, 6), np.nan))
  with pytest.raises(ValueError, match='decay_rate must be above 0'):
    proposals.generate(good, decay_rate=0)
  with pytest.raises(ValueError, match="stage_rule must be one of .*'some'"):
    proposals.generate(good, stage_rule='some')
  with pytest.raises(ValueError, match='stage_set must hold stages 0-5'):
    proposals.generate(good, stage_set=(7,))


def _thumos14_test(folder):
  """Segments and durations of THUMOS14's test videos."""
  segments, durations = collections.defaultdict(list), {}
  with open(folder / 'thumos14_test_groundtruth.csv', newline='') as file:
    for row in csv.DictReader(file):
      video = row['video-name']
      segments[video].append((float(row['t-init']), float(row['t-end'])))
      durations[video] = float(row['video-duration'])
  return {v: np.array(s) for v, s in segments.items()}, durations


def _pooled_average_recall(segments, durations, split):
  """AR of all candidates made from perfect labels, and their number."""
  feature_fps = 25 / 8
  best = []
  count = 0
  for video, truth in segments.items():
    labels = targets.stage_labels(
      truth, int(durations[video] * feature_fps), feature_fps
    )
    found = proposals.generate(labels, split=split)
    count += len(found.starts)
    made = segments_lib.snippets_to_sec(found.starts, found.ends, feature_fps)
    best.append(segments_lib.tiou(truth, made).max(axis=1, initial=0.0))
  best = np.concatenate(best)
  thresholds = np.linspace(0.5, 0.95, 10)
  recall = (best[:, None] >= thresholds - 1e-12).mean(axis=0)
  return recall.mean(), count / len(segments)


def test_perfect_labels_of_thumos14(real_data):
  segments, durations = _thumos14_test(real_data('thumos14'))
  assert len(segments) == 213
  assert sum(map(len, segments.values())) == 3457
  with_split, per_video = _pooled_average_recall(segments, durations, True)
  without, _ = _pooled_average_recall(segments, durations, False)
  assert with_split == pytest.approx(0.91, abs=0.01)
  assert without == pytest.approx(0.41, abs=0.01)
  assert per_video == pytest.approx(2300, rel=0.05)
