"""The video suite's rows on small files, with and without the alternatives."""

import numpy as np
import pytest

from launch.benchmarks import decode, video


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  path = tmp_path_factory.mktemp('video') / 'made.mp4'
  decode.render(path, 12, video._SOURCE, 25)
  return path


def test_decoding(made):
  row = video._decoding(made, 0.48, 1)
  assert row['ours_s'] > 0 and 'times real time a core' in row['note']
  if row['alternative'] is None:
    assert 'OpenCV is not installed' in row['note'] and row['ratio'] is None
  else:
    assert row['ratio'] > 0


def test_extraction_and_clips(made, monkeypatch):
  monkeypatch.setattr(video.torch_backbones, 'torch', None)
  # Small enough to compile quickly.
  monkeypatch.setitem(video._SETTINGS, 'small', (32, 32, 12.5))
  section = video.features.i3d

  def narrow(resize, crop):
    config = section(resize, crop)
    config.features.width = 0.0625
    return config

  monkeypatch.setattr(video.features, 'i3d', narrow)
  row = video._extraction(made, 'small', 0.48, 1)
  assert row['work'] == 'small, 0.48 s of 720p'
  assert 'torch is not installed' in row['note'] and row['ratio'] is None
  row = video._clips(([made, made], 24), video._SETTINGS['small'], 1)
  assert row['work'].startswith('2 clips') and row['ours_s'] > 0


def test_opencv_takes_every_second_frame(made):
  cv2, missing = video._opencv()
  if missing:
    pytest.skip(missing)
  whole = np.concatenate(list(video._cv_frames(cv2, made, (36, 64), 25.0)))
  half = np.concatenate(list(video._cv_frames(cv2, made, (36, 64), 12.5)))
  np.testing.assert_array_equal(half, whole[::2])
