"""The decode suite's rows on a small file."""

import pytest

from cmsn_jax.video import decoding
from launch.benchmarks import decode

_KEYS = {
  'suite',
  'work',
  'ours_s',
  'alternative',
  'alternative_s',
  'ratio',
  'note',
}


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  file = tmp_path_factory.mktemp('decode') / 'made.mp4'
  decode.render(file, 140)
  return file


def test_rendered_file(path):
  info = decoding.probe(path)
  assert (info.num_frames, info.height, info.width) == (140, 360, 640)


def test_rows(path, tmp_path):
  rows = [
    decode._against_opencv(path, 140, 1),
    decode._against_ffmpeg(path, 140, 1),
    decode._prefetch(path, 140),
    *decode._windows(path, tmp_path, 140, 1),
  ]
  for row in rows:
    assert set(row) == _KEYS and row['suite'] == 'decode'
    assert row['ours_s'] > 0
    assert (row['ratio'] is None) == (row['alternative_s'] is None)
    assert row['note']
  # Random windows are what the store is for.
  assert rows[-1]['ratio'] < 0.5


def test_without_the_alternatives(path, monkeypatch):
  monkeypatch.setattr(decode.shutil, 'which', lambda name: None)
  monkeypatch.setitem(__import__('sys').modules, 'cv2', None)
  for row in (
    decode._against_opencv(path, 140, 1),
    decode._against_ffmpeg(path, 140, 1),
  ):
    assert row['alternative_s'] is None and row['ratio'] is None
    assert 'no' in row['note'] and row['ours_s'] > 0
