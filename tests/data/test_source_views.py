import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.data import source_views


class Rows:
  """Random rows of one video, and what was read of them."""

  feature_fps = 5.0
  snippet_shape = (2,)

  def __init__(self, length):
    rows = np.random.default_rng(length).normal(size=(length, 2))
    self.rows, self.reads = rows.astype(np.float32), []

  def num_snippets(self, video_id):
    del video_id
    return len(self.rows)

  def read(self, video_id, start, stop):
    del video_id
    self.reads.append((start, stop))
    return self.rows[start:stop]


@given(st.integers(1, 20), st.sampled_from([1, 1.1, 1.5, 2, 2.75]), st.data())
def test_a_slowed_source_lies_on_the_clock_of_its_own(length, factor, data):
  source = Rows(length)
  slowed = source_views.Slowed(source, factor)
  assert slowed.feature_fps == 5.0 * factor
  total = slowed.num_snippets('a')
  # 1.1 times 10 is 11, whatever doubles say.
  assert total == -(-length * round(100 * factor) // 100)
  at = (np.arange(total) + 0.5) / factor
  expected = [np.interp(at, np.arange(length) + 0.5, x) for x in source.rows.T]
  whole = slowed.read('a', 0, total)
  np.testing.assert_allclose(whole, np.transpose(expected), atol=1e-5)
  start = data.draw(st.integers(0, total))
  stop = data.draw(st.integers(start, total + 3))
  np.testing.assert_allclose(
    slowed.read('a', start, stop), whole[start:stop], atol=1e-5
  )


def test_those_who_share_a_source_get_its_rows_and_read_them_once():
  source = Rows(10_000)
  shared = source_views.Shared(source)
  slowed = source_views.Slowed(shared, 1.5)
  alone = source_views.Slowed(source, 1.5).read('a', 0, 15_000)
  source.reads.clear()
  # Overlapping pieces, as of one who needs what is around them.
  for start in range(0, 10_000, 700):
    np.testing.assert_array_equal(
      shared.read('a', max(0, start - 60), start + 760),
      source.rows[max(0, start - 60) : start + 760],
    )
    slow = max(0, start * 3 // 2 - 60), start * 3 // 2 + 1110
    np.testing.assert_array_equal(slowed.read('a', *slow), alone[slice(*slow)])
  assert source.reads == [
    (start, min(start + 2048, 10_000)) for start in range(0, 10_000, 2048)
  ]


def test_a_shared_source_keeps_no_more_than_its_last_rows():
  source = Rows(40_960)
  shared = source_views.Shared(source)
  for start in range(0, 40_960, 2048):
    shared.read('a', start, start + 2048)
  shared.read('a', 40_000, 40_960)
  assert len(source.reads) == 20
  shared.read('a', 0, 10)
  assert source.reads[20:] == [(0, 2048)]


def test_nothing_is_asked_of_a_shared_source():
  shared = source_views.Shared(Rows(5))
  assert shared.read('a', 3, 3).shape == (0, 2)
  assert shared.read('a', 7, 9).shape == (0, 2)
