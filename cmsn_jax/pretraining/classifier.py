"""A feature extractor with a classifier on top, to pre-train it on clips.

Clips of one action each, as UCF-101 has them, teach the extractor; only its
own parameters go on to the proposal network (Sec. 5.1 and Table 3).
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Shaped

from cmsn_jax.features import pixels

HEADS = ('average', 'fc')


class ClipClassifier(nn.Module):
  """Class scores of clips: preprocess, extract, pool, classify, average.

  Attributes:
    extractor: frames [b, f, h, w, c] -> features [b, ..., d], called with
      `train=`.
    num_classes: number of classes.
    head: 'average' averages features over time and place; 'fc' is C3D's own:
      max-pooling, then two fully connected layers.
    hidden: width of those layers.
    dropout: before every fully connected layer.
    per_frame: the extractor takes single images [b, h, w, c].
    mean: subtracted from frames; see `pixels.preprocess`.
    scale: what is left is multiplied by it.
    channel_order: 'rgb' or 'bgr'.
    dtype: compute dtype of the head; scores are float32.
  """

  extractor: nn.Module
  num_classes: int
  head: str = 'average'
  hidden: int = 4096
  dropout: float = 0.5
  per_frame: bool = False
  mean: tuple[float, ...] = (0.0, 0.0, 0.0)
  scale: tuple[float, ...] = (1.0, 1.0, 1.0)
  channel_order: str = 'rgb'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    frames: Shaped[Array | np.ndarray, 'b n f h w 3'],
    *,
    train: bool = False,
  ) -> Float[Array, 'b classes']:
    """Returns class scores (logits), averaged over each example's n clips.

    Args:
      frames: RGB values 0 to 255, n clips of f frames an example.
      train: apply dropout (rng 'dropout').
    Raises:
      ValueError: on an unknown head.
    """
    if self.head not in HEADS:
      raise ValueError(f'head must be one of {HEADS}, got {self.head!r}')
    b, n, f, h, w, c = frames.shape
    frames = pixels.preprocess(
      jnp.asarray(frames).reshape(b * n, f, h, w, c),
      mean=self.mean,
      scale=self.scale,
      channel_order=self.channel_order,
    )
    if self.per_frame:
      frames = frames.reshape(b * n * f, h, w, c)
    features = self.extractor(frames, train=train)
    logits = self._classify(features, train)
    return logits.reshape(b, -1, self.num_classes).mean(axis=1)

  def _classify(self, features, train):
    drop = functools.partial(nn.Dropout(self.dropout), deterministic=not train)
    if self.head == 'average':
      pooled = features.mean(axis=tuple(range(1, features.ndim - 1)))
    else:
      pooled = _flat_maxima(features)
      for name in ('fc6', 'fc7'):
        pooled = nn.Dense(self.hidden, dtype=self.dtype, name=name)(pooled)
        pooled = drop(nn.relu(pooled))
    if self.head == 'average':
      pooled = drop(pooled)
    logits = nn.Dense(self.num_classes, dtype=self.dtype, name='classes')
    return logits(pooled).astype(jnp.float32)


def _flat_maxima(features):
  """C3D's pool5, over all of time, flattened: 7 x 7 becomes 4 x 4."""
  if features.ndim != 5:
    raise ValueError(
      "head 'fc' needs maps [b, t, h, w, d], the extractor gives "
      f"{features.shape}; use head 'average'"
    )
  maps = features.max(axis=1)
  maps = nn.max_pool(maps, (2, 2), (2, 2), padding='SAME')
  return maps.reshape(maps.shape[0], -1)


def loss(
  logits: Float[Array, 'b classes'], labels: Int[Array, ' b']
) -> tuple[Float[Array, ''], Float[Array, '']]:
  """Returns (mean cross-entropy, share of right answers)."""
  entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  right = jnp.argmax(logits, axis=-1) == labels
  return entropy.mean(), right.astype(jnp.float32).mean()
