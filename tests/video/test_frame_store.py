"""The frame store: equal to decoding, resumable, damage is noticed."""

import fcntl
import os
import threading

import numpy as np
import pytest

from cmsn_jax.video import decoding, frame_store, frame_store_build
from tests.video import made_videos

RAW = frame_store.Format(fps=25, size=(24, 40), encoding='raw')


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
  folder = tmp_path_factory.mktemp('videos')
  return {
    name: made_videos.make(
      folder / f'{name}.mp4', num_frames=n, rate=rate, noise=10
    )
    for name, n, rate in (('a', 60, 25), ('b', 90, 30), ('c', 20, 12.5))
  }


@pytest.fixture(scope='module')
def built(videos, tmp_path_factory):
  folder = tmp_path_factory.mktemp('store')
  report = frame_store_build.build(
    folder, videos, RAW, num_workers=2, progress=False
  )
  assert report.decoded == {'a': 60, 'b': 75, 'c': 40}
  assert not report.failed and not report.present
  return folder


def test_raw_equals_decoding(videos, built):
  store = frame_store.FrameStore(built)
  assert store.ids == ('a', 'b', 'c')
  assert (store.fps, store.size) == (25.0, (24, 40))
  for name, path in videos.items():
    expected = decoding.read(path, size=(24, 40))
    assert store.num_frames(name) == len(expected)
    assert np.array_equal(store.read(name), expected)
    assert np.array_equal(store.read(name, 7, 19), expected[7:19])
    assert store.info(name) == {
      'source': path.name,
      'source_bytes': path.stat().st_size,
    }
  assert store.read('a', 60, 60).shape == (0, 24, 40, 3)
  assert store.read('a', 3, 5).flags.writeable


def test_jpeg_is_close_and_small(videos, tmp_path):
  frames_format = frame_store.Format(size=(96, 160))
  frame_store_build.build(
    tmp_path, {'a': videos['a']}, frames_format, progress=False
  )
  store = frame_store.FrameStore(tmp_path)
  assert store.format == frames_format
  expected = decoding.read(videos['a'], size=(96, 160)).astype(int)
  found = store.read('a')
  assert np.abs(found - expected).mean() < 6
  assert made_videos.index_of(found[37]) == 37
  size = (tmp_path / 'a.frames').stat().st_size
  assert size < found.nbytes / 3


def test_files_do_not_depend_on_the_workers(videos, built, tmp_path):
  frame_store_build.build(tmp_path, videos, RAW, num_workers=1, progress=False)
  for name in videos:
    file = f'{name}.frames'
    assert (tmp_path / file).read_bytes() == (built / file).read_bytes()


def test_resumes(videos, tmp_path, monkeypatch):
  writes = []
  original = frame_store.write_video

  def interrupted(path, chunks, *args):
    writes.append(path.name)
    if len(writes) == 2:
      raise KeyboardInterrupt
    return original(path, chunks, *args)

  monkeypatch.setattr(frame_store, 'write_video', interrupted)
  with pytest.raises(KeyboardInterrupt):
    frame_store_build.build(
      tmp_path, videos, RAW, num_workers=1, progress=False
    )
  first = {path.name for path in tmp_path.glob('*.frames')}
  assert first == {'b.frames'}  # longest first
  (tmp_path / 'a.frames.tmp').write_bytes(b'left by a killed process')
  report = frame_store_build.build(tmp_path, videos, RAW, progress=False)
  assert report.present == ('b',) and set(report.decoded) == {'a', 'c'}
  assert not list(tmp_path.glob('*.tmp'))
  assert frame_store.FrameStore(tmp_path).ids == ('a', 'b', 'c')


@pytest.mark.parametrize('num_workers', [1, 2])
def test_a_full_disk_ends_the_build_and_is_what_is_said(
  videos, tmp_path, monkeypatch, num_workers
):
  begun, videos = [], {**videos, **{f'c{i}': videos['c'] for i in range(5)}}

  def full(path, chunks, *args):
    begun.append((threading.get_ident(), path.name))
    next(chunks)
    if path.name == 'b.frames':
      raise OSError(28, 'No space left on device')
    for _ in chunks:
      pass
    return 0

  monkeypatch.setattr(frame_store, 'write_video', full)
  with pytest.raises(OSError, match='No space left'):
    frame_store_build.build(
      tmp_path, videos, RAW, num_workers=num_workers, progress=False
    )
  # A worker that failed begins with no other; how far one beside it came before
  # is a matter of time.
  (failed,) = (worker for worker, name in begun if name == 'b.frames')
  assert [n for worker, n in begun if worker == failed] == ['b.frames']


def test_plan_states_the_disk_use(videos, built, tmp_path):
  planned = frame_store_build.plan(tmp_path / 'new' / 'deep', videos, RAW)
  assert planned.to_decode == {'a': 60, 'b': 75, 'c': 40}
  assert planned.needed_bytes == 175 * 24 * 40 * 3
  assert '3 videos to decode (175 frames' in str(planned)
  assert not (tmp_path / 'new').exists()
  assert not frame_store_build.plan(built, videos, RAW).to_decode


def test_too_little_space(videos, tmp_path, monkeypatch):
  usage = type('Usage', (), {'free': 1000})
  monkeypatch.setattr(
    frame_store_build.shutil, 'disk_usage', lambda path: usage
  )
  with pytest.raises(OSError, match='are needed for 3 videos'):
    frame_store_build.build(tmp_path, videos, RAW, progress=False)


def test_bad_videos_are_reported_and_left_out(videos, tmp_path):
  text = tmp_path / 'text.mp4'
  text.write_text('hello')
  cut = tmp_path / 'cut.mkv'
  made_videos.make(cut, num_frames=60, noise=20)
  data = bytearray(cut.read_bytes())
  data[len(data) // 2 : len(data) // 2 + 800] = bytes(800)
  cut.write_bytes(data)
  report = frame_store_build.build(
    tmp_path / 'store',
    {'text': text, 'cut': cut, 'gone': tmp_path / 'no.mp4', 'a': videos['a']},
    RAW,
    progress=False,
  )
  assert report.decoded == {'a': 60}
  assert set(report.failed) == {'text', 'cut', 'gone'}
  assert 'cut.mkv' in report.failed['cut']
  assert frame_store.FrameStore(tmp_path / 'store').ids == ('a',)


def test_changed_or_damaged_entries_are_made_again(videos, tmp_path):
  source = tmp_path / 'a.mp4'
  source.write_bytes(videos['a'].read_bytes())
  store = tmp_path / 'store'
  frame_store_build.build(store, {'a': source}, RAW, progress=False)
  source.write_bytes(videos['b'].read_bytes())
  with pytest.warns(UserWarning, match='has changed since'):
    report = frame_store_build.build(store, {'a': source}, RAW, progress=False)
  assert report.decoded == {'a': 75}
  file = store / 'a.frames'
  file.write_bytes(file.read_bytes()[:-100])
  with pytest.warns(UserWarning, match='damaged'):
    report = frame_store_build.build(store, {'a': source}, RAW, progress=False)
  assert report.decoded == {'a': 75}


def test_another_format_or_builder_is_refused(videos, built, tmp_path):
  with pytest.raises(frame_store.FrameStoreError, match='use another folder'):
    frame_store_build.build(built, videos, progress=False)
  with open(tmp_path / '.lock', 'w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    with pytest.raises(frame_store.FrameStoreError, match='another process'):
      frame_store_build.build(tmp_path, videos, RAW, progress=False)
  with open(built / '.lock', 'w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    report = frame_store_build.build(built, videos, RAW, progress=False)
  assert (report.decoded, set(report.present)) == ({}, set(videos))


def test_every_damaged_byte_is_noticed(videos, tmp_path):
  small = frame_store.Format(fps=5, size=(4, 5), encoding='raw')
  frame_store_build.build(tmp_path, {'c': videos['c']}, small, progress=False)
  file = tmp_path / 'c.frames'
  data = file.read_bytes()
  for at in range(0, len(data), 7):
    damaged = bytearray(data)
    damaged[at] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(frame_store.FrameStoreError, match='c.frames'):
      frame_store.FrameStore(tmp_path).read('c')
  for length in (0, 3, len(data) // 2, len(data) - 1):
    file.write_bytes(data[:length])
    with pytest.raises(frame_store.FrameStoreError, match='c.frames'):
      frame_store.FrameStore(tmp_path).read('c')


def test_wrong_requests(built, tmp_path):
  store = frame_store.FrameStore(built)
  with pytest.raises(ValueError, match=r'frames \[3, 61\) asked for'):
    store.read('a', 3, 61)
  with pytest.raises(ValueError, match='no video z'):
    store.num_frames('z')
  with pytest.raises(frame_store.FrameStoreError, match='build it first'):
    frame_store.FrameStore(tmp_path)
  (tmp_path / 'store.json').write_text('[1]')
  with pytest.raises(frame_store.FrameStoreError, match='store.json'):
    frame_store.FrameStore(tmp_path)


@pytest.mark.parametrize('name', ['../a', 'a/b', '', '..'])
def test_ids_stay_in_the_folder(videos, tmp_path, name):
  with pytest.raises(ValueError, match='video id'):
    frame_store_build.build(tmp_path, {name: videos['a']}, RAW, progress=False)


def test_bad_format():
  with pytest.raises(ValueError, match='encoding must be one of'):
    frame_store.Format(encoding='png')
  with pytest.raises(ValueError, match='quality must be'):
    frame_store.Format(quality=100)


def test_no_empty_store_files(built):
  names = sorted(os.listdir(built))
  assert names == ['.lock', 'a.frames', 'b.frames', 'c.frames', 'store.json']
