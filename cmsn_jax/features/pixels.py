"""Decoded frames → what a network takes: values and crops."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8


def preprocess(
  frames: Shaped[Array, '*b h w 3'],
  *,
  mean: Sequence[float | int] = (0.0, 0.0, 0.0),
  scale: float | int | Sequence[float | int] = 1.0,
  channel_order: str = 'rgb',
) -> Float[Array, '*b h w 3']:
  """Turns decoded RGB frames into what a weight set was trained on.

  Args:
    frames: RGB values, 0 to 255.
    mean: what is subtracted from each channel, in `channel_order`.
    scale: what the difference is multiplied by, one number or one a channel.
    channel_order: 'rgb', or 'bgr' for weights trained on OpenCV or Caffe input.
  Returns:
    float32 frames in `channel_order`.
  Raises:
    ValueError: unknown channel order, or not three means.
  """
  if channel_order not in ('rgb', 'bgr'):
    raise ValueError(
      f"channel_order must be 'rgb' or 'bgr', got {channel_order!r}"
    )
  mean = np.asarray(mean, np.float32)
  if mean.shape != (3,):
    raise ValueError(f'mean must have 3 values, one a channel, got {mean!r}')
  scale = np.broadcast_to(np.asarray(scale, np.float32), (3,))
  if channel_order == 'bgr':
    frames = frames[..., ::-1]
  shape = (1,) * (frames.ndim - 1) + (3,)
  return (frames.astype(jnp.float32) - mean.reshape(shape)) * scale.reshape(
    shape
  )


def centre_crop(
  frames: UInt8[Array, 'b f h w c'], size: int
) -> UInt8[Array, 'b f s s c']:
  """Returns the middle `size` x `size` pixels.

  Raises:
    ValueError: if the frames are smaller.
  """
  h, w = frames.shape[2:4]
  if min(h, w) < size:
    raise ValueError(f'a crop of {size} does not fit into frames of {h}x{w}')
  top, left = (h - size) // 2, (w - size) // 2
  return frames[:, :, top : top + size, left : left + size]


def crops(
  images: Shaped[Array, 'n h w c'], size: int, rule: str, *, is_flow: bool
) -> Shaped[Array, 'm i j c']:
  """Crops of each image: all of the first image, then all of the second …

  Args:
    images: bytes.
    size: height and width of a crop.
    rule: 'centre'; 'ten' (four corners, centre, and their mirror images);
      'full' (the whole image, no crop).
    is_flow: a mirror image's horizontal motion changes its sign.
  Returns:
    bytes, the crops of an image beside each other.
  Raises:
    ValueError: if the images are smaller than a crop.
  """
  if rule == 'full':
    return images
  n, h, w, c = images.shape
  if min(h, w) < size:
    raise ValueError(f'a crop of {size} does not fit into frames of {h}x{w}')
  bottom, right = h - size, w - size
  places = [(bottom // 2, right // 2)]
  if rule == 'ten':
    places += [(0, 0), (0, right), (bottom, 0), (bottom, right)]
  views = [images[:, y : y + size, x : x + size] for y, x in places]
  if rule == 'ten':
    views += [_mirrored(view, is_flow) for view in views]
  return jnp.stack(views, 1).reshape(n * len(views), size, size, c)


def _mirrored(images, is_flow):
  images = images[:, :, ::-1]
  if not is_flow:
    return images
  horizontal = jnp.arange(images.shape[3]) % 2 == 0
  return jnp.where(horizontal.reshape(1, 1, 1, -1), 255 - images, images)
