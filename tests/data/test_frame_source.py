import numpy as np
import pytest

from cmsn_jax.data import frame_source
from cmsn_jax.video import decoding, reader, video_files
from tests.video import made_kinds, made_videos


class _Store:
  """Frames whose every pixel is the frame's number."""

  ids = ('v',)
  fps = 16.0

  def num_frames(self, video_id):
    return 21

  def read(self, video_id, start, stop):
    assert 0 <= start <= stop <= 21
    values = np.arange(start, stop, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (stop - start, 6, 8, 3)).copy()


def _source(**kwargs):
  return frame_source.FrameSource(_Store(), stride=8, crop=(4, 4), **kwargs)


def test_snippets_of_a_store():
  source = _source()
  assert source.feature_fps == 2.0
  assert source.snippet_shape == (8, 4, 4, 3)
  assert source.num_snippets('v') == 3
  frames = source.read('v', 1, 3)
  assert frames.shape == (16, 4, 4, 3)
  # 21 frames: the third snippet has five, the last of which is repeated.
  expected = [*range(8, 21), 20, 20, 20]
  np.testing.assert_array_equal(frames[:, 0, 0, 0], expected)


def test_training_crops_depend_on_the_generator_only():
  source = _source()
  a = source.read_training('v', 0, 1, np.random.default_rng(1))
  b = source.read_training('v', 0, 1, np.random.default_rng(1))
  np.testing.assert_array_equal(a, b)
  assert a.shape == (8, 4, 4, 3)


class _Reader:
  """Yields the same frames in pieces of five; counts how often it starts."""

  def __init__(self, count):
    self.count, self.starts = count, 0

  def frames(self, path, *, fps, size):
    self.starts += 1
    for k in range(0, self.count, 5):
      values = np.arange(k, min(k + 5, self.count), dtype=np.uint8)
      yield np.broadcast_to(values[:, None, None, None], (len(values), 6, 8, 3))


@pytest.mark.parametrize(('length', 'hop'), [(2, 1), (2, 2), (1, 3), (4, 2)])
def test_windows_of_a_stream_equal_those_of_a_store(monkeypatch, length, hop):
  reader = _Reader(77)
  source = frame_source.DecodingSource(
    {'v': 'x.mp4'}, reader, fps=16.0, size=(6, 8), stride=8, crop=(4, 4)
  )

  class Info:
    def num_frames_at(self, fps):
      return 77

  monkeypatch.setattr(frame_source.decoding, 'probe', lambda path: Info())
  assert source.num_snippets('v') == 10
  for start in range(0, 11 - length, hop):
    found = source.read('v', start, start + length)[:, 0, 0, 0]
    expected = np.minimum(np.arange(start * 8, (start + length) * 8), 76)
    np.testing.assert_array_equal(found, expected)
  assert reader.starts == 1


def test_without_a_reader_a_stream_is_decoded_here(monkeypatch):
  monkeypatch.setattr(frame_source.decoding, 'frames', _Reader(77).frames)
  settings = {'fps': 16.0, 'size': (6, 8), 'stride': 8, 'crop': (4, 4)}
  here = frame_source.DecodingSource({'v': 'x.mp4'}, None, **settings)
  there = frame_source.DecodingSource({'v': 'x.mp4'}, _Reader(77), **settings)
  np.testing.assert_array_equal(here.read('v', 1, 4), there.read('v', 1, 4))


def test_a_stream_that_ends_early_is_an_error():
  source = frame_source.DecodingSource(
    {'v': 'x.mp4'}, _Reader(10), fps=16.0, size=(6, 8), stride=8, crop=(4, 4)
  )
  with pytest.raises(ValueError, match='ended early'):
    source.read('v', 3, 4)


@pytest.mark.parametrize('suffix', ['mkv', 'mp4'])
@pytest.mark.parametrize('apart', [False, True])
def test_a_video_that_is_empty_from_its_middle_on(tmp_path, suffix, apart):
  """Its header promises more than can be decoded: so many snippets it has."""
  path = made_videos.make(
    tmp_path / f'a.{suffix}', num_frames=100, noise=20, options={'g': '10'},
    container_options={'movflags': 'faststart'} if suffix == 'mp4' else None,
  )  # fmt: skip
  made_kinds.empty_from_the_middle(path)
  assert decoding.probe(path).num_frames == 100
  with reader.VideoReader() as decoder:
    source = frame_source.DecodingSource(
      {'v': path}, decoder if apart else None, fps=25.0, size=(16, 16),
      stride=8, crop=(16, 16),
    )  # fmt: skip
    with made_kinds.damage_allowed(), pytest.warns(video_files.VideoWarning):
      count = source.num_snippets('v')
      frames = [source.read('v', k, k + 1) for k in range(count)]
  assert 5 <= count <= 8
  assert np.concatenate(frames).shape == (8 * count, 16, 16, 3)
