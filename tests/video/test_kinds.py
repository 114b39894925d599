"""Files that play are read whole; files that were cut are noticed."""

import subprocess
import sys

import av
import numpy as np
import pytest

from cmsn_jax.video import decoding, file_ends
from tests.video import made_kinds, made_videos

pytestmark = pytest.mark.usefixtures('no_word')


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
  path = tmp_path_factory.mktemp('plain') / 'plain.mp4'
  return made_videos.make(path, num_frames=100, options={'g': '25'}, noise=20)


def packets(path):
  with av.open(str(path)) as container:
    return sum(packet.size > 0 for packet in container.demux(video=0))


class TestWhole:
  """Numbers of packets differ from those of frames, and nothing is wrong."""

  def test_empty_chunks_of_an_avi(self, tmp_path):
    times = made_kinds.gaps(tmp_path / 'a.avi')
    with av.open(str(tmp_path / 'a.avi')) as container:
      assert container.streams.video[0].frames > len(times)
    shown = np.searchsorted(times, np.arange(62) / 25 + 0.001) - 1
    assert made_videos.indices(tmp_path / 'a.avi') == shown.tolist()
    assert decoding.probe(tmp_path / 'a.avi').num_frames_at(25) == 62

  def test_pictures_of_two_fields(self, tmp_path):
    path = made_kinds.fields(tmp_path / 'a.mts', tmp_path)
    frames = decoding.read(path, size=None)
    # Brightness 16 to 235 is black to white.
    expected = (np.arange(50) * 2 * 255 / 219).round()
    assert np.abs(frames[:, 8, 8, 0] - expected).max() < 3
    assert decoding.probe(path).num_frames_at(25) == len(frames) == 50

  def test_hidden_frames(self, tmp_path):
    path = made_kinds.hidden_frames(tmp_path / 'a.webm', tmp_path)
    assert packets(path) > 100
    assert made_videos.indices(path) == list(range(100))

  def test_leading_pictures_of_a_cut(self, tmp_path):
    path = made_kinds.leading_pictures(tmp_path / 'a.mkv', tmp_path)
    found = made_videos.indices(path)
    assert packets(path) > len(set(found))
    assert found[-1] == 119 and found == sorted(found)
    assert set(found) >= set(range(found[0], 120))

  def test_a_capture_that_begins_between_key_frames(self, tmp_path):
    path = made_kinds.captured(tmp_path / 'a.ts', tmp_path)
    found = made_videos.indices(path)
    # The clock begins with the first packet, the picture with the key frame.
    assert found[0] == 25 and found[-1] == 99
    info = decoding.probe(path)
    late = round(25 * info.start_sec)
    assert 5 < late < 25
    assert found == [25] * late + list(range(25, 100))

  @pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'flv', 'ts', 'mov', 'avi'])
  def test_sound_outlasts_the_picture(self, tmp_path, plain, suffix):
    path = tmp_path / f'a.{suffix}'
    if suffix == 'avi':
      short = made_videos.make(tmp_path / 'b.avi', codec='mpeg4')
      made_kinds.copy(short, path, sound_sec=9.0)
      # The muxer fits the sound's run-up in by empty chunks.
      assert sorted(set(made_videos.indices(path))) == list(range(50))
      assert len(made_videos.indices(path)) < 54
      return
    made_kinds.copy(plain, path, sound_sec=9.0)
    assert made_videos.indices(path) == list(range(100))
    assert decoding.probe(path).num_frames_at(25) == 100

  @pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'flv', 'ts', 'avi'])
  def test_one_frame_a_second(self, tmp_path, suffix):
    codec = 'mpeg4' if suffix == 'avi' else 'libx264'
    path = made_videos.make(
      tmp_path / f'a.{suffix}', codec=codec, rate=1, num_frames=30
    )
    assert made_videos.indices(path, fps=1.0) == list(range(30))
    assert decoding.probe(path).duration_sec == pytest.approx(30)

  def test_an_elementary_stream(self, tmp_path):
    path = made_videos.make(tmp_path / 'a.m2v', codec='mpeg2video')
    assert made_videos.indices(path) == list(range(50))

  def test_an_avi_written_to_a_pipe(self, tmp_path):
    path = made_videos.make(tmp_path / 'a.avi', codec='mpeg4')
    data = bytearray(path.read_bytes())
    data[4:8] = b'\xff\xff\xff\xff'
    at = data.index(b'strh') + 8 + 32  # frames of the stream
    data[at : at + 4] = (2**30).to_bytes(4, 'little')
    path.write_bytes(data)
    assert made_videos.indices(path) == list(range(50))
    assert decoding.probe(path).num_frames_at(25) == 50

  def test_flv_whose_tags_state_no_length(self, tmp_path):
    path = made_videos.make(tmp_path / 'a.flv', num_frames=30)
    data = path.read_bytes()
    path.write_bytes(data[:-4] + bytes(4))
    assert file_ends.cut_off(str(path), 'flv') is None
    path.write_bytes(data[:-40])
    assert 'missing' in file_ends.cut_off(str(path), 'flv')


_CUT = {
  'a.mp4': {},
  'fragmented.mp4': {
    'container_options': {'movflags': 'frag_keyframe+empty_moov'},
    'options': {'g': '10'},
  },
  'a.mov': {'container_options': {'movflags': 'faststart'}},
  'a.mkv': {},
  'live.mkv': {'container_options': {'live': '1'}},
  'a.webm': {'codec': 'libvpx', 'options': {'deadline': 'realtime'}},
  'a.avi': {'codec': 'mpeg4'},
  'a.flv': {},
  'a.ts': {},
  'a.m2ts': {},
  'a.wmv': {'codec': 'msmpeg4v3'},
  'a.ogv': {'codec': 'libvpx', 'options': {'deadline': 'realtime'}},
  'a.gif': {'codec': 'gif', 'pixel_format': 'rgb8'},
  'a.mxf': {'codec': 'mpeg2video'},
}


def test_tapes_of_dv(tmp_path):
  path = made_videos.make(
    tmp_path / 'a.dv', num_frames=6, codec='dvvideo', size=(576, 720)
  )
  assert len(decoding.read(path, size=(36, 45))) == 6
  info = decoding.probe(path)
  assert (info.num_frames, info.fps, info.duration_sec) == (6, 25, 0.24)
  path.write_bytes(path.read_bytes()[: 4 * 144000 - 1])
  with pytest.raises(decoding.VideoError, match='last frame is cut off'):
    decoding.read(path)
  with pytest.warns(decoding.VideoWarning, match='last frame is cut off'):
    found = decoding.read(path, size=(36, 45), allow_damage=True)
  assert len(found) in (3, 4)  # with what is there of the last one, or without


@pytest.mark.parametrize('name', _CUT)
def test_cut_files_are_noticed_and_read_on_request(tmp_path, name):
  noise = 0 if name.endswith('gif') else 20
  path = made_videos.make(
    tmp_path / name, num_frames=60, noise=noise, **_CUT[name]
  )
  assert made_videos.indices(path) == list(range(60))
  data = path.read_bytes()
  for share in (0.9, 0.5):
    # Not between two packets of a transport stream, where nothing shows.
    path.write_bytes(data[: int(share * len(data)) // 188 * 188 - 7])
    if name == 'a.mp4':  # its index stood at the end
      with pytest.raises(decoding.VideoError, match='copy or record it again'):
        decoding.read(path)
      continue
    with pytest.raises(decoding.VideoError, match=r'truncated: .*allow_damage'):
      decoding.read(path)
    with pytest.raises(decoding.VideoError, match='truncated'):
      decoding.probe(path)
    with pytest.warns(decoding.VideoWarning, match='truncated'):
      found = made_videos.indices(path, allow_damage=True)
    assert 0 < len(found) <= 60
    count = len(found) // 2
    assert found[:count] == list(range(count))
    with pytest.warns(decoding.VideoWarning, match='truncated'):
      info = decoding.probe(path, allow_damage=True)
    assert abs(info.num_frames_at(25) - len(found)) <= 5


def test_an_ogg_file_cut_between_pages_is_mentioned(tmp_path):
  path = made_videos.make(
    tmp_path / 'a.ogv', codec='libvpx', num_frames=100, noise=20
  )
  data = path.read_bytes()
  path.write_bytes(data[: data.rindex(b'OggS')])
  with pytest.warns(decoding.VideoWarning, match='last page'):
    decoding.read(path)


class TestTimeZero:
  """Where players begin: BORIS, ELAN and VLC show the same times."""

  @pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'ts', 'mov'])
  def test_a_late_picture(self, tmp_path, plain, suffix):
    path = tmp_path / f'a.{suffix}'
    made_kinds.copy(plain, path, late_sec=2.0, sound_sec=6.0)
    info = decoding.probe(path)
    # Encoders of sound begin some milliseconds before the sound.
    assert info.start_sec == pytest.approx(2.0, abs=0.08)
    assert info.duration_sec == pytest.approx(6.0, abs=0.08)
    found = made_videos.indices(path)
    late = found.count(0) - 1
    assert 50 <= late <= 52
    assert found == [0] * late + list(range(100))
    part = made_videos.indices(
      path, start_frame=late + 60, stop_frame=late + 64
    )
    assert part == [60, 61, 62, 63]

  def test_a_late_picture_alone_begins_at_zero(self, tmp_path, plain):
    path = tmp_path / 'a.mkv'
    made_kinds.copy(plain, path, late_sec=2.0)
    assert made_videos.indices(path) == list(range(100))
    assert decoding.probe(path).start_sec == 0

  def test_times_before_zero_count_from_the_first(self, tmp_path, plain):
    path = tmp_path / 'a.ts'
    made_kinds.copy(plain, path, late_sec=-1.0)
    assert made_videos.indices(path) == list(range(100))

  def test_a_little_earlier_sound_is_the_same_instant(self, tmp_path, plain):
    path = tmp_path / 'a.mkv'
    made_kinds.copy(plain, path, late_sec=0.06, sound_sec=4.0)
    assert made_videos.indices(path) == list(range(100))

  def test_the_default_track(self, tmp_path):
    for suffix in ('mp4', 'mkv'):
      path = made_kinds.two_tracks(tmp_path / f'a.{suffix}')
      assert made_videos.indices(path) == list(range(50))


_MEMORY = """
import re, sys
from cmsn_jax.video import decoding
for _ in decoding.frames(sys.argv[1], size=(8, 8)): pass
status = open('/proc/self/status').read()
print(int(re.search(r'VmHWM:\\s*(\\d+)', status)[1]) // 1024)
"""


def test_memory_is_flat_at_4k_10_bit(tmp_path):
  """Sixty frames of 25 MB: decoded frames must not wait for the collector."""
  if sys.platform != 'linux':
    pytest.skip('reads the peak memory as Linux states it')
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    options = {'preset': 'ultrafast', 'crf': '40'}
    stream = container.add_stream('libx264', rate=25, options=options)
    stream.width, stream.height = 3840, 2160
    stream.pix_fmt = 'yuv420p10le'
    frame = av.VideoFrame(3840, 2160, 'yuv420p10le')
    for plane in frame.planes:
      plane.update(bytes(plane.buffer_size))
    for index in range(60):
      frame.pts = index
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  found = subprocess.run(
    [sys.executable, '-c', _MEMORY, path], capture_output=True, check=True
  )
  assert int(found.stdout) < 400
