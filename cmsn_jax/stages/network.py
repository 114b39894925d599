"""Action stage subnet (ASS): features -> convolution, BiLSTM, stage scores."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from cmsn_jax import stage_names
from cmsn_jax.features.backbones import convolution
from cmsn_jax.stages import bilstm, cosine_margin


class StageOutputs(NamedTuple):
  """What the network computes for each snippet; 0 at padded snippets.

  Attributes:
    hidden: the convolution's output, the evaluator's input, [b, t, width].
    embedding: the BiLSTM's output, [b, t, 2·lstm_width].
    scores: cosines (head 'cosine') or logits ('linear'), float32, [b, t, 6].
    actions: logits of no action and of each, float32, [b, t, 1 + actions];
      None without actions.
  """

  hidden: Float[Array, 'b t d']
  embedding: Float[Array, 'b t e']
  scores: Float[Array, 'b t s']
  actions: Float[Array, 'b t a'] | None = None


class Conv1d(nn.Module):
  """Convolution over three snippets, zero beyond the ends.

  The three shifted copies side by side and one matmul: the fast form of a
  short convolution on every backend. Parameters `kernel` [3, d, width] and
  `bias` [width].
  """

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: Float[Array, 'b t d']) -> Float[Array, 'b t w']:
    d = inputs.shape[-1]
    kernel = self.param(
      'kernel', nn.initializers.he_normal(), (3, d, self.width), jnp.float32
    )
    bias = self.param('bias', nn.initializers.zeros, (self.width,), jnp.float32)
    padded = jnp.pad(inputs.astype(self.dtype), ((0, 0), (1, 1), (0, 0)))
    stacked = jnp.concatenate(
      [padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], axis=-1
    )
    kernel = kernel.reshape(3 * d, self.width).astype(self.dtype)
    return stacked @ kernel + bias.astype(self.dtype)[None, None, :]


class CosineHead(nn.Module):
  """Cosines with one learned direction a stage; parameter `kernel` [d, s]."""

  num_stages: int = stage_names.COUNT

  @nn.compact
  def __call__(self, features: Float[Array, 'b t d']) -> Float[Array, 'b t s']:
    kernel = self.param(
      'kernel',
      nn.initializers.lecun_normal(),
      (features.shape[-1], self.num_stages),
      jnp.float32,
    )
    return cosine_margin.cosine_similarity(features, kernel)


class StageNetwork(nn.Module):
  """Stage scores of every snippet (Sec. 3.1; DESIGN section 5).

  Submodules: `conv` (features) or `conv_1`, `conv_2` (maps), `bilstm`,
  `classifier`, and `actions` where there are any.

  Attributes:
    input_kind: 'features' [b, t, d], or 'maps' [b, t, h, w, c] of a
      convolutional network, pooled over the whole of h and w.
    width: channels of the convolutions.
    lstm_width: of one direction.
    lstm_layers: stacked BiLSTM layers.
    dropout: rate between LSTM layers and before the classifier.
    head: 'cosine' (normalised, no bias) or 'linear' (with bias).
    num_actions: told apart beside the stages, which the paper does not; 0: none.
    dtype: compute dtype; parameters and scores are float32.
  """

  input_kind: str = 'features'
  width: int = 512
  lstm_width: int = 512
  lstm_layers: int = 2
  dropout: float = 0.5
  head: str = 'cosine'
  num_actions: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    inputs: Shaped[Array, 'b t ...'],
    mask: Bool[Array, 'b t'],
    *,
    train: bool = False,
  ) -> StageOutputs:
    """Returns hidden features, embedding and scores of each snippet.

    Args:
      inputs: [b, t, d] or [b, t, h, w, c], by `input_kind`. Padded snippets
        may hold anything, NaN included.
      mask: true for each sequence's valid snippets, which come first, [b, t].
      train: apply dropout, which needs the rng `dropout`.
    Returns:
      `StageOutputs`; padding never changes a valid output.
    Raises:
      ValueError: an unknown input_kind or head, or inputs of another rank.
    """
    self._check(inputs)
    hidden = self._convolve(inputs, mask)
    embedding = bilstm.BiLSTM(
      self.lstm_width,
      self.lstm_layers,
      self.dropout,
      self.dtype,
      name='bilstm',
    )(hidden, jnp.sum(mask, axis=1, dtype=jnp.int32), train=train)
    dropped = nn.Dropout(self.dropout, name='dropout')(
      embedding, deterministic=not train
    )
    if self.head == 'cosine':
      scores = CosineHead(name='classifier')(dropped)
    else:
      scores = nn.Dense(
        stage_names.COUNT, dtype=jnp.float32, name='classifier'
      )(dropped)
    actions = None
    if self.num_actions:
      head = nn.Dense(1 + self.num_actions, dtype=jnp.float32, name='actions')
      actions = _masked(head(dropped), mask)
    return StageOutputs(hidden, embedding, _masked(scores, mask), actions)

  def _convolve(self, inputs: Array, mask: Array) -> Array:
    # Each convolution sees zeros at padding, as beyond the end of a sequence.
    hidden = _masked(inputs.astype(self.dtype), mask)
    if self.input_kind == 'features':
      conv = Conv1d(self.width, self.dtype, name='conv')
      return _masked(nn.relu(conv(hidden)), mask)
    for i in (1, 2):
      conv = convolution.Conv3D(self.width, dtype=self.dtype, name=f'conv_{i}')
      hidden = _masked(nn.relu(conv(hidden)), mask)
    return jnp.max(hidden, axis=(2, 3))

  def _check(self, inputs: Array) -> None:
    if self.head not in ('cosine', 'linear'):
      raise ValueError(f"head must be 'cosine' or 'linear', got {self.head!r}")
    ranks = {'features': (3, '[b, t, d]'), 'maps': (5, '[b, t, h, w, c]')}
    if self.input_kind not in ranks:
      raise ValueError(
        f"input_kind must be 'features' or 'maps', got {self.input_kind!r}"
      )
    rank, shape = ranks[self.input_kind]
    if inputs.ndim != rank:
      raise ValueError(
        f'input_kind {self.input_kind!r} takes inputs {shape}, '
        f'got shape {inputs.shape}'
      )


def _masked(values: Array, mask: Array) -> Array:
  mask = mask.reshape(mask.shape + (1,) * (values.ndim - 2))
  return jnp.where(mask, values, jnp.zeros((), values.dtype))
