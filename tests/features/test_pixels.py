import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features import pixels


def test_preprocess():
  frames = np.full((2, 4, 5, 3), [10, 20, 30], np.uint8)
  rgb = pixels.preprocess(jnp.asarray(frames), mean=(1, 2, 3), scale=0.5)
  assert rgb[0, 0, 0].tolist() == [4.5, 9.0, 13.5]
  bgr = pixels.preprocess(
    jnp.asarray(frames), mean=(1, 2, 3), channel_order='bgr'
  )
  assert bgr[1, 3, 4].tolist() == [29.0, 18.0, 7.0]
  with pytest.raises(ValueError, match="'rgb' or 'bgr', got 'rbg'"):
    pixels.preprocess(jnp.asarray(frames), channel_order='rbg')
  with pytest.raises(ValueError, match='mean must have 3 values'):
    pixels.preprocess(jnp.asarray(frames), mean=(1.0,))


def test_centre_crop():
  frames = np.arange(2 * 3 * 6 * 7 * 3).reshape(2, 3, 6, 7, 3).astype(np.uint8)
  found = pixels.centre_crop(jnp.asarray(frames), 4)
  np.testing.assert_array_equal(found, frames[:, :, 1:5, 1:5])
  with pytest.raises(ValueError, match='a crop of 7 does not fit.* 6x7'):
    pixels.centre_crop(jnp.asarray(frames), 7)


def test_ten_crops():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 6, 8, 4), np.uint8)
  views = pixels.crops(jnp.asarray(images), 4, 'ten', is_flow=True)
  assert views.shape == (20, 4, 4, 4)
  places = [(1, 2), (0, 0), (0, 4), (2, 0), (2, 4)]
  for n in range(2):
    for index, (y, x) in enumerate(places):
      view = images[n, y : y + 4, x : x + 4].astype(int)
      np.testing.assert_array_equal(views[10 * n + index], view)
      mirrored = view[:, ::-1].copy()
      # Motion to the right becomes motion to the left; up stays up.
      mirrored[..., 0::2] = 255 - mirrored[..., 0::2]
      np.testing.assert_array_equal(views[10 * n + 5 + index], mirrored)
  plain = pixels.crops(jnp.asarray(images), 4, 'ten', is_flow=False)
  np.testing.assert_array_equal(plain[5], images[0, 1:5, 2:6][:, ::-1])
  with pytest.raises(ValueError, match='a crop of 7 does not fit'):
    pixels.crops(jnp.asarray(images), 7, 'centre', is_flow=False)
