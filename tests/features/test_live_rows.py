import numpy as np

from cmsn_jax.features import live_rows, video_features
from tests.proposing import index_backbone
from tests.video import made_videos

_FEATURES = video_features.VideoFeatures(index_backbone.build(None))


def _frames(*spans):
  """Chunks of frames of the spans, at most 8 each."""
  for start, stop in spans:
    for first in range(start, stop, 8):
      last = min(first + 8, stop)
      images = [made_videos.picture(k) for k in range(first, last)]
      yield first, np.stack(images)


def _pictures(rows):
  """The picture that each row was made of."""
  return [index_backbone.index_of(row) for row in np.concatenate(list(rows))]


def test_frames_without_a_gap_give_the_rows_of_a_file(tmp_path):
  made_videos.make(tmp_path / 'v.mp4', num_frames=100)
  offline = _FEATURES.extract(tmp_path / 'v.mp4')
  rows = live_rows.LiveRows(_FEATURES, _frames((0, 100)))
  assert _pictures(rows) == _pictures([offline]) == list(range(2, 100, 5))
  assert rows.held == 0


def test_where_frames_are_missing_the_row_before_stands_for_them():
  # 23 frames: 4 rows and a begun one; then 41 to 59, of which 45 is the first
  # that begins a row; 70 and 71 are too few for one.
  rows = live_rows.LiveRows(
    _FEATURES, _frames((0, 23), (41, 60), (71, 74), (80, 90))
  )
  assert _pictures(rows) == [
    2, 7, 12, 17, 22,  # up to 25 frames
    22, 22, 22, 22,  # missing
    47, 52, 57,  # from 45
    57, 57, 57, 57,  # 60 to 80: nothing whole
    82, 87,
  ]  # fmt: skip
  assert rows.held == 8


def test_what_is_missing_at_the_beginning_is_the_first_row():
  rows = live_rows.LiveRows(_FEATURES, _frames((12, 30)))
  assert _pictures(rows) == [17, 17, 17, 17, 22, 27]
  assert list(live_rows.LiveRows(_FEATURES, iter(()))) == []


def test_rows_come_before_later_frames_do():
  arrived = 0

  def frames():
    nonlocal arrived
    for first, chunk in _frames((0, 200)):
      arrived = first + len(chunk)
      yield first, chunk

  for count, rows in enumerate(live_rows.LiveRows(_FEATURES, frames()), 1):
    del rows
    # Calls of two rows, one in flight, and chunks of eight frames.
    assert arrived <= count * 10 + 10 + 2 * 8
