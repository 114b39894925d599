"""The networks of a run, as its config says, and their pure functions.

frames or features -> stage scores (FES + ASS), hidden features + proposals ->
scores (PES).
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Bool, Float, Int, Shaped

from cmsn_jax.chains import first_params
from cmsn_jax.features import pixels
from cmsn_jax.features.backbones import c3d
from cmsn_jax.scoring import evaluator as evaluator_lib
from cmsn_jax.scoring import roi_pooling
from cmsn_jax.stages import cosine_margin, network

# Parameters do not depend on the length that they are made with.
_SHORT_WINDOW = 8


class StageScores(NamedTuple):
  """Of each snippet: stage probabilities [b, t, 6], PES input [b, t, c].

  And, where labels are told apart, probabilities of them [b, t, a]; what is
  missing to 1 is no action.
  """

  probabilities: jax.Array
  hidden: jax.Array
  actions: jax.Array | None = None


class StageModel(nn.Module):
  """FES (from video only) and ASS (Sec. 3.1).

  Attributes:
    network: the action stage subnet.
    extractor: frames -> maps; None where the input is features.
    mean: subtracted from RGB, by channel (from video only).
    scale: what is left is multiplied by it, by channel.
    channel_order: 'rgb' or 'bgr', which the extractor's weights expect.
  """

  network: nn.Module
  extractor: nn.Module | None = None
  mean: tuple[float, ...] = ()
  scale: tuple[float, ...] = ()
  channel_order: str = 'rgb'

  def __call__(
    self,
    inputs: Shaped[Array, 'b ...'],
    mask: Bool[Array, 'b t'],
    *,
    train: bool = False,
  ) -> network.StageOutputs:
    """Returns the stage outputs of a batch of windows.

    Args:
      inputs: features [b, t, d], or frames uint8 [b, f, h, w, 3].
      mask: valid snippets, which come first.
      train: apply dropout.
    """
    if self.extractor is not None:
      frames = pixels.preprocess(
        inputs,
        mean=self.mean,
        scale=self.scale,
        channel_order=self.channel_order,
      )
      stride = inputs.shape[1] // mask.shape[1]
      inputs = self.extractor(frames, jnp.repeat(mask, stride, axis=1))
    return self.network(inputs, mask, train=train)


@dataclasses.dataclass(frozen=True)
class Networks:
  """Modules and settings of a run; parameters are passed to its functions.

  A parameter bundle is {'stages': FES and ASS, 'evaluator': PES}; without an
  evaluator {'stages'} only.
  """

  stages: StageModel
  evaluator: evaluator_lib.Evaluator | None
  loss: str
  scale: float
  roi_bins: int
  width: int
  # Of an export: snippets that its program can pool; here there is no limit.
  facts: ClassVar[dict[str, int]] = {}

  def init_stages(
    self, key: jax.Array, window: int, snippet_shape: tuple[int, ...]
  ) -> dict[str, Any]:
    """Random parameters of FES and ASS.

    Args:
      key: random key.
      window: snippets a window.
      snippet_shape: (d,) of features, (stride, h, w, 3) of frames.
    """
    if len(snippet_shape) == 1:
      inputs = jnp.zeros((1, window, *snippet_shape), jnp.float32)
    else:
      stride, *frame = snippet_shape
      inputs = jnp.zeros((1, window * stride, *frame), jnp.uint8)
    mask = jnp.ones((1, window), bool)
    return first_params.drawn(self.stages.init, key, inputs, mask)['params']

  def init_evaluator(self, key: jax.Array, channels: int) -> dict[str, Any]:
    """Random parameters of the PES on `channels` hidden features."""
    rois = jnp.zeros((1, self.roi_bins, channels))
    return first_params.drawn(self.evaluator.init, key, rois)['params']

  def encode(
    self,
    params: dict[str, Any],
    inputs: Shaped[Array, 'b ...'],
    mask: Bool[Array, 'b t'],
  ) -> StageScores:
    """What is said of each snippet, without dropout or margin."""
    outputs = self.stages.apply({'params': params['stages']}, inputs, mask)
    return StageScores(
      cosine_margin.probabilities(
        outputs.scores, kind=self.loss, scale=self.scale
      ),
      outputs.hidden.astype(jnp.float32),
      None
      if outputs.actions is None
      else jax.nn.softmax(outputs.actions)[..., 1:],
    )

  def score(
    self,
    params: dict[str, Any],
    hidden: Float[Array, 't c'],
    starts: Int[Array, ' n'],
    ends: Int[Array, ' n'],
    levels: int | None = None,
  ) -> Float[Array, ' n']:
    """Expected tIoU of proposals from snippet `starts` to `ends` inclusive.

    `levels` as in `roi_pooling.roi_max_pool`.
    """
    rois = roi_pooling.roi_max_pool(hidden, starts, ends, self.roi_bins, levels)
    logits = self.evaluator.apply({'params': params['evaluator']}, rois)
    return jax.nn.sigmoid(logits)

  def shapes(self, snippet_shape: tuple[int, ...]) -> dict[str, Any]:
    """The bundle as shapes; nothing is computed.

    Args:
      snippet_shape: (d,) of features, (stride, h, w, 3) of frames.
    """
    key = jax.random.key(0)
    found = {
      'stages': jax.eval_shape(
        lambda: self.init_stages(key, _SHORT_WINDOW, snippet_shape)
      )
    }
    if self.evaluator is not None:
      found['evaluator'] = jax.eval_shape(
        lambda: self.init_evaluator(key, self.width)
      )
    return found


def build(config: ml_collections.ConfigDict) -> Networks:
  """The networks that a config describes.

  Raises:
    ValueError: on an unknown setting.
  """
  dtype = _dtype(config.train.dtype)
  video = _choice(config.data.input, ('features', 'video'), 'data.input')
  video = video == 'video'
  stages = network.StageNetwork(
    input_kind='maps' if video else 'features',
    width=config.stages.width,
    lstm_width=config.stages.lstm_width,
    lstm_layers=config.stages.lstm_layers,
    dropout=config.stages.dropout,
    head='linear' if config.stages.loss == 'softmax' else 'cosine',
    num_actions=len(config.stages.label_names),
    dtype=dtype,
  )
  extractor = None
  if video:
    _choice(config.extractor.name, ('c3d',), 'extractor.name')
    extractor = c3d.C3D(
      widths=tuple(config.extractor.widths),
      frozen_layers=config.extractor.frozen_layers,
      remat=config.extractor.remat,
      dtype=dtype,
    )
  evaluator = None
  if config.evaluator.enabled:
    evaluator = evaluator_lib.Evaluator(
      hidden=config.evaluator.hidden,
      dropout=config.evaluator.dropout,
      dtype=dtype,
    )
  return Networks(
    stages=StageModel(
      network=stages,
      extractor=extractor,
      mean=tuple(config.extractor.mean),
      scale=tuple(config.extractor.scale),
      channel_order=config.extractor.channel_order,
    ),
    evaluator=evaluator,
    loss=config.stages.loss,
    scale=config.stages.scale,
    roi_bins=config.evaluator.roi_bins,
    width=config.stages.width,
  )


def _dtype(name):
  return jnp.dtype(_choice(name, ('float32', 'bfloat16'), 'train.dtype')).type


def _choice(value, choices, name):
  if value not in choices:
    raise ValueError(f'{name} must be one of {choices}, got {value!r}')
  return value
