"""Decoding against what was encoded: every frame shows its own index."""

import json
import os
import pathlib
import subprocess
import sys
import warnings

import av
import numpy as np
import pytest

from cmsn_jax.video import decoder, decoding, painting, sampling, video_files
from tests.video import made_videos

_QUIET_X265 = {'x265-params': 'log-level=none'}
_CONTAINERS = {
  'h264.mp4': {},
  'h264.mov': {},
  'h264.mkv': {},
  'h264.ts': {},
  'h264.flv': {},
  'h264_out_of_order.avi': {'options': {'bf': '3'}},
  'fragmented.mp4': {
    'container_options': {'movflags': 'frag_keyframe+empty_moov'}
  },
  'sound.mp4': {'audio': True},
  'vp9.webm': {'codec': 'libvpx-vp9', 'options': {'cpu-used': '8'}},
  'vp8.webm': {'codec': 'libvpx', 'options': {'deadline': 'realtime'}},
  'mpeg4.avi': {'codec': 'mpeg4'},
  'mpeg4_b_frames.avi': {'codec': 'mpeg4', 'options': {'bf': '2'}},
  'mjpeg.avi': {'codec': 'mjpeg', 'pixel_format': 'yuvj420p'},
  'mpeg2.mpg': {'codec': 'mpeg2video'},
  'ms.wmv': {'codec': 'msmpeg4v3'},
  'palette.gif': {'codec': 'gif', 'pixel_format': 'rgb8'},
  'hevc.mp4': {'codec': 'libx265', 'options': _QUIET_X265},
  '10bit.mkv': {'pixel_format': 'yuv420p10le'},
  '10bit_hevc.mp4': {
    'codec': 'libx265',
    'pixel_format': 'yuv420p10le',
    'options': _QUIET_X265,
  },
  '444.mp4': {'pixel_format': 'yuv444p'},
  'odd.webm': {'codec': 'libvpx-vp9', 'size': (97, 161)},
  'odd.mp4': {'size': (97, 161), 'pixel_format': 'yuv444p'},
  'av1.mp4': {'codec': 'libsvtav1', 'options': {'preset': '8', 'crf': '5'}},
}


def indices(frames):
  return [made_videos.index_of(frame) for frame in frames]


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
  """100 noisy frames at 25 fps with a key frame every 25: bytes of an mp4."""
  path = tmp_path_factory.mktemp('plain') / 'plain.mp4'
  made_videos.make(
    path,
    num_frames=100,
    options={'g': '25'},
    container_options={'movflags': 'faststart'},
    noise=20,
  )
  return path


@pytest.mark.parametrize('name', _CONTAINERS)
def test_containers_and_codecs(tmp_path, name):
  arguments = _CONTAINERS[name]
  if arguments.get('codec') == 'libsvtav1':
    os.environ['SVT_LOG'] = '0'
  path = made_videos.make(tmp_path / name, **arguments)
  info = decoding.probe(path)
  frames = decoding.read(path, size=None)
  size = arguments.get('size', (96, 160))
  assert frames.shape == (50, *size, 3) and frames.dtype == np.uint8
  assert indices(frames) == list(range(50))
  assert all(made_videos.is_upright(frame) for frame in frames)
  assert (info.height, info.width) == size and info.rotation == 0
  assert info.fps == pytest.approx(25)
  assert info.has_audio == ('sound' in name)
  assert info.num_frames == pytest.approx(50, abs=2)
  assert info.duration_sec == pytest.approx(2, abs=0.1)
  if 'flv' not in name:
    assert info.num_frames == info.num_frames_at(25) == 50


@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
@pytest.mark.parametrize('rate', [15, 24, '30000/1001', 30, 50, 60])
def test_rates_become_25(tmp_path, rate, suffix):
  path = made_videos.make(tmp_path / f'a.{suffix}', rate=rate, num_frames=60)
  with av.open(str(path)) as container:
    rate = float(container.streams.video[0].average_rate)
  expected = sampling.source_frames(np.arange(60) / rate, 60 / rate, 25.0)
  assert indices(decoding.read(path)) == expected.tolist()
  assert decoding.probe(path).num_frames_at(25) == len(expected)
  # A file at its own rate comes out frame for frame.
  assert indices(decoding.read(path, fps=rate)) == list(range(60))


def test_sampling_agrees_with_ffmpegs_filter(tmp_path):
  times = np.cumsum(np.random.default_rng(1).uniform(0.005, 0.12, 60)) - 0.005
  times = np.round(times - times[0], 3)
  path = made_videos.make(tmp_path / 'a.mkv', num_frames=60, times_sec=times)
  found = indices(decoding.read(path))
  expected = filtered(path, 25)
  # The filter may keep one frame more or less at the very end.
  n = min(len(found), len(expected))
  assert abs(len(found) - len(expected)) <= 1 and n > 60
  # A start within a millisecond of an interval's middle is a matter of taste.
  same = np.array(found[:n]) == np.array(expected[:n])
  assert same.mean() > 0.97


def filtered(path, fps):
  """Indices of the frames that libavfilter's `fps` gives."""
  graph = av.filter.Graph()
  found = []
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    source = graph.add_buffer(template=stream)
    rate = graph.add('fps', str(fps))
    sink = graph.add('buffersink')
    source.link_to(rate)
    rate.link_to(sink)
    graph.configure()
    for frame in [*container.decode(stream), None]:
      source.push(frame)
      while True:
        try:
          out = sink.pull()
        except (av.BlockingIOError, av.EOFError):
          break
        found.append(made_videos.index_of(out.to_ndarray(format='rgb24')))
  return found


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'webm'])
def test_variable_rate(tmp_path, suffix):
  times = np.cumsum(
    np.random.default_rng(0).choice([0.01, 0.033, 0.25, 1.1], 40)
  )
  times = np.round(times - times[0], 3)
  codec = 'libvpx' if suffix == 'webm' else 'libx264'
  options = {'deadline': 'realtime'} if suffix == 'webm' else {'bf': '2'}
  path = made_videos.make(
    tmp_path / f'a.{suffix}',
    num_frames=40,
    times_sec=times,
    codec=codec,
    options=options,
  )
  found = indices(decoding.read(path, fps=10.0))
  expected = sampling.source_frames(times, times[-1] + 0.02, 10.0)
  # How long the last frame stays is the container's guess.
  n = min(len(found), len(expected))
  assert n >= len(expected) - 1 and set(found[n:]) <= {39}
  assert found[:n] == expected[:n].tolist()


# From the stored to the displayed picture: (clockwise degrees, matrix).
_MATRICES = {
  90: [0, 1, 0, -1, 0, 0],
  180: [-1, 0, 0, 0, -1, 0],
  270: [0, -1, 0, 1, 0, 0],
}


@pytest.mark.parametrize('degrees', _MATRICES)
def test_rotation_is_applied(tmp_path, degrees):
  matrix = [65536 * v for v in _MATRICES[degrees]] + [0, 0, 1 << 30]
  path = made_videos.make(
    tmp_path / 'a.mp4',
    num_frames=9,
    display_matrix=matrix,
    turn=degrees // 90,
  )
  info = decoding.probe(path)
  frames = decoding.read(path, size=None)
  assert info.rotation == degrees
  assert frames.shape == (9, info.height, info.width, 3) == (9, 96, 160, 3)
  assert indices(frames) == list(range(9))
  assert all(made_videos.is_upright(frame) for frame in frames)
  assert decoding.read(path).shape == (9, 128, 171, 3)
  assert indices(decoding.read(path)) == list(range(9))


def test_mirrored(tmp_path):
  matrix = [-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
  path = made_videos.make(
    tmp_path / 'a.mp4', num_frames=3, display_matrix=matrix
  )
  frames = decoding.read(path, size=None)
  assert indices(frames[:, :, ::-1]) == [0, 1, 2]


def test_colours(tmp_path):
  path = made_videos.make(tmp_path / 'a.mp4', num_frames=2)
  image = decoding.read(path, size=None)[1].astype(int)
  assert np.abs(image[4:28, 4:36] - [255, 0, 0]).max() < 12  # red, not blue
  assert np.abs(image[36:60, 4:28] - 255).max() < 6
  assert image[70:90, 4:28].max() < 6


@pytest.mark.parametrize('name', ['h264.mp4', 'h264.mkv', 'mpeg4_b_frames.avi'])
def test_a_range_equals_the_slice(tmp_path, name):
  arguments = {**_CONTAINERS[name], 'rate': 30, 'num_frames': 400}
  options = {'g': '48', **arguments.get('options', {})}
  path = made_videos.make(tmp_path / name, **{**arguments, 'options': options})
  whole = decoding.read(path, size=(24, 40))
  for start, stop in [(0, 1), (3, 90), (126, 150), (200, 333), (320, None)]:
    part = decoding.read(
      path, size=(24, 40), start_frame=start, stop_frame=stop
    )
    assert np.array_equal(part, whole[start:stop])
  assert not list(decoding.frames(path, start_frame=9, stop_frame=9))
  with pytest.raises(decoding.VideoError, match='the video is shorter'):
    decoding.read(path, start_frame=4000)


def test_seeking_does_not_decode_what_comes_before(plain, monkeypatch):
  monkeypatch.setattr('cmsn_jax.video.decoder._SEEK_FROM_SEC', 1.0)
  decoded = []
  original = decoder.Decoder._timed
  monkeypatch.setattr(
    decoder.Decoder,
    '_timed',
    lambda self, frame: decoded.append(0) or original(self, frame),
  )
  assert indices(decoding.read(plain, start_frame=80, stop_frame=84)) == [
    80,
    81,
    82,
    83,
  ]
  assert len(decoded) < 20


def test_chunks(plain):
  chunks = list(decoding.frames(plain, size=(8, 9), chunk_frames=40))
  assert [c.shape for c in chunks] == [(n, 8, 9, 3) for n in (40, 40, 20)]
  sizes = [len(c) for c in decoding.frames(plain, size=(8, 9))]
  assert sizes == [64, 36]
  # Kept chunks stay as they were: no buffer is used twice.
  assert indices(np.concatenate(list(decoding.frames(plain)))) == list(
    range(100)
  )


def test_large_frames_come_in_small_chunks(tmp_path):
  path = made_videos.make(tmp_path / 'a.mp4', num_frames=5, size=(1536, 2048))
  sizes = [len(chunk) for chunk in decoding.frames(path, size=None)]
  assert sizes == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'fps': 0.0}, r'fps must be in \(0, 1000\]'),
    ({'fps': float('nan')}, 'fps must be'),
    ({'size': (0, 4)}, r'size must be \(height, width\)'),
    ({'start_frame': -1}, 'must not be negative'),
    ({'chunk_frames': 0}, 'chunk_frames must be at least 1'),
  ],
)
def test_bad_arguments(plain, arguments, message):
  with pytest.raises(ValueError, match=message):
    list(decoding.frames(plain, **arguments))


class TestBadFiles:
  """Each names the file, what was found, what to do."""

  def refused(self, path, *words):
    for call in (decoding.probe, decoding.read):
      with pytest.raises(decoding.VideoError) as error:
        call(path)
      for word in (os.path.basename(path), *words):
        assert word in str(error.value)

  def test_missing(self, tmp_path):
    self.refused(tmp_path / 'no.mp4', 'No such file', 'check the path')

  def test_folder(self, tmp_path):
    self.refused(tmp_path, 'is a folder')

  def test_empty(self, tmp_path):
    (tmp_path / 'a.mp4').touch()
    self.refused(tmp_path / 'a.mp4', 'empty (0 bytes)')

  def test_text(self, tmp_path):
    (tmp_path / 'a.mp4').write_text('<html><body>404 Not Found</body></html>')
    self.refused(tmp_path / 'a.mp4', 'text file', '<html>', 'download')

  def test_binary_rubbish(self, tmp_path):
    data = np.random.default_rng(0).bytes(5000)
    (tmp_path / 'a.avi').write_bytes(data)
    self.refused(tmp_path / 'a.avi', 'not a video file', 'known containers')

  def test_fifo(self, tmp_path):
    os.mkfifo(tmp_path / 'a.mp4')
    self.refused(tmp_path / 'a.mp4', 'device or pipe')

  def test_unreadable(self, plain, tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(plain.read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):
      pytest.skip('the superuser may read everything')
    self.refused(path, 'permissions')

  def test_audio_only(self, tmp_path):
    path = made_videos.make_audio(tmp_path / 'a.mp4')
    self.refused(path, 'no video stream', 'audio')

  def test_no_frames(self, tmp_path):
    path = made_videos.make(tmp_path / 'a.mkv', num_frames=1)
    data = path.read_bytes()
    at = data.index(b'\x1f\x43\xb6\x75')  # the first cluster of frames
    path.write_bytes(data[:at])
    self.refused(path, 'a.mkv')

  @pytest.mark.parametrize('prefix', ['http', 'rtmp', 'concat', 'file'])
  def test_addresses(self, prefix):
    self.refused(f'{prefix}://localhost/a.mp4', 'download the file first')

  def test_protocol_names_are_only_names(self, plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path('concat:a.mp4|b.mp4').write_bytes(plain.read_bytes())
    assert decoding.probe('concat:a.mp4|b.mp4').num_frames == 100

  @pytest.mark.parametrize(
    'text',
    [
      '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n',
      "ffconcat version 1.0\nfile '{}'\n",
    ],
  )
  def test_playlists(self, plain, tmp_path, text):
    path = tmp_path / 'a.mp4'
    path.write_text(text.format(plain))
    self.refused(path, 'playlist', 'give the video itself')

  def test_image_is_no_video(self, tmp_path):
    path = tmp_path / 'a.mp4'
    made_videos.make(
      tmp_path / 'a.png', codec='png', num_frames=1, pixel_format='rgb24'
    )
    (tmp_path / 'a.png').rename(path)
    self.refused(path, 'not a video file')


@pytest.mark.parametrize('share', [0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(
  'name', ['h264.mkv', 'vp8.webm', 'mpeg4.avi', 'fragmented.mp4', 'h264.mov']
)
def test_truncated(tmp_path, name, share):
  path = made_videos.make(
    tmp_path / name, num_frames=60, noise=20, **_CONTAINERS[name]
  )
  data = path.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  with pytest.raises(
    decoding.VideoError, match='truncated|cut off|not a video'
  ):
    decoding.read(path)


def test_truncated_flv_states_only_its_duration(tmp_path):
  path = made_videos.make(tmp_path / 'a.flv', num_frames=60, noise=20)
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  with pytest.raises(decoding.VideoError, match='truncated|cut off'):
    decoding.read(path)


def test_truncated_faststart(plain, tmp_path):
  data = plain.read_bytes()
  path = tmp_path / 'a.mp4'
  for share in (0.02, 0.5, 0.999):
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(
      decoding.VideoError, match='a.mp4: .*(truncated|cut off)'
    ):
      decoding.read(path)
  # Read through on request, with a warning; what is there is right.
  path.write_bytes(data[: len(data) // 2])
  with pytest.warns(decoding.VideoWarning, match='truncated'):
    frames = decoding.read(path, allow_damage=True)
  assert 20 < len(frames) < 80
  assert indices(frames)[:20] == list(range(20))


def test_fewer_frames_than_the_header_says(plain, tmp_path):
  """Missing frames are noticed even where the file's size is right."""
  data = bytearray(plain.read_bytes())
  begin = data.index(b'mdat') + 4
  half = begin + (len(data) - begin) // 2
  data[half:] = bytes(len(data) - half)
  path = tmp_path / 'a.mp4'
  path.write_bytes(data)
  with pytest.raises(decoding.VideoError, match=r'a.mp4: at .* s, after'):
    decoding.read(path)


@pytest.mark.parametrize('seed', range(4))
def test_flipped_bits(plain, tmp_path, seed):
  data = bytearray(plain.read_bytes())
  begin = data.index(b'mdat') + 200
  rng = np.random.default_rng(seed)
  for at in rng.integers(begin, len(data), 20):
    data[at] ^= 1 << rng.integers(8)
  path = tmp_path / 'a.mp4'
  path.write_bytes(data)
  with pytest.raises(decoding.VideoError, match='damaged|cannot be decoded'):
    decoding.read(path)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    frames = decoding.read(path, allow_damage=True)
  assert len(frames) == 100  # the clock goes on
  assert [w.category for w in caught] == [decoding.VideoWarning]


def test_a_clock_that_jumps(tmp_path):
  times = np.arange(20) / 25
  times[10:] += 5000
  path = made_videos.make(tmp_path / 'a.mkv', num_frames=20, times_sec=times)
  with pytest.raises(decoding.VideoError, match='clock jumps by 5000'):
    decoding.read(path)


def test_trimmed_by_an_edit_list_is_not_damaged(plain, tmp_path):
  """Players' lossless cuts keep frames that are never shown."""
  path = tmp_path / 'a.mp4'
  with av.open(str(plain)) as source, av.open(str(path), 'w') as target:
    stream = source.streams.video[0]
    copy = target.add_stream_from_template(stream)
    for packet in source.demux(stream):
      if packet.dts is None:
        continue
      packet.pts -= 10 * 512  # the first ten frames lie before time 0
      packet.dts -= 10 * 512
      packet.stream = copy
      target.mux(packet)
  found = indices(decoding.read(path))
  assert found == list(range(found[0], 100))


def test_cover_art_is_not_the_video(tmp_path):
  path = tmp_path / 'a.mp4'
  made_videos.make_audio(path, picture=True)
  with pytest.raises(decoding.VideoError, match='no video stream'):
    decoding.probe(path)


def test_bytes_behind_an_mp4_do_no_harm(plain, tmp_path):
  path = tmp_path / 'a.mp4'
  path.write_bytes(plain.read_bytes() + b'\0\1\2\3 left by a phone')
  assert len(decoding.read(path)) == 100


class TestCrops:
  clip = np.arange(2 * 5 * 7 * 3, dtype=np.uint8).reshape(2, 5, 7, 3)

  def test_centre(self):
    crop = decoding.centre_crop(self.clip, (3, 3))
    assert np.array_equal(crop, self.clip[:, 1:4, 2:5])
    paper = np.zeros((1, 128, 171, 3), np.uint8)
    paper[:, 8:120, 29:141] = 1
    assert decoding.centre_crop(paper).all()

  def test_random_is_one_for_all_frames_and_reaches_every_place(self):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
      crop = decoding.random_crop_flip(self.clip, rng, (4, 6))
      found = [
        (top, left, flip)
        for top in range(2)
        for left in range(2)
        for flip in (1, -1)
        if np.array_equal(
          crop, self.clip[:, top : top + 4, left : left + 6][:, :, ::flip]
        )
      ]
      assert len(found) == 1
      seen.update(found)
    assert len(seen) == 8

  def test_no_flip_uses_the_same_random_numbers(self):
    one, two = (np.random.default_rng(5) for _ in range(2))
    decoding.random_crop_flip(self.clip, one, (4, 6), flip=True)
    decoding.random_crop_flip(self.clip, two, (4, 6), flip=False)
    assert one.random() == two.random()

  def test_too_large(self):
    with pytest.raises(ValueError, match='does not fit into frames of'):
      decoding.centre_crop(self.clip, (6, 3))


def test_find_videos(tmp_path):
  for name in ('b.mp4', 'a.MKV', 'notes.txt'):
    (tmp_path / name).touch()
  assert list(video_files.find_videos(tmp_path)) == ['a', 'b']
  (tmp_path / 'a.avi').touch()
  with pytest.raises(decoding.VideoError, match='same video id'):
    video_files.find_videos(tmp_path)
  (tmp_path / 'sub').mkdir()
  with pytest.raises(decoding.VideoError, match='no video file'):
    video_files.find_videos(tmp_path / 'sub')


def test_needs_neither_tensorflow_nor_jax():
  code = (
    'import sys\n'
    "sys.modules['tensorflow'] = sys.modules['jax'] = None\n"
    'from cmsn_jax.video import decoding, reader\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_real_clips(real_data):
  folder = real_data('clips')
  info = decoding.probe(folder / 'demo.mp4')
  assert (info.num_frames, info.height, info.width) == (280, 256, 340)
  assert info.fps == 28 and info.duration_sec == 10
  assert decoding.read(folder / 'demo.mp4').shape == (250, 128, 171, 3)
  assert len(decoding.read(folder / 'demo.mp4', fps=28.0, size=(8, 8))) == 280
  gif = decoding.read(folder / 'v_CricketShot_g04_c01_rgb.gif', size=(8, 8))
  assert len(gif) == 79


def test_real_workout_counts(real_data):
  folder = real_data('workout')
  known = json.loads((folder / 'workout_anno.json').read_text())
  for video_id, expected in sorted(known.items())[::4]:
    path = folder / 'videos' / f'{video_id}.mp4'
    info = decoding.probe(path)
    assert info.num_frames == expected['frames'], video_id
    frames = decoding.read(path, fps=expected['fps'], size=(16, 16))
    assert len(frames) == expected['frames'], video_id
    assert info.num_frames_at(25) == len(decoding.read(path, size=(16, 16)))


@pytest.mark.parametrize('pixels', ['yuv420p', 'yuv444p', 'yuv422p10le'])
@pytest.mark.parametrize('size', [(24, 31), (47, 63), (24, 32), (48, 91)])
def test_planes_of_odd_widths_hold_the_same_values(pixels, size):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (48, 64, 3), np.uint8)
  frame = av.VideoFrame.from_ndarray(image, 'rgb24').reformat(format=pixels)
  height, width = size
  want = painting.reformatter()(frame, width, height, 'rgb24').to_ndarray()
  got = painting.Painter(size).paint(frame)
  assert got.shape == (*size, 3) and got.dtype == np.uint8
  np.testing.assert_array_equal(got, want)
