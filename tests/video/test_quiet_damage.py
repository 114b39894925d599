"""Damage that FFmpeg passes over is told; what only looks like it is read."""

import concurrent.futures
import logging

import av.logging
import numpy as np
import pytest

from cmsn_jax.video import decoding, quiet_damage
from tests.video import made_videos

_VP9 = {
  'codec': 'libvpx-vp9',
  'options': {'deadline': 'realtime', 'cpu-used': '8', 'g': '25'},
}
_VP8 = {'codec': 'libvpx', 'options': {'deadline': 'realtime', 'g': '25'}}


def _flip(path, seed, first=0.1, last=0.9, count=10):
  """Changes single bits between two places, as shares of the file."""
  data = bytearray(path.read_bytes())
  rng = np.random.default_rng(seed)
  for at in rng.integers(int(first * len(data)), int(last * len(data)), count):
    data[at] ^= 1 << rng.integers(8)
  path.write_bytes(data)


@pytest.mark.parametrize('suffix', ['webm', 'mkv', 'mp4'])
def test_broken_bits_of_vp9(tmp_path, suffix):
  """The decoder of FFmpeg shows other pictures and says nothing."""
  whole = made_videos.make(tmp_path / f'whole.{suffix}', noise=20, **_VP9)
  data = whole.read_bytes()
  for seed in range(6):
    path = tmp_path / f'a{seed}.{suffix}'
    path.write_bytes(data)
    _flip(path, seed, first=0.4)
    with pytest.raises(decoding.VideoError, match=f'a{seed}.*allow_damage'):
      decoding.read(path)
    with pytest.warns(decoding.VideoWarning, match='what is there is read'):
      found = made_videos.indices(path, allow_damage=True)
    assert found[:9] == list(range(9))


def test_what_is_left_of_vp9_is_shown_before_the_next_key_frame(tmp_path):
  options = {**_VP9['options'], 'g': '999'}
  path = made_videos.make(
    tmp_path / 'a.webm', codec='libvpx-vp9', options=options, noise=20
  )
  whole = decoding.read(path, size=None)
  _flip(path, 3, first=0.5, last=0.6, count=3)
  with pytest.warns(decoding.VideoWarning, match='cannot be decoded'):
    left = decoding.read(path, size=None, allow_damage=True)
  assert len(left) == len(whole)
  moves = np.abs(np.diff(left[30:].astype(int), axis=0)).mean((1, 2, 3))
  assert (moves > 0).all()  # not one picture standing still


@pytest.mark.parametrize('kind', [_VP8, _VP9, {'options': {'g': '25'}}])
def test_a_block_that_is_lost(tmp_path, kind):
  path = made_videos.make(
    tmp_path / 'a.mkv', container_options={'cluster_time_limit': '400'}, **kind
  )
  data = bytearray(path.read_bytes())
  with av.open(str(path)) as container:
    packets = [bytes(p) for p in container.demux(video=0) if p.size]
  at = data.index(packets[20][:24]) - 4  # track, two bytes of time, flags
  assert data[at] == 0x81
  data[at] = 0xA1
  path.write_bytes(data)
  with pytest.raises(
    decoding.VideoError,
    match=r'a part of it cannot be read \(Invalid track number 33\).*allow_dam',
  ):
    decoding.read(path)
  with pytest.warns(decoding.VideoWarning, match='Invalid track number 33'):
    found = made_videos.indices(path, allow_damage=True)
  # What lies in the same cluster is lost with it; then it goes on.
  assert len(found) == 50 and found[:10] == list(range(10))


@pytest.mark.parametrize('share', [0.5, 0.98])
def test_a_page_whose_sum_is_wrong(tmp_path, share):
  """Its pictures are left out: the last page's, too."""
  path = made_videos.make(tmp_path / 'a.ogv', noise=20, **_VP8)
  data = bytearray(path.read_bytes())
  data[int(share * len(data))] ^= 4
  path.write_bytes(data)
  with pytest.raises(decoding.VideoError, match='CRC mismatch.*allow_damage'):
    decoding.read(path)
  with pytest.warns(decoding.VideoWarning, match='CRC mismatch'):
    found = made_videos.indices(path, allow_damage=True)
  assert 0 < len(found) <= 50 and found[0] == 0


@pytest.mark.parametrize('live', ['0', '1'])
@pytest.mark.parametrize('tail', [bytes(5000), b'\x81\xa3' * 900])
@pytest.mark.usefixtures('no_word')
def test_bytes_behind_the_end_are_no_damage(tmp_path, live, tail):
  path = made_videos.make(
    tmp_path / 'a.mkv', container_options={'live': live}, options={'g': '25'}
  )
  path.write_bytes(path.read_bytes() + tail)
  assert made_videos.indices(path) == list(range(50))


_SOUND = {
  'plain.webm': _VP9,
  'plain.mp4': _VP9,
  'plain.ivf': _VP9,
  'hidden.webm': {
    'codec': 'libvpx-vp9',
    'options': {'auto-alt-ref': '1', 'lag-in-frames': '16', 'cpu-used': '5'},
  },
  'ten_bits.webm': {'codec': 'libvpx-vp9', 'pixel_format': 'yuv420p10le'},
  'full.webm': {'codec': 'libvpx-vp9', 'pixel_format': 'yuv444p'},
  'alpha.webm': {
    'codec': 'libvpx-vp9',
    'pixel_format': 'yuva420p',
    'options': {'auto-alt-ref': '0'},
  },
}


@pytest.mark.parametrize('name', _SOUND)
@pytest.mark.usefixtures('no_word')
def test_the_strict_decoder_shows_the_same(tmp_path, monkeypatch, name):
  path = tmp_path / name
  try:
    made_videos.make(path, num_frames=150, **_SOUND[name])
  except av.FFmpegError:
    pytest.skip('this FFmpeg cannot write it')
  assert made_videos.indices(path) == list(range(150))
  # From the key frame before it, in a decoder that was used already.
  assert made_videos.indices(path, start_frame=140) == list(range(140, 150))
  found, info = decoding.read(path), decoding.probe(path)
  monkeypatch.setattr(quiet_damage, 'strict_decoder', lambda stream: None)
  np.testing.assert_array_equal(decoding.read(path), found)
  assert decoding.probe(path).duration_sec == info.duration_sec


def test_two_files_at_once_are_told_apart(tmp_path):
  good = made_videos.make(tmp_path / 'good.ogv', **_VP8)
  bad = tmp_path / 'bad.ogv'
  bad.write_bytes(good.read_bytes())
  _flip(bad, 0)

  def read(path):
    try:
      return len(decoding.read(path, size=(8, 8)))
    except decoding.VideoError as error:
      return str(error)

  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = list(pool.map(read, [good, bad] * 12))
  assert found[::2] == [50] * 12
  assert all('CRC mismatch' in message for message in found[1::2])
  # Whoever uses PyAV beside us finds it as it was.
  assert av.logging.get_level() is None


def test_lines_of_a_library_are_heard_where_its_user_shows_them(
  tmp_path, caplog
):
  path = made_videos.make(tmp_path / 'a.ogv', **_VP8)
  _flip(path, 0)
  av.logging.set_level(av.logging.WARNING)
  try:
    with caplog.at_level(logging.WARNING), pytest.raises(decoding.VideoError):
      decoding.read(path)
    assert av.logging.get_level() == av.logging.WARNING
  finally:
    av.logging.set_level(None)
