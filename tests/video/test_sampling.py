"""Resampling by timestamps and cutting into windows, by hand and by search."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.video import sampling


def constant(rate, n):
  return np.arange(n) / rate, n / rate


@pytest.mark.parametrize('rate', [10.0, 24.0, 25.0, 29.97, 30.0, 59.94, 120.0])
def test_same_rate_is_the_identity_even_with_rounded_times(rate):
  times, duration = constant(rate, 500)
  for rounded in (times, np.round(times, 3)):
    found = sampling.source_frames(rounded, duration, rate)
    assert np.array_equal(found, np.arange(500))


def test_by_hand():
  # Middles at .02 .06 .10 .14 .18 .22; a frame must have begun before them.
  assert sampling.source_frames(*constant(30, 6), 25.0).tolist() == [
    0,
    1,
    2,
    4,
    5,
  ]
  assert sampling.source_frames(*constant(50, 6), 25.0).tolist() == [
    0,
    2,
    4,
  ]
  assert sampling.source_frames(*constant(12.5, 3), 25.0).tolist() == [
    0,
    0,
    1,
    1,
    2,
    2,
  ]


def test_variable_rate_follows_the_clock():
  times = np.array([0.0, 0.01, 0.02, 0.5, 0.55])
  found = sampling.source_frames(times, 0.7, 10.0)
  # Middles: .05 .15 .25 .35 .45 .55 .65; .55 begins too late for its own.
  assert found.tolist() == [2, 2, 2, 2, 2, 3, 4]


@given(
  gaps=st.lists(st.integers(0, 400), min_size=1, max_size=40),
  fps=st.sampled_from([5.0, 10.0, 12.5, 25.0, 30.0]),
  start=st.integers(0, 30),
  length=st.none() | st.integers(0, 60),
)
def test_streaming_equals_the_search(gaps, fps, start, length):
  # A last frame that lasts no longer than the tolerance is not counted on.
  hypothesis.assume(gaps[-1] / 1000 > sampling.TOLERANCE_SEC)
  # Times on an odd grid, so that none falls on a middle less the tolerance.
  times = np.cumsum([0, *gaps[:-1]]) * np.sqrt(2) / 1000
  duration = float(times[-1] + gaps[-1] / 1000)
  expected = sampling.source_frames(times, duration, fps)
  stop = None if length is None else start + length
  ends = np.append(times[1:], duration)
  # Begin with the frame on display at `start`, as after a seek.
  first = int(expected[start]) if start < len(expected) else 0
  timed = [(times[i], ends[i], i) for i in range(first, len(times))]
  found = list(sampling.resample(timed, fps, start, stop))
  assert [k for k, _ in found] == list(range(len(expected)))[start:stop]
  assert [i for _, i in found] == expected[start:stop].tolist()


def test_nothing_in_nothing_out():
  assert not list(sampling.resample([], 25.0))


@given(
  num_frames=st.integers(1, 60),
  window=st.integers(1, 20),
  hop=st.integers(1, 20),
  sizes=st.lists(st.integers(1, 17), min_size=60, max_size=60),
)
def test_windows_equal_slices(num_frames, window, hop, sizes):
  hop = min(hop, window)
  source = np.arange(1, num_frames + 1)[:, None]
  chunks = np.split(source, np.cumsum(sizes)[:-1])
  found = list(sampling.assemble_windows(chunks, window, hop))
  starts = sampling.window_starts(num_frames, window, hop)
  assert [start for start, _, _ in found] == starts.tolist()
  for start, count, frames in found:
    assert frames.shape == (window, 1)
    assert np.array_equal(frames[:count], source[start : start + window])
    assert (frames[count:] == 0).all()
  # Everything is covered, and no window is wholly inside the one before.
  assert found[-1][0] + found[-1][1] == num_frames
  if len(found) > 1:
    assert found[-2][0] + window < num_frames
  # Nobody else holds the arrays: writing to one changes no other.
  assert len({id(frames) for _, _, frames in found}) == len(found)


def test_windows_of_nothing():
  assert not list(sampling.assemble_windows([], 4, 2))


def test_bad_hop():
  with pytest.raises(ValueError, match='hop_frames must be in'):
    list(sampling.assemble_windows([], 4, 5))
