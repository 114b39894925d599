"""Windows of any videos, scored in batches that run across videos."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.chains import windowed
from cmsn_jax.chains.paper import window_scores
from cmsn_jax.data import windows as windows_lib


class _Source:
  """Row i of a video is [i, number of the video]."""

  feature_fps = 5.0

  def __init__(self, lengths, broken=()):
    self.lengths, self.broken = lengths, broken
    self.reads = []

  def num_snippets(self, video_id):
    if video_id in self.broken:
      raise ValueError(f'{video_id} cannot be read')
    return self.lengths[video_id]

  def read(self, video_id, start, stop):
    self.reads.append((video_id, start, stop))
    if f'{video_id}@{start}' in self.broken:
      raise OSError(f'{video_id} ends at {start}')
    rows = np.arange(start, stop, dtype=np.float32)
    number = list(self.lengths).index(video_id)
    return np.stack([rows, np.full(len(rows), number, np.float32)], axis=1)


class _Encoder:
  """Probabilities are the rows themselves; keeps the shapes it saw."""

  def __init__(self):
    self.shapes = []

  def __call__(self, inputs, mask):
    self.shapes.append(inputs.shape)
    assert np.all(inputs[~mask] == 0)
    return np.repeat(inputs[..., :1], 6, axis=2), inputs * 2


def _scored(source, places, length=8, on_error=None):
  encode = _Encoder()
  found = list(
    window_scores.of_windows(encode, length, source, places, on_error)
  )
  return found, encode


def test_windows_keep_their_order_and_their_rows():
  source = _Source({'a': 20, 'b': 3})
  places = list(windowed.window_places(source, ['a', 'b'], 8, 4))
  found, encode = _scored(source, places)
  assert [(w.video_id, w.start) for w in found] == [
    ('a', 0), ('a', 4), ('a', 8), ('a', 12), ('b', 0)
  ]  # fmt: skip
  for window in found:
    rows = window.start + np.arange(len(window.probabilities))
    np.testing.assert_array_equal(window.probabilities[:, 0], rows)
    np.testing.assert_array_equal(window.hidden[:, 0], 2 * rows)
  # All in one call, padded to its full size.
  assert encode.shapes == [(8, 8, 2)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 8))
def test_every_snippet_is_in_a_window(lengths, hop):
  source = _Source({f'v{k}': n for k, n in enumerate(lengths)})
  places = list(windowed.window_places(source, source.lengths, 8, hop))
  for video_id, total in source.lengths.items():
    seen = np.zeros(total, int)
    for window in places:
      if window.video_id == video_id:
        assert 1 <= window.length <= 8
        seen[window.start : window.start + window.length] += 1
    assert np.all(seen >= 1)


def test_a_video_without_a_length_is_told_of_and_left_out():
  source = _Source({'a': 5, 'b': 5}, broken=('a',))
  told = []
  places = windowed.window_places(
    source, ['a', 'b'], 8, 4, lambda *what: told.append(what)
  )
  assert [window.video_id for window in places] == ['b']
  assert told == [('a', 'a cannot be read')]
  with pytest.raises(ValueError, match='a cannot be read'):
    list(windowed.window_places(source, ['a'], 8, 4))


def test_a_video_that_breaks_on_the_way_costs_the_others_nothing():
  source = _Source({'a': 20, 'b': 5}, broken=('a@8',))
  places = list(windowed.window_places(source, ['a', 'b'], 8, 4))
  told = []
  found, _ = _scored(source, places, on_error=lambda *what: told.append(what))
  assert [(w.video_id, w.start) for w in found] == [
    ('a', 0), ('a', 4), ('b', 0)
  ]  # fmt: skip
  assert told == [('a', 'a ends at 8')]
  # Nothing more is read of it.
  assert not [start for name, start, _ in source.reads if name == 'a'][3:]
  with pytest.raises(OSError, match='ends at 8'):
    _scored(source, places)


def test_no_windows_no_call():
  found, encode = _scored(_Source({}), [])
  assert found == [] and encode.shapes == []


def test_more_windows_than_a_call_takes():
  source = _Source({'a': 100})
  places = list(windowed.window_places(source, ['a'], 8, 4))
  found, encode = _scored(source, places)
  assert len(found) == len(places) == 24
  assert encode.shapes == [(8, 8, 2)] * 3


def test_frames_are_padded_by_whole_snippets():
  class Video(_Source):
    def read(self, video_id, start, stop):
      return np.ones(((stop - start) * 4, 5, 5, 3), np.uint8)

  shapes = []

  def encode(inputs, mask):
    shapes.append((inputs.shape, mask.sum(axis=1).tolist()))
    assert np.all(inputs[1, 12:] == 0)
    return np.zeros((*mask.shape, 6)), np.zeros((*mask.shape, 2))

  places = [windows_lib.Window('a', 0, 8), windows_lib.Window('a', 8, 3)]
  found = list(window_scores.of_windows(encode, 8, Video({'a': 11}), places))
  assert [len(w.hidden) for w in found] == [8, 3]
  assert shapes == [((8, 32, 5, 5, 3), [8, 3, 0, 0, 0, 0, 0, 0])]


@given(
  st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 8)), min_size=1, max_size=6
  ),
  st.integers(0, 2**32 - 1),
)
def test_stitching_averages_as_a_plain_loop_does(places, seed):
  rng = np.random.default_rng(seed)
  found = [
    window_scores.WindowScores(
      'a',
      start,
      rng.uniform(size=(length, 6)).astype(np.float32),
      rng.normal(size=(length, 3)).astype(np.float32),
    )
    for start, length in places
  ]
  total = 20
  whole = window_scores.stitch(found, total)
  assert whole.start == 0 and whole.probabilities.shape == (total, 6)
  for t in range(total):
    here = [w for w in found if w.start <= t < w.start + len(w.probabilities)]
    for name in ('probabilities', 'hidden'):
      rows = [getattr(w, name)[t - w.start] for w in here]
      expected = np.mean(rows, axis=0) if rows else 0.0
      np.testing.assert_allclose(getattr(whole, name)[t], expected, atol=1e-5)
