"""Many videos in one stream: every row where it belongs, whatever fails."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.features import extractor, packing

_LAG, _STRIDE = 3, 4


def _step(params, state, frames, valid):
  """Row i: the sum of snippets i - 1, i and i + 1, three snippets late."""
  del params
  values = frames.astype(jnp.float32).mean((2, 3, 4)) * valid
  sums = values.reshape(-1, _STRIDE).sum(1)
  present = valid.reshape(-1, _STRIDE).any(1)
  new = jnp.stack([sums, present], 1)
  joined = jnp.concatenate([state, new])
  n = new.shape[0]
  total = joined[:n, 0] + joined[1 : n + 1, 0] + joined[2 : n + 2, 0]
  rows = total * joined[1 : n + 1, 1]
  return joined[n:], rows.reshape(1, n, 1)


def _made(chunk, streams=True):
  def init(frame_shape):
    return jnp.zeros((_LAG + 1, 2), jnp.float32)

  stream = extractor.Stream(init, _step, _LAG, gap_frames=_STRIDE)
  return extractor.Extractor(
    name='sum', modality='rgb', params={}, dim=1, fps=25.0, stride=_STRIDE,
    apply=lambda params, frames, valid: _slow_apply(frames, valid),
    resize=(4, 4), halo_frames=_STRIDE, chunk_snippets=chunk,
    stream=stream if streams else None, crop=(2, 2),
  )  # fmt: skip


def _slow_apply(frames, valid):
  values = frames.astype(jnp.float32).mean((2, 3, 4)) * valid
  sums = values.reshape(1, -1, _STRIDE).sum(2)
  padded = jnp.pad(sums, ((0, 0), (1, 1)))
  rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
  return (rows * valid.reshape(1, -1, _STRIDE).any(2))[..., None]


def _video(length, seed, size=4):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (length, size, size, 3), np.uint8)


def _slow(frames):
  """The middle 2 x 2 pixels of each frame, snippet by snippet."""
  low = (frames.shape[1] - 2) // 2
  values = frames[:, low : low + 2, low : low + 2].mean((1, 2, 3))
  values = np.pad(values, (0, -len(values) % _STRIDE))
  sums = np.pad(values.reshape(-1, _STRIDE).sum(1), 1)
  return (sums[:-2] + sums[1:-1] + sums[2:])[:, None]


@settings(max_examples=12)
@given(
  st.lists(st.integers(0, 50), max_size=6), st.sampled_from([1, 2, 5]),
  st.integers(1, 9), st.booleans(),
)  # fmt: skip
def test_each_video_gets_its_own_rows(lengths, chunk, piece, streams):
  clips = [_video(length, seed) for seed, length in enumerate(lengths)]
  videos = (
    (key, (clip[i : i + piece] for i in range(0, len(clip), piece)))
    for key, clip in enumerate(clips)
  )
  found = list(packing.extract_all(_made(chunk, streams), videos))
  assert [key for key, _ in found] == list(range(len(clips)))
  for (_, rows), clip in zip(found, clips):
    if not len(clip):
      assert 'the video is empty' in str(rows)
      continue
    np.testing.assert_allclose(rows, _slow(clip), rtol=1e-5)


def test_a_video_that_breaks_leaves_the_others_alone():
  def broken():
    yield _video(9, 1)
    raise ValueError('damaged at 0.4 s')

  def wrong():
    yield _video(9, 1)
    yield _video(3, 1, size=6).astype(np.float32)

  videos = [('a', [_video(21, 0)]), ('b', broken()), ('c', wrong()),
            ('d', [_video(7, 2)]), ('e', [])]  # fmt: skip
  found = dict(packing.extract_all(_made(3), videos))
  assert list(found) == ['a', 'b', 'c', 'd', 'e']
  np.testing.assert_allclose(found['a'], _slow(_video(21, 0)), rtol=1e-5)
  assert str(found['b']) == 'damaged at 0.4 s'
  assert 'needs uint8 frames' in str(found['c'])
  np.testing.assert_allclose(found['d'], _slow(_video(7, 2)), rtol=1e-5)
  assert 'empty' in str(found['e'])


def test_videos_of_any_aspect_share_a_stream_and_small_ones_are_refused():
  calls = []
  made = _made(2)
  init = made.stream.init
  counted = extractor.Stream(
    lambda shape: calls.append(shape) or init(shape), _step, _LAG, _STRIDE
  )
  made = extractor.Extractor(**{**vars(made), 'stream': counted})
  videos = [(size, [_video(10, size, size)]) for size in (4, 6, 1, 8)]
  found = dict(packing.extract_all(made, videos))
  assert calls == [(2, 2, 3)]
  assert 'a crop of 2 x 2 does not fit into frames of 1 x 1' in str(found[1])
  for size in (4, 6, 8):
    np.testing.assert_allclose(
      found[size], _slow(_video(10, size, size)), rtol=1e-5
    )


def test_without_a_crop_each_size_has_a_stream_of_its_own():
  made = extractor.Extractor(**{**vars(_made(2)), 'crop': None})
  clips = {key: _video(13, key, size) for key, size in enumerate((2, 4, 4, 2))}
  found = dict(packing.extract_all(made, [(k, [c]) for k, c in clips.items()]))
  for key, clip in clips.items():
    sums = clip.mean((1, 2, 3))
    sums = np.pad(np.pad(sums, (0, -len(sums) % 4)).reshape(-1, 4).sum(1), 1)
    want = sums[:-2] + sums[1:-1] + sums[2:]
    np.testing.assert_allclose(found[key][:, 0], want, rtol=1e-5)


def test_rows_come_while_frames_still_arrive():
  read = []

  def chunks():
    for index in range(10):
      read.append(index)
      yield _video(8, index)

  pieces = packing.iterate(_made(2), chunks())
  first = next(pieces)
  assert 0 < len(first) and len(read) < 10
  rows = np.concatenate([first, *pieces])
  whole = np.concatenate([_video(8, index) for index in range(10)])
  np.testing.assert_allclose(rows, _slow(whole), rtol=1e-5)
  with pytest.raises(ValueError, match='the video is empty'):
    packing.extract(_made(2), [])
