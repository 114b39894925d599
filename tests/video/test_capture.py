import socket
import subprocess
import time

import numpy as np
import pytest

from cmsn_jax.video import capture, decoding, video_files
from tests.video import made_videos

_SIZE = made_videos.HEIGHT, made_videos.WIDTH


@pytest.fixture(scope='module')
def video(tmp_path_factory):
  path = tmp_path_factory.mktemp('video') / 'v.mp4'
  made_videos.make(path, num_frames=100)
  return str(path)


def _indices(chunks):
  """Place on the clock -> picture."""
  return {
    first + k: made_videos.index_of(image)
    for first, chunk in chunks
    for k, image in enumerate(chunk)
  }


def test_a_file_gives_the_frames_of_the_decoder(video):
  with capture.Capture(video, fps=12.5, size=_SIZE) as frames:
    chunks = list(frames)
  offline = np.concatenate(list(decoding.frames(video, fps=12.5, size=_SIZE)))
  np.testing.assert_array_equal(np.concatenate([c for _, c in chunks]), offline)
  assert [first for first, _ in chunks] == list(range(0, len(offline), 8))
  assert frames.dropped == 0


def test_what_nobody_takes_is_dropped_and_the_rest_keeps_its_time(video):
  capturing = capture.Capture(
    video, fps=25.0, size=_SIZE, as_live=True, waiting_sec=0.7
  )
  start = time.monotonic()
  with capturing as frames:
    found = {}
    for chunk in frames:
      found |= _indices([chunk])
      if len(found) == 16:
        time.sleep(1.5)  # as a network that is too slow
  assert time.monotonic() - start > 3.0  # 4 s of video, at its own speed
  assert frames.dropped + len(found) == 100
  assert frames.dropped >= 16
  assert all(place == picture for place, picture in found.items())


def test_pictures_at_odd_times_become_frames_at_a_rate():
  # As DESIGN has it: frame k is on display at (k + 1/2) / fps.
  picture = lambda k: np.full((1, 1, 3), k, np.uint8)
  timed = [(at, picture(k)) for k, at in enumerate([0.0, 0.1, 0.26, 0.3, 9.0])]
  found = {
    first + k: int(image[0, 0, 0])
    for first, chunk in capture._chunks(timed, 10.0)
    for k, image in enumerate(chunk)
  }
  expected = {0: 0, 1: 1, 2: 1, **{k: 3 for k in range(3, 13)}, 90: 4}
  assert found == expected


def test_a_stream_of_the_network(video):
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  try:
    sender = subprocess.Popen(
      ['ffmpeg', '-v', 'error', '-i', video, '-c', 'copy', '-f', 'mpegts',
       f'tcp://127.0.0.1:{port}?listen'],
    )  # fmt: skip
  except FileNotFoundError:
    pytest.skip('ffmpeg is not installed')
  address, found = f'tcp://127.0.0.1:{port}', None
  try:
    for _ in range(100):
      try:
        with capture.Capture(
          address, fps=25.0, size=_SIZE, waiting_sec=60.0
        ) as frames:
          found = _indices(frames)
        break
      except video_files.VideoError:
        time.sleep(0.1)  # it does not listen yet
  finally:
    sender.kill()
    sender.wait()
  assert found == {k: k for k in range(100)} and not frames.dropped


def test_what_cannot_be_opened_is_said(tmp_path):
  for address in (
    str(tmp_path / 'none.mp4'), 'camera:/dev/no_such_camera',
    'tcp://127.0.0.1:9',
  ):  # fmt: skip
    with (
      capture.Capture(address, fps=25.0, size=_SIZE) as frames,
      pytest.raises((video_files.VideoError, FileNotFoundError)) as raised,
    ):
      list(frames)
    assert address in str(raised.value)
  assert capture.is_live('camera') and capture.is_live('rtsp://x')
  assert not capture.is_live('camera_2.mp4')
