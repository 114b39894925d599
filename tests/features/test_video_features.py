"""Video files joined to flow and extractors; the documented example."""

import pathlib
import re
import sys

import numpy as np
import pytest

from cmsn_jax.features import extractor, video_features
from cmsn_jax.settings import features as features_default
from cmsn_jax.video import decoding, flow
from tests.video import made_videos

_DOCS = pathlib.Path(__file__).parents[2] / 'docs' / 'extractors.md'


@pytest.fixture
def my_backbone(tmp_path, monkeypatch):
  """The documentation's own backbone, importable."""
  code = re.search(r'```python\n(.*?)```', _DOCS.read_text(), re.S)[1]
  (tmp_path / 'my_backbone.py').write_text(code)
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, 'my_backbone', raising=False)
  features = features_default.get_config().features
  features.extractor = 'my_backbone'
  return features


@pytest.fixture
def clip(tmp_path):
  path = tmp_path / 'clip.mp4'
  made_videos.make(path, num_frames=40)
  return str(path)


def test_documented_backbone(my_backbone, clip):
  made = video_features.from_config(my_backbone)
  clock, counts = video_features.Clock(), []
  rows = made.extract(clip, clock=clock, on_frames=counts.append)
  # 40 frames at stride 12: the fourth snippet has begun.
  assert rows.shape == (4, 128) and rows.dtype == np.float32
  assert sum(counts) == clock.frames == 40
  assert 0 < clock.decode_sec < clock.total_sec
  frames = decoding.read(clip, fps=25.0, size=(112, 112))
  whole = extractor.extract(made.extractor, [frames], chunk_snippets=100)
  np.testing.assert_allclose(rows, whole, atol=1e-6)
  # The last row is the mean of its four frames, not of twelve.
  last = extractor.extract(made.extractor, [frames[36:]])
  np.testing.assert_allclose(rows[3:], last, atol=1e-6)


def test_record_makes_the_same_extractor(my_backbone, clip):
  made = video_features.from_config(my_backbone)
  again = video_features.from_record(made.record, 'the checkpoint')
  assert again.record == made.record
  np.testing.assert_array_equal(again.extract(clip), made.extract(clip))
  changed = {**made.record, 'weights': 'other', 'dim': 7}
  with pytest.raises(ValueError) as error:
    video_features.from_record(changed, 'the checkpoint')
  assert "weights was 'other', is now 'random'" in str(error.value)
  assert 'dim was 7, is now 128' in str(error.value)
  with pytest.raises(ValueError, match='features.json does not say how'):
    video_features.from_record({'feature_fps': 5.0}, 'features.json')


def _mean_extractor(modality):
  """Each frame's mean a channel."""
  return extractor.Extractor(
    name='mean',
    modality=modality,
    apply=lambda params, frames, valid: frames.astype('float32').mean((2, 3)),
    params={},
    dim=extractor.CHANNELS[modality],
    fps=25.0,
    stride=1,
    resize=(24, 32),
  )


@pytest.mark.parametrize('modality', ['flow', 'rgb+flow'])
def test_flow_joins(clip, modality):
  pytest.importorskip('cv2', reason='OpenCV is not installed')
  made = video_features.VideoFeatures(
    _mean_extractor(modality), flow_method='dis', flow_threads=1
  )
  assert made.record['flow'] == {'method': 'dis', 'bound': 20.0}
  clock = video_features.Clock()
  rows = made.extract(clip, clock=clock)
  frames = decoding.read(clip, fps=25.0, size=(24, 32))
  fields = np.concatenate(list(flow.stream([frames], method='dis')))
  np.testing.assert_allclose(rows[:, -2:], fields.mean((1, 2)), rtol=1e-5)
  if modality == 'rgb+flow':
    np.testing.assert_allclose(rows[:, :3], frames.mean((1, 2)), rtol=1e-5)
  assert clock.flow_sec > 0


def test_aspect_is_kept(tmp_path):
  path = tmp_path / 'tall.mp4'
  made_videos.make(path, num_frames=3, size=(128, 96))
  shapes = []

  def apply(params, frames, valid):
    shapes.append(frames.shape[2:4])
    return frames[:, :, 0, 0].astype('float32')

  made = extractor.Extractor(
    'shape', 'rgb', apply, {}, 3, 25.0, 1, (48,), chunk_snippets=3
  )
  video_features.VideoFeatures(made).extract(str(path))
  assert shapes == [(64, 48)]
  assert video_features.shorter_side(240, 320, 256) == (256, 341)


def test_not_finite_is_an_error(clip):
  made = extractor.Extractor(
    'nan', 'rgb', lambda p, x, v: x[:, :, 0, 0] * np.nan, {}, 3, 25.0, 1, (8, 8)
  )
  with pytest.raises(ValueError, match='clip.mp4: .*NaN'):
    video_features.VideoFeatures(made).extract(clip)
