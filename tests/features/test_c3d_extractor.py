import jax
import numpy as np
import pytest

from cmsn_jax.features import c3d_extractor, extractor, pixels
from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import c3d as c3d_weights
from cmsn_jax.features.weights import folders
from configs import features_c3d

WIDTHS = (2, 3, 4, 4, 5)


def section(**settings):
  features = features_c3d.get_config().features
  values = {
    'widths': WIDTHS,
    'resize': (18, 20),
    'crop': 16,
    'scale': (0.1,) * 3,
  }
  for key, value in (values | {'chunk_snippets': 3} | settings).items():
    features[key] = value
  return features


def video(frames=70):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (frames, 18, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize('pool', ['mean', 'max'])
def test_pieces_equal_the_whole_video(pool):
  made = extractor.load('cmsn_jax.features.c3d_extractor', section(pool=pool))
  assert made.dim == 5 and made.feature_fps == 25 / 8
  clip = video()
  got = extractor.extract(made, [clip[:33], clip[33:]])
  assert got.shape == (9, 5)
  padded = np.zeros((72, 16, 16, 3), np.uint8)
  padded[:70] = clip[:, 1:17, 2:18]
  frames = pixels.preprocess(jax.numpy.asarray(padded), mean=made.settings['mean'],
                          scale=(0.1,) * 3)  # fmt: skip
  maps = jax.jit(c3d.C3D(widths=WIDTHS).apply)(
    made.params, frames[None], np.arange(72)[None] < 70
  )
  want = getattr(np, pool)(np.asarray(maps[0]), axis=(1, 2))
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_weight_folder_says_widths_and_frame_values(tmp_path):
  params = jax.tree.map(np.array, c3d_weights.template((2, 2, 2, 2, 7)))
  text = {'backbone': 'c3d', 'widths': [2, 2, 2, 2, 7], 'mean': [1.0, 2.0, 3.0],
          'scale': [1.0, 1.0, 1.0], 'channel_order': 'bgr'}  # fmt: skip
  folders.save(tmp_path, folders.Weights(params, text))
  made = c3d_extractor.build(section(weights=str(tmp_path)))
  assert made.dim == 7
  assert made.settings['channel_order'] == 'bgr'
  assert 'sha256:' in made.weights
  folders.save(tmp_path, folders.Weights(params, text | {'backbone': 'x'}))
  with pytest.raises(ValueError, match="weights of 'x', not of C3D"):
    c3d_extractor.build(section(weights=str(tmp_path)))
  with pytest.raises(ValueError, match="got 'median'"):
    c3d_extractor.build(section(pool='median'))
