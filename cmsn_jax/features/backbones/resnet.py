"""Bottleneck ResNets of 50 to 200 layers: images → class scores.

References:
  He et al., `Deep Residual Learning <https://arxiv.org/abs/1512.03385>`, 2015;
  `Identity Mappings <https://arxiv.org/abs/1603.05027>`, 2016
  (pre-activation, the 200-layer network).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

# Blocks in each of the four stages.
DEPTHS = {
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
  200: (3, 24, 36, 3),
}


class ResNet(nn.Module):
  """Residual network of bottleneck blocks.

  Attributes:
    blocks: blocks in each stage, `DEPTHS[depth]`.
    num_classes: outputs of the last layer; None returns the pooled values
      before it (2048 at full width).
    dropout: rate before the last layer (TSN: .8 RGB, .7 flow).
    partial_bn: in training, only the first batch normalisation uses and
      updates batch statistics (TSN, Sec. 3.2).
    preactivation: normalise before each convolution instead of after it.
    stride_in_1x1: a block halves the size in its first convolution (Caffe's
      original) instead of in its 3x3 (torchvision).
    pool_padding: of the first pool, above and to the left; torchvision's 1,
      Caffe's commonly 0.
    pool_ceil: whether that pool covers what is left at the lower and right
      border by one window more (Caffe).
    width: channels of the first convolution; 64 is the original.
    dtype: compute dtype; parameters and normalisation stay float32.
  """

  blocks: tuple[int, ...] = DEPTHS[200]
  num_classes: int | None = 200
  dropout: float = 0.8
  partial_bn: bool = True
  preactivation: bool = False
  stride_in_1x1: bool = False
  pool_padding: int = 1
  pool_ceil: bool = False
  width: int = 64
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
    x = _conv(self.width, 7, 2, self.dtype, 'conv1')(images)
    x = _norm(not train, self.dtype, 'bn1')(x)
    x = self._first_pool(nn.relu(x))
    frozen = self.partial_bn or not train
    for stage, count in enumerate(self.blocks):
      for index in range(count):
        x = _Block(
          channels=self.width * 2**stage,
          stride=2 if stage and not index else 1,
          project=not index,
          # The stem has normalised the input of the very first block.
          opening=bool(stage or index),
          preactivation=self.preactivation,
          stride_in_1x1=self.stride_in_1x1,
          frozen=frozen,
          train=train,
          dtype=self.dtype,
          name=f'layer{stage + 1}_{index}',
        )(x)
    if self.preactivation:
      x = nn.relu(_norm(frozen, self.dtype, 'bn_last')(x))
    x = x.mean((1, 2), dtype=jnp.float32)
    if self.num_classes is None:
      return x
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    init = nn.initializers.normal(0.001)
    return nn.Dense(self.num_classes, kernel_init=init, name='fc')(x)

  def _first_pool(self, x):
    pad = self.pool_padding
    # Rounded up: one row more where windows of 3, two apart, leave one over.
    extra = [
      (size + 2 * pad - 3) % 2 if self.pool_ceil else 0 for size in x.shape[1:3]
    ]
    padding = [(pad, pad + more) for more in extra]
    return nn.max_pool(x, (3, 3), (2, 2), padding=padding)


class _Block(nn.Module):
  """1x1, 3x3, 1x1 (four times the channels), plus the shortcut."""

  channels: int
  stride: int
  project: bool
  opening: bool
  preactivation: bool
  stride_in_1x1: bool
  frozen: bool
  train: bool
  dtype: Any

  @nn.compact
  def __call__(self, x):
    first, second = self.stride, 1
    if not self.stride_in_1x1:
      first, second = second, first
    steps = (
      _conv(self.channels, 1, first, self.dtype, 'conv1'),
      _conv(self.channels, 3, second, self.dtype, 'conv2'),
      _conv(4 * self.channels, 1, 1, self.dtype, 'conv3'),
    )
    shortcut = None
    if self.project:
      shortcut = _conv(
        4 * self.channels, 1, self.stride, self.dtype, 'downsample_conv'
      )
    body = self._before if self.preactivation else self._after
    return body(x, steps, shortcut)

  def _after(self, x, steps, shortcut):
    y = x
    for number, step in enumerate(steps, 1):
      y = _norm(self.frozen, self.dtype, f'bn{number}')(step(y))
      y = nn.relu(y) if number < 3 else y
    if shortcut is not None:
      x = shortcut(x)
      x = _norm(self.frozen, self.dtype, 'downsample_bn')(x)
    return self._joined(x, y)

  def _joined(self, x, y):
    if self.train or jax.default_backend() != 'cpu':
      return nn.relu(x + y)
    # XLA's CPU backend computes a sum anew for each of its two readers, with
    # the sums of all blocks before it: a cost quadratic in depth. It drops
    # optimization_barrier before it fuses; a branch that it cannot decide
    # stays. Both branches are the same sum.
    return jax.lax.cond(
      x.ravel()[0] < 0,
      lambda a, b: nn.relu(b + a),
      lambda a, b: nn.relu(a + b),
      x,
      y,
    )

  def _before(self, x, steps, shortcut):
    y = x
    for number, step in enumerate(steps, 1):
      if number > 1 or self.opening:
        y = nn.relu(_norm(self.frozen, self.dtype, f'bn{number}')(y))
      if number == 1 and shortcut is not None:
        # A projecting shortcut branches off after the activation.
        x = shortcut(y)
      y = step(y)
    return x + y


def _conv(channels, window, stride, dtype, name):
  pad = window // 2
  return nn.Conv(
    channels,
    (window, window),
    (stride, stride),
    padding=((pad, pad), (pad, pad)),
    use_bias=False,
    kernel_init=nn.initializers.variance_scaling(
      2.0, 'fan_out', 'truncated_normal'
    ),
    dtype=dtype,
    name=name,
  )


def _norm(frozen, dtype, name):
  return nn.BatchNorm(
    use_running_average=frozen,
    momentum=0.9,
    epsilon=1e-5,
    dtype=dtype,
    name=name,
  )
