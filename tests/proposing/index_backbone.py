"""An extractor whose features tell which picture of `made_videos` they saw."""

import jax.numpy as jnp

from cmsn_jax.features import extractor
from tests.video import made_videos

STRIDE, FPS = 5, 25.0


def _cells(params, frames, valid):
  """Brightness of the ten cells of the third frame of each snippet."""
  del params, valid
  middle = frames[:, STRIDE // 2 :: STRIDE].astype(jnp.float32).mean(-1)
  height, width = made_videos.HEIGHT, made_videos.WIDTH
  cells = []
  for bit in range(10):
    row, column = divmod(bit, 5)
    y, x = 48 + 32 * row, 16 + 32 * column
    cells.append(middle[:, :, y - 4 : y + 4, x - 4 : x + 4].mean((2, 3)))
  assert middle.shape[2:] == (height, width)
  return jnp.stack(cells, -1)


def index_of(row) -> int:
  """The picture that a row of features was made of."""
  return sum(int(cell > 128) << bit for bit, cell in enumerate(row))


def build(section):
  """The extractor."""
  del section
  return extractor.Extractor(
    name='index', modality='rgb', apply=_cells, params={}, dim=10, fps=FPS,
    stride=STRIDE, resize=(made_videos.HEIGHT, made_videos.WIDTH),
  )  # fmt: skip
