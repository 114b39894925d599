"""Films that are written: every frame in its place, in its colour."""

import av
import numpy as np
import pytest

from cmsn_jax.video import decoding, encoding
from tests.video import made_videos


def _write(path, count, fps=25, size=(96, 160)):
  with encoding.writer(path, fps, size) as add:
    for index in range(count):
      add(made_videos.picture(index, *size))


@pytest.mark.parametrize('fps', [25, 30000 / 1001, 12.5])
def test_frames_come_back_in_order_at_the_rate(tmp_path, fps):
  _write(tmp_path / 'a.mp4', 40, fps)
  info = decoding.probe(tmp_path / 'a.mp4')
  assert info.num_frames == 40
  assert info.fps == pytest.approx(fps, rel=1e-6)
  assert info.start_sec == 0
  frames = decoding.read(tmp_path / 'a.mp4', fps=fps, size=None)
  assert [made_videos.index_of(frame) for frame in frames] == list(range(40))
  assert made_videos.is_upright(frames[0])


def test_an_odd_size_gets_a_row_and_a_column(tmp_path):
  _write(tmp_path / 'a.mp4', 3, size=(95, 161))
  info = decoding.probe(tmp_path / 'a.mp4')
  assert (info.height, info.width) == (96, 162)


def test_colours_stay_as_they_were(tmp_path):
  colours = [(200, 30, 30), (30, 160, 60), (40, 60, 200), (250, 250, 250)]
  image = np.repeat(
    np.array(colours, np.uint8)[None].repeat(64, axis=0), 32, axis=1
  )
  with encoding.writer(tmp_path / 'a.mp4', 10, image.shape[:2]) as add:
    for _ in range(5):
      add(image)
  found = decoding.read(tmp_path / 'a.mp4', fps=10, size=None)[2]
  middles = found[32, 16::32].astype(int)
  assert np.abs(middles - colours).max() <= 4
  with av.open(str(tmp_path / 'a.mp4')) as container:
    context = container.streams.video[0].codec_context
    assert (context.colorspace, context.color_range) == (1, 1)


def test_a_failure_leaves_the_old_film_and_nothing_else(tmp_path):
  _write(tmp_path / 'a.mp4', 3)
  before = (tmp_path / 'a.mp4').read_bytes()
  with pytest.raises(RuntimeError, match='on purpose'):
    with encoding.writer(tmp_path / 'a.mp4', 25, (96, 160)) as add:
      add(made_videos.picture(1))
      raise RuntimeError('on purpose')
  assert (tmp_path / 'a.mp4').read_bytes() == before
  assert [file.name for file in tmp_path.iterdir()] == ['a.mp4']


@pytest.mark.parametrize(
  ('fps', 'size', 'message'),
  [
    (0, (96, 160), 'fps must be in'),
    (25, (1, 160), 'size must be'),
    (25, (96, 100), 'a frame must have shape'),
  ],
)
def test_what_cannot_be_is_refused(tmp_path, fps, size, message):
  with pytest.raises(ValueError, match=message):
    with encoding.writer(tmp_path / 'a.mp4', fps, size) as add:
      add(made_videos.picture(0))
  assert not list(tmp_path.iterdir())
