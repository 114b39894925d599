"""Kinds that few programs write: joined parts, late sound, other containers."""

import numpy as np
import pytest
from PIL import Image

from cmsn_jax.video import decoding, finding
from tests.video import made_kinds, made_videos

pytestmark = pytest.mark.usefixtures('no_word')


_JOINED = {
  'a.mpg': 'mpeg2video',
  'a.vob': 'mpeg2video',
  'a.ts': 'libx264',
}


@pytest.mark.parametrize('name', _JOINED)
def test_parts_one_behind_the_other_follow_at_once(tmp_path, name):
  """As `cat` joins them: the clock of the second begins anew."""
  path = made_videos.make(
    tmp_path / name, num_frames=130, codec=_JOINED[name], options={'g': '10'}
  )
  assert made_videos.indices(path) == list(range(130))
  path.write_bytes(path.read_bytes() * 2)
  with pytest.warns(decoding.VideoWarning, match='one behind the other'):
    assert made_videos.indices(path) == 2 * list(range(130))
  # Not the same time of the first part, which a reader that seeks would find.
  with pytest.warns(decoding.VideoWarning, match='one behind the other'):
    assert made_videos.indices(path, start_frame=200, stop_frame=203) == [
      70,
      71,
      72,
    ]
  info = decoding.probe(path)
  assert info.num_frames_at(25) == 260


def test_a_hole_in_a_transport_stream_is_no_joint(tmp_path):
  path = made_videos.make(tmp_path / 'a.ts', noise=20, options={'g': '10'})
  data = bytearray(path.read_bytes())
  begin = len(data) // 2 // 188 * 188
  del data[begin : begin + 5 * 188]
  path.write_bytes(data)
  with pytest.raises(decoding.VideoError, match='allow_damage'):
    decoding.read(path)


@pytest.mark.parametrize('suffix', ['avi', 'wmv'])
def test_sound_that_begins_later_and_outlasts_the_picture(tmp_path, suffix):
  plain = made_videos.make(tmp_path / 'b.avi', codec='mpeg4')
  path = tmp_path / f'a.{suffix}'
  made_kinds.copy(plain, path, sound_sec=6.0, sound_late_sec=2.0)
  assert made_videos.indices(path) == list(range(50))
  assert decoding.probe(path).num_frames_at(25) == 50


def test_the_end_of_pictures_that_are_stored_out_of_order(tmp_path):
  """Their durations are those of the order in the file, not on the screen."""
  times = np.arange(12.0)
  path = made_videos.make(
    tmp_path / 'a.mp4', num_frames=12, times_sec=times, options={'bf': '3'}
  )
  frames = decoding.read(path, size=(32, 32))
  assert len(frames) == decoding.probe(path).num_frames_at(25)
  assert abs(len(frames) - 25 * 11) <= 25


def test_times_before_zero_that_matroska_cannot_tell(tmp_path):
  plain = made_videos.make(tmp_path / 'b.mp4', num_frames=100)
  path = tmp_path / 'a.mkv'
  made_kinds.copy(
    plain, path, late_sec=-1.3, sound_sec=4.0, sound_late_sec=-1.3,
    options={'avoid_negative_ts': 'disabled'},
  )  # fmt: skip
  # The sound's encoder begins a little before it.
  assert abs(len(made_videos.indices(path)) - 100) <= 2


_CONTAINERS = {
  'a.m1v': {'codec': 'mpeg1video'},
  'a.mk3d': {},
  'a.apng': {'codec': 'apng', 'pixel_format': 'rgb24'},
  'a.y4m': {'codec': 'wrapped_avframe'},
  'a.ivf': {'codec': 'libvpx', 'options': {'deadline': 'realtime'}},
  'a.rm': {'codec': 'rv20', 'size': (96, 176)},
  'a.wtv': {'codec': 'mpeg2video'},
}


@pytest.mark.parametrize('name', _CONTAINERS)
def test_other_containers(tmp_path, name):
  path = tmp_path / name
  form = {'.mk3d': 'matroska', '.m1v': 'mpeg1video'}.get(path.suffix)
  spare = tmp_path / f'b.{"mkv" if form == "matroska" else path.suffix[1:]}'
  made_videos.make(spare, num_frames=30, **_CONTAINERS[name])
  spare.rename(path)
  assert list(finding.find(tmp_path).videos) == ['a']
  # What ffmpeg makes up for a raw stream's clock may leave out a tick.
  found = made_videos.indices(path)
  assert found == sorted(found)
  assert sorted(set(found)) == list(range(30)) and len(found) <= 31
  assert abs(decoding.probe(path).num_frames_at(25) - 30) <= 1


def test_an_ivf_whose_clock_counts_milliseconds(tmp_path):
  path = made_videos.make(
    tmp_path / 'a.ivf', times_sec=np.arange(50) / 25, **_CONTAINERS['a.ivf']
  )
  info = decoding.probe(path)
  assert (info.num_frames, info.num_frames_at(25)) == (50, 50)
  assert made_videos.indices(path) == list(range(50))


@pytest.mark.parametrize('name', ['a.apng', 'a.y4m', 'a.ivf', 'a.rm'])
def test_other_containers_cut_off(tmp_path, name):
  path = tmp_path / name
  made_videos.make(path, num_frames=30, noise=20, **_CONTAINERS[name])
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 3])
  with pytest.raises(decoding.VideoError, match='allow_damage'):
    decoding.read(path)
  with pytest.warns(decoding.VideoWarning):
    found = made_videos.indices(path, allow_damage=True)
  assert 0 < len(found) < 30


def test_animated_webp(tmp_path):
  images = [Image.fromarray(made_videos.picture(k)) for k in range(20)]
  path = tmp_path / 'a.webp'
  images[0].save(
    path, save_all=True, append_images=images[1:], duration=[40, 120] * 10,
    lossless=True,
  )  # fmt: skip
  shown = [k for k in range(20) for _ in range(3 if k % 2 else 1)]
  assert made_videos.indices(path) == shown
  assert (
    made_videos.indices(path, start_frame=30, stop_frame=33) == shown[30:33]
  )
  info = decoding.probe(path)
  assert (info.num_frames, info.duration_sec) == (20, pytest.approx(1.6))
  assert list(finding.find(path).videos) == ['a']
  path.write_bytes(path.read_bytes()[:-50])
  with pytest.raises(decoding.VideoError, match='the last 50 bytes') as caught:
    decoding.read(path)
  assert 'allow_damage' not in str(caught.value)  # nothing would be read


def test_streams_without_times_ask_for_the_rate(tmp_path):
  path = made_videos.make(tmp_path / 'a.h264', num_frames=10)
  with pytest.raises(
    decoding.VideoError, match='-framerate 30 -i FILE -c copy'
  ):
    decoding.read(path)
  path = made_videos.make(
    tmp_path / 'a.mjpeg', num_frames=10, codec='mjpeg', pixel_format='yuvj420p'
  )
  with pytest.raises(decoding.VideoError, match='-f mjpeg -framerate 30'):
    decoding.read(path)


@pytest.mark.parametrize('suffix', ['m2v', 'mpg'])
def test_streams_that_state_no_length_cut_inside_a_picture(tmp_path, suffix):
  path = made_videos.make(
    tmp_path / f'a.{suffix}', codec='mpeg2video', noise=20, num_frames=60
  )
  data = path.read_bytes()
  # At the bytes where a picture's slices begin, and some slices further.
  cut = data.index(b'\0\0\1\1', len(data) // 2)
  path.write_bytes(data[: data.index(b'\0\0\1\3', cut) + 9])
  shown = 'a frame has damaged content|a packet is cut off'
  with pytest.raises(decoding.VideoError, match=f'({shown}).*allow_damage'):
    decoding.read(path)
  with pytest.warns(decoding.VideoWarning, match=shown):
    found = made_videos.indices(path, allow_damage=True)
  assert 0 < len(found) < 60 and found[:9] == list(range(9))
