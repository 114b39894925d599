"""Optical flow: convention, streaming, determinism, real motion."""

import sys
import types

import numpy as np
import pytest

from cmsn_jax.video import flow

cv2 = pytest.importorskip('cv2', reason='OpenCV is not installed')
_HAS_TVL1 = hasattr(cv2, 'optflow')


def _texture(h=64, w=80, seed=0):
  rng = np.random.default_rng(seed)
  grey = cv2.GaussianBlur(rng.random((h, w), np.float32), (0, 0), 2)
  grey = (grey - grey.min()) / (grey.max() - grey.min()) * 255
  return np.repeat(grey.astype(np.uint8)[..., None], 3, 2)


def _moving(steps, seed=0):
  """Frames whose content moves by each (dx, dy) in turn."""
  image, frames = _texture(seed=seed), []
  for dx, dy in [(0, 0), *steps]:
    image = np.roll(image, (dy, dx), (0, 1))
    frames.append(image)
  return np.stack(frames)


def test_bytes_are_tsns():
  pixels = np.array(
    [[-25.0, -20.0], [0.0, 20.0], [25.0, 1.0], [-1.0, 10.0]], np.float32
  )
  # round(255 * (v + 20) / 40); 127.5 rounds to the even 128.
  expected = [[0, 0], [128, 255], [255, 134], [121, 191]]
  np.testing.assert_array_equal(flow.to_bytes(pixels), expected)


def test_bytes_round_trip():
  pixels = np.linspace(-20, 20, 1001, dtype=np.float32).reshape(-1, 1)
  pixels = np.repeat(pixels, 2, 1)
  back = flow.to_pixels(flow.to_bytes(pixels))
  assert np.abs(back - pixels).max() <= 40 / 255
  assert flow.to_pixels(np.full((1, 2), 128, np.uint8)).tolist() == [[0, 0]]


@pytest.mark.parametrize(
  'method',
  [
    'dis',
    pytest.param(
      'tvl1',
      marks=pytest.mark.skipif(
        not _HAS_TVL1, reason='OpenCV without contrib: no TV-L1'
      ),
    ),
  ],
)
def test_known_motion(method):
  steps = [(2, 0), (-3, 1), (0, -2)]
  fields = np.concatenate(list(flow.stream([_moving(steps)], method=method)))
  assert fields.shape == (4, 64, 80, 2)
  inner = flow.to_pixels(fields)[:, 16:-16, 16:-16]
  # Field k moves frame k onto frame k + 1: x first, then y.
  np.testing.assert_allclose(np.median(inner[:3], (1, 2)), steps, atol=0.25)
  np.testing.assert_array_equal(fields[3], 128)


@pytest.mark.parametrize('cuts', [[], [1], [3], [1, 2, 3, 4], [0, 2, 2, 6]])
def test_cuts_and_threads_do_not_matter(cuts):
  frames = _moving([(1, 0), (2, 1), (-1, 2), (0, 3), (4, 0), (1, 1)])
  whole = np.concatenate(list(flow.stream([frames], method='dis', threads=1)))
  pieces = list(flow.stream(np.split(frames, cuts), method='dis', threads=4))
  np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_with_flow_has_frames_and_flow():
  frames = _moving([(1, 0), (2, 1)])
  both = np.concatenate(
    list(flow.for_modality([frames], 'rgb+flow', method='dis'))
  )
  only = np.concatenate(list(flow.for_modality([frames], 'flow', method='dis')))
  np.testing.assert_array_equal(both[..., :3], frames)
  np.testing.assert_array_equal(both[..., 3:], only)
  assert next(flow.for_modality([frames], 'rgb')) is frames
  with pytest.raises(ValueError, match='modality'):
    flow.for_modality([frames], 'depth')


def test_single_frame_and_nothing():
  fields = list(flow.stream([_moving([])], method='dis'))
  np.testing.assert_array_equal(np.concatenate(fields), 128)
  assert list(flow.stream([], method='dis')) == []


def test_streams_while_frames_arrive():
  asked = []

  def chunks():
    for index in range(50):
      asked.append(index)
      yield _moving([(1, 0)])

  fields = flow.stream(chunks(), method='dis', threads=1)
  next(fields)
  assert len(asked) <= 3
  fields.close()


def test_opencv_threads_are_restored():
  before = cv2.getNumThreads()
  chunks = [_moving([(1, 0)])] * 3
  one, two = (flow.stream(iter(chunks), method='dis') for _ in range(2))
  next(one), next(two)
  assert cv2.getNumThreads() == 1
  # The first to begin is the first to end: the other still needs one thread.
  one.close()
  assert cv2.getNumThreads() == 1
  list(two)
  assert cv2.getNumThreads() == before


def test_picture_shows_direction():
  still = np.full((4, 4, 2), 128, np.uint8)
  assert (flow.picture(still) == 255).all()
  right = still.copy()
  right[..., 0] = 255
  np.testing.assert_array_equal(flow.picture(right)[0, 0], [255, 0, 0])


def test_choose(monkeypatch):
  with pytest.raises(ValueError, match="got 'farneback'"):
    flow.choose('farneback')
  plain = types.ModuleType('cv2')
  monkeypatch.setitem(sys.modules, 'cv2', plain)
  with pytest.warns(flow.FlowWarning, match='no TV-L1'):
    assert flow.choose('auto') == 'dis'
  with pytest.raises(ValueError, match='contrib'):
    flow.choose('tvl1')
  plain.optflow = object()
  assert flow.choose('auto') == 'tvl1'
  monkeypatch.setitem(sys.modules, 'cv2', None)
  with pytest.raises(
    ModuleNotFoundError, match=r"pip install 'cmsn_jax\[flow\]'"
  ):
    flow.choose('auto')
