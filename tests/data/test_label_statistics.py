import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.annotations import activitynet, importers
from cmsn_jax.data import label_statistics
from cmsn_jax.stages import targets


def video(name, duration, rows, labels=None, subset='training', fps=None):
  rows = np.array(rows, np.float64).reshape(-1, 2)
  labels = tuple(labels or ['run'] * len(rows))
  return activitynet.Video(
    name, subset, float(duration), rows, labels, feature_fps=fps
  )


def data(*videos):
  return activitynet.Annotations('x', {v.video_id: v for v in videos})


def test_hand_computed():
  found = label_statistics.label_statistics(
    [
      # Context spans: [-1, 5), [5, 11), [15.5, 18.5) and a repeated segment.
      video('a', 20, [[1, 3], [7, 9], [16, 18], [16, 18]], 'xyxx'),
      video('b', 16, []),
    ],
    1.0,
    name='n',
  )
  assert (found.name, found.feature_fps) == ('n', 1.0)
  assert (found.num_videos, found.num_empty) == (2, 1)
  assert (found.num_instances, found.num_distinct) == (4, 3)
  assert found.labels == {'x': 3, 'y': 1}
  assert found.hours == 36 / 3600
  assert found.inside == pytest.approx(6 / 36)
  np.testing.assert_allclose(found.video_sec[[0, 3, 6]], [16, 18, 20])
  np.testing.assert_allclose(found.instance_sec[[0, 3, 6]], [2, 2, 2])
  # Two snippets each: less than three, but each sees a centre.
  assert (found.num_short, found.num_unseen) == (3, 0)
  assert (found.num_overlapping, found.num_context) == (0, 0)
  # Of 36 snippets each of the three has a Ready, Start, End and Follow.
  np.testing.assert_allclose(found.stage_shares * 36, [36 - 12, 3, 3, 0, 3, 3])


def test_overlaps_and_contexts():
  found = label_statistics.label_statistics(
    # The Follow of [4, 6) reaches 7, the Ready of [6.5, 6.6) only 6.45.
    [video('a', 30, [[4, 6], [6.5, 6.6], [10, 14], [13, 15], [20, 21]])],
    10,
  )
  assert found.num_overlapping == 2
  assert found.num_context == 3


def test_past_end_and_without_instances():
  found = label_statistics.label_statistics(
    [video('a', 5, [[7, 8], [4, 9]])], 5
  )
  assert found.num_past_end == 1
  assert found.inside == pytest.approx(1 / 5)
  empty = label_statistics.label_statistics([video('a', 5, [])], 5)
  assert np.isnan(empty.instance_sec).all()
  np.testing.assert_array_equal(empty.stage_shares, [1, 0, 0, 0, 0, 0])
  assert label_statistics.suggest([video('a', 5, [])], 5) is None
  assert 'nan' in label_statistics.format_table([empty])
  assert label_statistics.format_labels(empty) == '(no instances)'


def test_bad_calls():
  with pytest.raises(ValueError, match='no videos'):
    label_statistics.label_statistics([], 5)
  with pytest.raises(ValueError, match='positive'):
    label_statistics.label_statistics([video('a', 5, [])], 0)


def test_hours_at_a_high_rate_are_thinned_out(monkeypatch):
  monkeypatch.setattr(label_statistics, '_STAGE_WORK', 1000)
  videos = [video('a', 1000, [[100, 400]]), video('b', 10, [[2, 3]])]
  thinned = label_statistics.label_statistics(videos, 50).stage_shares
  monkeypatch.setattr(label_statistics, '_STAGE_WORK', 10**9)
  full = label_statistics.label_statistics(videos, 50).stage_shares
  np.testing.assert_allclose(thinned, full, atol=2e-3)


# Tenths, so that spans often touch exactly.
row = st.tuples(st.integers(0, 300), st.integers(1, 60)).map(
  lambda pair: (pair[0] / 4, (pair[0] + pair[1]) / 4)
)


@settings(max_examples=50)
@given(st.lists(row, min_size=1, max_size=12), st.sampled_from([0.5, 2, 3.125]))
def test_against_a_slow_reference(rows, rate):
  found = label_statistics.label_statistics([video('a', 100, rows)], rate)
  distinct = sorted(set(rows))
  centres = [(k + 0.5) / rate for k in range(int(100 * rate) + 9)]

  def meet(a, b):
    return a[0] < b[1] and b[0] < a[1]

  wide = [(s - (e - s) / 2, e + (e - s) / 2) for s, e in distinct]
  n = range(len(distinct))
  assert found.num_distinct == len(distinct)
  assert found.num_overlapping == sum(
    any(meet(distinct[i], distinct[j]) for j in n if j != i) for i in n
  )
  assert found.num_context == sum(
    any(meet(wide[i], distinct[j]) for j in n if j != i) for i in n
  )
  assert found.num_unseen == sum(
    not any(s <= c < e for c in centres) for s, e in distinct
  )
  assert found.num_short == sum((e - s) * rate < 3 for s, e in distinct)
  quarters = np.arange(400) / 4 + 0.125
  inside = np.mean([any(s <= q < e for s, e in distinct) for q in quarters])
  assert found.inside == pytest.approx(inside)
  labels = targets.stage_labels(np.array(rows), round(100 * rate), rate)
  np.testing.assert_allclose(
    found.stage_shares, [(labels == k).mean() for k in range(6)]
  )


def test_suggestion():
  videos = [video('a', 1000, [[k * 10, k * 10 + 4.0] for k in range(100)])]
  found = label_statistics.suggest(videos, 5)
  assert found.min_feature_fps == pytest.approx(0.75)
  assert found.feature_fps == pytest.approx(6)
  assert found.window_sec == pytest.approx(16)
  assert found.window_snippets == 80
  assert 'too few' in label_statistics.format_suggestion(found, 0.5)
  assert 'pool 5 into one' in label_statistics.format_suggestion(found, 30)
  assert len(label_statistics.format_suggestion(found, 5).splitlines()) == 2


def test_half_overlapping_windows_hold_what_is_promised():
  rng = np.random.default_rng(0)
  starts = rng.uniform(0, 900, 200)
  lengths = rng.exponential(5, 200) + 0.5
  rows = np.stack([starts, starts + lengths], axis=1)
  window = label_statistics.suggest([video('a', 1000, rows)], 1).window_sec
  spans = np.stack([starts - lengths / 2, starts + 1.5 * lengths], axis=1)
  windows = np.arange(-100, 1200, window / 2)
  held = ((windows <= spans[:, :1]) & (spans[:, 1:] <= windows + window)).any(
    axis=1
  )
  assert held.mean() >= 0.95


def test_by_subset_and_the_tables():
  both = data(
    video('a', 10, [[1, 2]], ['x']),
    video('b', 10, [[1, 2], [3, 4]], ['y', 'y'], 'testing'),
  )
  groups = label_statistics.by_subset(both, 2)
  assert [g.name for g in groups] == ['training', 'testing', 'all']
  assert [g.num_instances for g in groups] == [1, 2, 3]
  lines = label_statistics.format_table(groups).splitlines()
  assert lines[0].split() == ['training', 'testing', 'all']
  assert len({len(line) for line in lines}) == 1
  assert lines[1].split() == ['videos', '1', '1', '2']
  assert label_statistics.format_labels(groups[2]) == 'y  2\nx  1'
  one = label_statistics.by_subset(data(video('a', 10, [[1, 2]])), 2)
  assert [g.name for g in one] == ['training']


def test_real_thumos14(real_data):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', activitynet.AnnotationWarning)
    read = importers.thumos14(real_data('thumos14'))
  _, test, both = label_statistics.by_subset(
    read, label_statistics.PAPER_FEATURE_FPS
  )
  # 43 % of the test instances reach into another with their context.
  assert test.num_context / test.num_distinct == pytest.approx(0.433, abs=5e-4)
  assert (test.num_instances, both.num_instances) == (3457, 6553)
  assert both.stage_shares.sum() == pytest.approx(1)
  assert (both.stage_shares[1:] > 0.08).all()
  assert (both.stage_shares[1:] < 0.11).all()
  assert 0.05 < test.num_short / test.num_distinct < 0.1
