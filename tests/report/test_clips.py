"""Clips hold the frames of their segments, no other ones."""

import dataclasses

import numpy as np
import pytest

from cmsn_jax.report import captions, clips, contact_sheet, palette
from cmsn_jax.video import decoding
from tests.video import made_videos

_SIZE = 240, 400


def _video(folder, **options):
  made_videos.make(folder / 'a.mp4', **options)
  return decoding.probe(folder / 'a.mp4')


def _clip(start, end, **more):
  return clips.Clip('a', 1, start, end, 0.5, **more)


def _indices(frames):
  return [made_videos.index_of(frame[: _SIZE[0]]) for frame in frames]


@pytest.mark.parametrize(
  ('start', 'end', 'expected'),
  [
    (0.0, 0.4, range(10)),
    (0.4, 0.8, range(10, 20)),
    # Frame 9 is shown during [.36, .40): its middle, .38, is inside.
    (0.37, 0.43, range(9, 11)),
    (0.39, 0.41, range(10, 11)),
    # At least one, also of a segment of no length, or far too long.
    (0.5, 0.5, range(12, 13)),
    (1.8, 9.0, range(45, 50)),
  ],
)
def test_the_frames_are_those_of_the_segment(tmp_path, start, end, expected):
  info = _video(tmp_path)
  found = list(clips.frames(_clip(start, end), info, _SIZE))
  assert _indices(found) == list(expected)
  assert clips.frame_span(start, end, info) == (expected[0], expected[-1] + 1)


def test_times_computed_from_frames_are_not_a_frame_off(tmp_path):
  info = dataclasses.replace(
    _video(tmp_path), fps=30000 / 1001, duration_sec=4000.0
  )
  for k in range(0, 100_000, 37):
    span = clips.frame_span(k * 1001 / 30000, (k + 5) * 1001 / 30000, info)
    assert span == (k, k + 5)


def test_time_zero_is_the_players_and_the_rate_may_vary(tmp_path):
  # Frames at .5, 1.0, 1.1, 1.2 s: the second is shown until 1.1 s.
  times = [0.0, 0.5, 0.6, 0.7, 1.2]
  info = _video(tmp_path, num_frames=5, times_sec=times)
  found = list(clips.frames(_clip(0.5, 0.6), info, _SIZE, fps=50))
  assert set(_indices(found)) == {1}
  found = list(clips.frames(_clip(0.6, 1.2), info, _SIZE, fps=50))
  assert _indices(found) == [2] * 5 + [3] * 25


def test_context_is_marked_apart(tmp_path):
  info = _video(tmp_path)
  clip = _clip(0.8, 1.2, colour='#00ff00')
  found = list(clips.frames(clip, info, _SIZE, context_sec=0.4))
  assert _indices(found) == list(range(10, 40))
  # The last row says which third is the segment; the needle is white.
  row = found[0][-1].astype(int)
  inside = (row == (0, 255, 0)).all(axis=1)
  third = _SIZE[1] / 3
  assert np.flatnonzero(inside)[[0, -1]] == pytest.approx(
    [third, 2 * third], abs=2
  )


def test_another_aspect_gets_black_edges(tmp_path):
  info = _video(tmp_path)  # 160 x 96
  (frame, *_) = clips.frames(_clip(0, 0.2), info, (240, 600), captioned=False)
  assert frame.shape == (240, 600, 3)
  assert not frame[:, :90].any() and not frame[:, -90:].any()
  assert frame[:, 105:120].any()


def test_a_segment_behind_the_end_is_an_error(tmp_path):
  info = _video(tmp_path)
  with pytest.raises(ValueError, match=r'ends at 2\.00 s, before the segment'):
    list(clips.frames(_clip(2.5, 3.0), info, _SIZE))


def test_a_film_of_a_clip_plays_those_frames(tmp_path):
  info = _video(tmp_path)
  count = clips.write(tmp_path / 'c.mp4', _clip(0.4, 0.8), info)
  written = decoding.probe(tmp_path / 'c.mp4')
  assert count == written.num_frames == 10
  # 96 rows are enlarged, and a band goes below.
  assert (written.height, written.width) == (240 + 18, 400)
  film = decoding.read(tmp_path / 'c.mp4', fps=25, size=None)
  assert _indices(film) == list(range(10, 20))


def test_a_montage_leaves_out_what_cannot_be_read(tmp_path):
  info = _video(tmp_path)
  failed = []

  def open_video(video_id):
    if video_id != 'a':
      raise ValueError('not there')
    return info

  chosen = [
    _clip(0.0, 0.2), dataclasses.replace(_clip(0, 1), video_id='b'),
    _clip(1.0, 1.4), _clip(5.0, 6.0),
  ]  # fmt: skip
  count = clips.write_montage(
    tmp_path / 'm.mp4', chosen, open_video, size=_SIZE, fps=25,
    on_error=lambda *error: failed.append(error),
  )  # fmt: skip
  assert count == 2
  assert [name for name, _ in failed] == ['b', 'a']
  film = decoding.read(tmp_path / 'm.mp4', fps=25, size=None)
  assert _indices(film) == [*range(5), *range(25, 35)]


def test_a_montage_of_nothing_is_no_file(tmp_path):
  count = clips.write_montage(
    tmp_path / 'm.mp4', [], lambda _: None, size=_SIZE, fps=25,
    on_error=lambda *_: None,
  )  # fmt: skip
  assert not count and not list(tmp_path.iterdir())


def test_the_sheet_shows_first_middle_and_last_frame(tmp_path):
  info = _video(tmp_path)
  chosen = [_clip(0.4, 0.84), _clip(1.0, 1.2)]
  image = np.array(contact_sheet.drawn(info, chosen, 'a'))
  left, top, width = 22, 78, 180
  first = [
    made_videos.index_of(
      image[top : top + 108, left + k * (width + 2) :][:, :width]
    )
    for k in range(3)
  ]
  assert first == [10, 15, 20]
  right = left + 3 * width + 4 + 18
  assert made_videos.index_of(image[top : top + 108, right:][:, :width]) == 25


def test_captions_say_what_is_shown_and_are_cut_where_too_long():
  clip = _clip(3599.96, 3723.4, label='Ärger')
  assert clip.caption == '#1  ·  Ärger  ·  1:00:00.0 – 1:02:03.4  ·  score 0.5'
  text = captions.shortened('word ' * 40, 100, 12)
  assert text.endswith('…')
  assert captions.font(12).getlength(text) <= 100


def test_colours_of_labels_are_distinct():
  found = [palette.of_label(k) for k in range(40)]
  assert len(set(found)) == 40
  assert found[:10] == list(palette.LABELS)
