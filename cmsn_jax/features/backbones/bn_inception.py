"""BN-Inception: images or stacked flow → class scores (the temporal stream).

Layers carry the names of the original Caffe network (`/` as `_`), which the
public PyTorch ports keep too, so that weights need no name table.

References:
  Ioffe and Szegedy, `Batch Normalization <https://arxiv.org/abs/1502.03167>`,
  2015, Fig. 5. Wang et al., `Temporal Segment Networks
  <https://arxiv.org/abs/1608.00859>`, 2016, Sec. 3.2 (partial BN, dropout).
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

# Channels: 1x1 | 3x3 reduce, 3x3 | double 3x3 reduce, 1, 2 | pool projection.
# No 1x1 and no projection: the module halves height and width.
_MODULES = {
  '3a': (64, 64, 64, 64, 96, 96, 32),
  '3b': (64, 64, 96, 64, 96, 96, 64),
  '3c': (0, 128, 160, 64, 96, 96, 0),
  '4a': (224, 64, 96, 96, 128, 128, 128),
  '4b': (192, 96, 128, 96, 128, 128, 128),
  '4c': (160, 128, 160, 128, 160, 160, 128),
  '4d': (96, 128, 192, 160, 192, 192, 128),
  '4e': (0, 128, 192, 192, 256, 256, 0),
  '5a': (352, 192, 320, 160, 224, 224, 128),
  '5b': (352, 192, 320, 192, 224, 224, 128),
}


class BNInception(nn.Module):
  """The network, ImageNet's BN-Inception in channels and paddings.

  Attributes:
    num_classes: outputs of the last layer; None returns the 1024 pooled
      values before it.
    dropout: rate before the last layer (TSN: .8 RGB, .7 flow).
    partial_bn: in training, only the first batch normalisation uses and
      updates batch statistics (TSN, Sec. 3.2).
    width: multiplier of all channel counts; 1 is the original.
    dtype: compute dtype; parameters and normalisation stay float32.
  """

  num_classes: int | None = 200
  dropout: float = 0.8
  partial_bn: bool = True
  width: float = 1.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, images: Float[Array, 'n h w c'], *, train: bool = False
  ) -> Float[Array, 'n k']:
    """Returns float32 class scores (before any softmax).

    Args:
      images: mean-subtracted pixels or flow stacks.
      train: dropout on, batch statistics as `partial_bn` says.
    """
    unit = self._unit
    x = unit(images, 64, 'conv1_7x7_s2', 7, 2, train, first=True)
    x = _halving_pool(x)
    x = unit(x, 64, 'conv2_3x3_reduce', 1, 1, train)
    x = unit(x, 192, 'conv2_3x3', 3, 1, train)
    x = _halving_pool(x)
    for name, channels in _MODULES.items():
      x = self._module(x, f'inception_{name}', channels, train)
    x = x.mean((1, 2), dtype=jnp.float32)
    if self.num_classes is None:
      return x
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    init = nn.initializers.normal(0.001)
    return nn.Dense(self.num_classes, kernel_init=init, name='fc')(x)

  def _unit(self, x, channels, name, window, stride, train, first=False):
    pad = window // 2
    x = nn.Conv(
      max(1, round(channels * self.width)),
      (window, window),
      (stride, stride),
      padding=((pad, pad), (pad, pad)),
      dtype=self.dtype,
      name=name,
    )(x)
    frozen = self.partial_bn and not first
    x = nn.BatchNorm(
      use_running_average=frozen or not train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=self.dtype,
      name=f'{name}_bn',
    )(x)
    return nn.relu(x)

  def _module(self, x, name, channels, train):
    one, reduce, three, reduce_2, double_1, double_2, project = channels
    stride = 1 if one else 2

    def unit(y, count, suffix, window=1, step=1):
      return self._unit(y, count, f'{name}_{suffix}', window, step, train)

    branches = []
    if one:
      branches.append(unit(x, one, '1x1'))
    y = unit(x, reduce, '3x3_reduce')
    branches.append(unit(y, three, '3x3', 3, stride))
    y = unit(x, reduce_2, 'double_3x3_reduce')
    y = unit(y, double_1, 'double_3x3_1', 3)
    branches.append(unit(y, double_2, 'double_3x3_2', 3, stride))
    if not project:
      branches.append(_halving_pool(x))
    else:
      pool = nn.max_pool if name.endswith('5b') else nn.avg_pool
      y = pool(x, (3, 3), (1, 1), padding=((1, 1), (1, 1)))
      branches.append(unit(y, project, 'pool_proj'))
    return jnp.concatenate(branches, -1)


def _halving_pool(x: Float[Array, 'n h w c']) -> Float[Array, 'n i j c']:
  """3x3 max-pool, stride 2; the border is covered as Caffe rounds: up."""
  # One more row below and right where the size is even.
  extra = [(0, 1 - size % 2) for size in x.shape[1:3]]
  return nn.max_pool(x, (3, 3), (2, 2), padding=extra)
