import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.data import windows


@pytest.mark.parametrize(
  ('total', 'length', 'hop', 'expected'),
  [
    (1, 8, 4, [0]),
    (8, 8, 4, [0]),
    (9, 8, 4, [0, 4]),
    (12, 8, 4, [0, 4]),
    (13, 8, 4, [0, 4, 8]),
    (20, 8, 8, [0, 8, 16]),
  ],
)
def test_window_starts_by_hand(total, length, hop, expected):
  assert windows.window_starts(total, length, hop) == expected


@given(st.integers(1, 300), st.integers(1, 40), st.data())
def test_windows_cover_a_video_and_none_is_needless(total, length, data):
  hop = data.draw(st.integers(1, length))
  starts = windows.window_starts(total, length, hop)
  covered = np.zeros(total, bool)
  for start in starts:
    covered[start : start + length] = True
  assert covered.all()
  assert all(start + length < total for start in starts[:-1])
  assert starts[-1] < total


def test_hop_beyond_the_window_is_an_error():
  with pytest.raises(ValueError, match=r'hop must be within \[1, 8\], got 9'):
    windows.window_starts(20, 8, 9)


def test_training_windows_keep_those_with_part_of_an_instance():
  found = windows.training_windows(
    {'a': 20, 'b': 6},
    {'a': np.array([[8.5, 9.5]]), 'b': np.array([[0.0, 1.0]])},
    2.0,
    length=8,
    hop=4,
  )
  assert found == [
    windows.Window('a', 12, 8),
    windows.Window('b', 0, 6),
  ]


def test_no_instance_anywhere_is_an_error():
  with pytest.raises(ValueError, match='no training window'):
    windows.training_windows(
      {'a': 20}, {'a': np.zeros((0, 2))}, 2.0, length=8, hop=4
    )


def _loader(count=7, batch_size=4, **kwargs):
  def read(window, rng):
    return {
      'start': np.int32(window.start),
      'noise': np.float32(rng.uniform()),
    }

  items = [windows.Window('v', i, 1) for i in range(count)]
  return windows.WindowLoader(
    read, items, batch_size=batch_size, seed=3, **kwargs
  )


def test_every_epoch_visits_every_window_once_in_a_new_order():
  loader = _loader(count=6, batch_size=3)
  epochs = [
    np.concatenate(
      [loader.batch(2 * e)['start'], loader.batch(2 * e + 1)['start']]
    )
    for e in range(4)
  ]
  for epoch in epochs:
    assert sorted(epoch) == list(range(6))
  assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_batch_is_a_function_of_its_step():
  ahead = [_loader().batch(step) for step in range(9)]
  for step in (8, 0, 5):
    again = _loader().batch(step)
    for name in again:
      np.testing.assert_array_equal(again[name], ahead[step][name])


def test_processes_share_a_batch():
  whole = _loader().batch(3)
  parts = [_loader(process_index=i, process_count=2).batch(3) for i in range(2)]
  for name in whole:
    joined = np.concatenate([part[name] for part in parts])
    np.testing.assert_array_equal(joined, whole[name])


def test_batch_size_must_divide():
  with pytest.raises(ValueError, match='divisible by the 3 processes, got 4'):
    _loader(process_count=3)


def test_prefetched_keeps_order_and_raises_what_the_thread_raised():
  assert list(windows.prefetched(lambda step: step, 3, 9)) == [*range(3, 9)]

  def fail(step):
    if step == 2:
      raise ValueError('bad file')
    return step

  with pytest.raises(ValueError, match='bad file'):
    list(windows.prefetched(fail, 0, 5))


def test_prefetched_ends_its_thread_when_left_early():
  before = threading.active_count()
  stream = windows.prefetched(lambda step: step, 0, 10**6)
  next(stream)
  stream.close()
  assert threading.active_count() == before


def test_pad():
  padded = windows.pad(np.ones((2, 3), np.int16), 4)
  assert padded.dtype == np.int16
  np.testing.assert_array_equal(padded.sum(axis=1), [3, 3, 0, 0])
  with pytest.raises(ValueError, match='length 2 is longer than 1'):
    windows.pad(np.ones(2), 1)


def test_hop_of_an_overlap():
  assert windows.hop_snippets(96, 0.5) == 48
  assert windows.hop_snippets(96, 0) == 96
  assert windows.hop_snippets(2, 0.99) == 1
  for overlap in (1.0, -0.1):
    with pytest.raises(ValueError, match=r'overlap must be within \[0, 1\)'):
      windows.hop_snippets(96, overlap)
