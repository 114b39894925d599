"""One network, two heads: stages of snippets and scores of proposals.

features -> dilated convolutions -> six cosines a snippet (ASS, Sec. 3.1)
                                 -> context evaluator of any segments (PES)

Beside the paper's chain, where the evaluator is trained after the stage
network and on its frozen features: here both are trained at once, so the
evaluator shapes the features that it pools, and it never sees the overfitted
stages of its own training videos as if they were typical.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Bool, Float

from cmsn_jax import stage_names
from cmsn_jax.chains import first_params
from cmsn_jax.scoring import (
  context_evaluator,
  context_features,
  label_classifier,
)
from cmsn_jax.stages import cosine_margin, dilated, network

# Standardised features beyond this many deviations are cut.
_FEATURE_LIMIT = 6.0


class Encoding(NamedTuple):
  """What the network says of each snippet.

  Attributes:
    scores: cosines with the six stages (logits without 'cosine' head),
      float32, [b, t, 6].
    pooled: features that the evaluator pools: learned ones, probabilities of
      the actions and of the stages; float32, 0 at padded snippets, [b, t, c].
    actions: logits of no action and of each, float32, [b, t, 1 + actions]; no
      column without actions.
  """

  scores: Float[Array, 'b t s']
  pooled: Float[Array, 'b t c']
  actions: Float[Array, 'b t a']


class JointNetwork(nn.Module):
  """Encoder, stage head and context evaluator.

  Submodules `encoder`, `classifier`, `pooled`, `evaluator`, `actions` where
  there are any, and `labels` where proposals are to have them.

  Attributes:
    width: channels of the encoder.
    dilations: of its blocks.
    dropout: rate in encoder and evaluator.
    pooled_width: channels that the evaluator pools, beside stages and actions.
    hidden: width of the evaluator's dense layers.
    inner_bins: see `context_evaluator.ContextEvaluator`.
    context_bins: likewise.
    border: likewise.
    typical_duration: likewise, in snippets.
    loss: stage loss, which decides the head: 'softmax' has a linear one.
    scale: of the cosines, s in Eq. 3, 5, 8.
    num_actions: labels of the instances that are told apart; 0: none.
    label_hidden: width of the classifier of proposals; 0: there is none.
    dtype: compute dtype; parameters and outputs are float32.
  """

  width: int = 128
  dilations: Sequence[int] = (1, 2, 4, 8, 16)
  dropout: float = 0.3
  pooled_width: int = 48
  hidden: int = 256
  inner_bins: int = 8
  context_bins: int = 2
  border: float = 2.0
  typical_duration: float = 20.0
  loss: str = 'vmcl'
  scale: float = 10.0
  num_actions: int = 0
  label_hidden: int = 0
  dtype: Any = jnp.float32

  @property
  def num_labels(self) -> int:
    """Labels that proposals are given; 0: none."""
    return self.num_actions if self.label_hidden else 0

  def setup(self):
    self.encoder = dilated.DilatedEncoder(
      self.width, self.dilations, self.dropout, self.dtype
    )
    if self.loss == 'softmax':
      self.classifier = nn.Dense(stage_names.COUNT, dtype=jnp.float32)
    else:
      self.classifier = network.CosineHead()
    if self.num_actions:
      self.actions = nn.Dense(1 + self.num_actions, dtype=jnp.float32)
    self.pooled = nn.Dense(self.pooled_width, dtype=self.dtype)
    self.evaluator = context_evaluator.ContextEvaluator(
      hidden=self.hidden,
      dropout=self.dropout,
      inner_bins=self.inner_bins,
      context_bins=self.context_bins,
      border=self.border,
      typical_duration=self.typical_duration,
      dtype=self.dtype,
    )
    if self.num_labels:
      self.labels = label_classifier.LabelClassifier(
        self.num_labels,
        hidden=self.label_hidden,
        inner_bins=self.inner_bins,
        # Half, at the dropout of .4 that is shipped: few instances teach it.
        dropout=min(0.5, 1.25 * self.dropout),
        dtype=self.dtype,
      )

  def encode(
    self,
    inputs: Float[Array, 'b t d'],
    mask: Bool[Array, 'b t'],
    *,
    train: bool = False,
  ) -> Encoding:
    """Stage scores and evaluator features of each snippet.

    Args:
      inputs: standardised features; padded snippets may hold anything.
      mask: true for valid snippets, [b, t].
      train: apply dropout, which needs the rng `dropout`.
    """
    inputs = jnp.clip(inputs, -_FEATURE_LIMIT, _FEATURE_LIMIT)
    hidden = self.encoder(inputs, mask, train=train)
    scores = self.classifier(hidden)
    probabilities = cosine_margin.probabilities(
      scores, kind=self.loss, scale=self.scale
    )
    pooled = nn.gelu(self.pooled(hidden)).astype(jnp.float32)
    actions = hidden[..., :0].astype(jnp.float32)
    if self.num_actions:
      actions = self.actions(hidden)
    pooled = [pooled, jax.nn.softmax(actions)[..., 1:], probabilities]
    parts = scores, jnp.concatenate(pooled, axis=-1), actions
    return Encoding(*(jnp.where(mask[:, :, None], x, 0) for x in parts))

  def stages(self, encoding: Encoding) -> Float[Array, 'b t s']:
    """Logits of the stages, without any margin."""
    factor = 1.0 if self.loss == 'softmax' else self.scale
    return factor * encoding.scores

  def evaluate(
    self,
    pooled: Float[Array, 'b t c'],
    segments: Float[Array, 'b n 2'],
    *,
    train: bool = False,
  ) -> context_evaluator.EvaluatorOutputs:
    """Match logits and border offsets of proposals; see `ContextEvaluator`."""
    return self.evaluator(pooled, segments, train=train)

  def label(
    self,
    pooled: Float[Array, 'b t c'],
    segments: Float[Array, 'b n 2'],
    *,
    train: bool = False,
  ) -> Float[Array, 'b n a']:
    """Logits of no action and of each, [b, n, 1 + actions]."""
    return self.labels(pooled, segments, train=train)

  def classify(self, bins: Float[Array, 'b n r c']) -> Float[Array, 'b n a']:
    """As `label`, of features pooled in each proposal's inner bins."""
    return self.labels.classify(bins)

  def __call__(
    self,
    inputs: Float[Array, 'b t d'],
    mask: Bool[Array, 'b t'],
    segments: Float[Array, 'b n 2'],
    *,
    train: bool = False,
  ) -> tuple[
    Encoding, context_evaluator.EvaluatorOutputs, Float[Array, 'b n a'] | None
  ]:
    """All of them, as in training; labels are None where there are none."""
    encoding = self.encode(inputs, mask, train=train)
    outputs = self.evaluate(encoding.pooled, segments, train=train)
    labels = None
    if self.num_labels:
      labels = self.label(encoding.pooled, segments, train=train)
    return encoding, outputs, labels


@dataclasses.dataclass(frozen=True)
class Networks:
  """Several networks ("members") that predict together.

  A parameter bundle is {'joint': parameters of all members, stacked}.

  One after another, unrolled: a vmapped convolution becomes a grouped one, and
  inside a loop CPUs compute convolutions four times slower.

  Attributes:
    model: what each of them is.
    count: how many.
  """

  model: JointNetwork
  count: int

  @property
  def facts(self) -> dict[str, int]:
    """Numbers that proposing needs.

    `reach`: snippets on either side that an encoded snippet depends on;
    `labels`: that `label` tells apart, 0 without it.
    """
    return {
      'reach': dilated.reach(self.model.dilations),
      'labels': self.model.num_labels,
    }

  def encode(
    self,
    params: dict[str, Any],
    inputs: Float[Array, 'b t d'],
    mask: Bool[Array, 'b t'],
  ) -> Float[Array, 'm b t c']:
    """What the evaluator pools, by each member; see `JointNetwork.encode`."""

    def encode(own):
      return self.model.apply(
        {'params': own}, inputs, mask, method=self.model.encode
      ).pooled

    return jnp.stack([encode(own) for own in _unstacked(params['joint'])])

  def score(
    self,
    params: dict[str, Any],
    pooled: Float[Array, 'm t c'],
    segments: Float[Array, 'n 2'],
  ) -> tuple[Float[Array, 'n k'], Float[Array, 'n 2']]:
    """P(tIoU >= t) and border offsets, averaged over the members."""

    def evaluate(own, features):
      outputs = self.model.apply(
        {'params': own},
        features[None],
        segments[None],
        method=self.model.evaluate,
      )
      return jax.nn.sigmoid(outputs.logits[0]), outputs.offsets[0]

    found = [
      evaluate(*pair) for pair in zip(_unstacked(params['joint']), pooled)
    ]
    match, offsets = zip(*found)
    return sum(match) / len(found), sum(offsets) / len(found)

  def label(
    self,
    params: dict[str, Any],
    pooled: Float[Array, 'm t c'],
    segments: Float[Array, 'n 2'],
  ) -> Float[Array, 'n a']:
    """P(label) of proposals that hold an action, in 0..1, summing to 1.

    Classifier of proposals and action head of the snippets inside, averaged
    over both and the members in the logarithm.
    """
    first = self.model.pooled_width
    actions = slice(first, first + self.model.num_actions)

    def classify(own, features):
      # Pooled once for both. The product with one is there for CPUs: they would
      # fuse the pooling into each sum of the norm, and do it four times.
      bins = context_features.inner_pool(
        features, segments, self.model.inner_bins
      )
      one = jnp.eye(bins.shape[2], dtype=bins.dtype)
      bins = jnp.matmul(bins, one, precision=jax.lax.Precision.HIGHEST)
      logits = self.model.apply(
        {'params': own}, bins[None], method=self.model.classify
      )[0]
      whole = label_classifier.without_none(logits)
      return whole, label_classifier.mean_inside(bins[:, :, actions])

    found = [
      classify(*pair) for pair in zip(_unstacked(params['joint']), pooled)
    ]
    return label_classifier.combined(found)

  def shapes(self, snippet_shape: tuple[int, ...]) -> dict[str, Any]:
    """The bundle as shapes; nothing is computed.

    Args:
      snippet_shape: (d,) of features.
    """
    init = lambda: init_members(
      self.model, jax.random.key(0), self.count, 1, *snippet_shape
    )
    return {'joint': jax.eval_shape(init)}


def build(config: ml_collections.ConfigDict) -> Networks:
  """The networks that a config describes."""
  settings = config.template
  model = JointNetwork(
    width=settings.width,
    dilations=tuple(settings.dilations),
    dropout=settings.dropout,
    pooled_width=settings.pooled_width,
    hidden=settings.hidden,
    typical_duration=settings.typical_duration,
    loss=config.stages.loss,
    scale=config.stages.scale,
    num_actions=settings.num_actions,
    label_hidden=settings.label_hidden if settings.label_weight else 0,
    dtype=jnp.dtype(config.train.dtype),
  )
  return Networks(model, settings.members)


def init_members(
  model: JointNetwork, key: Array, count: int, length: int, channels: int
) -> Any:
  """Parameters of `count` networks, stacked on a new first axis."""
  inputs = jnp.zeros((1, length, channels))
  mask = jnp.ones((1, length), bool)
  segments = jnp.array([[[0.0, 1.0]]])

  def init(one):
    return model.init(one, inputs, mask, segments)['params']

  return first_params.drawn(jax.vmap(init), jax.random.split(key, count))


def member(tree: Any, index: jax.typing.ArrayLike) -> Any:
  """One member's share of a tree whose leaves are stacked by member."""
  return jax.tree.map(lambda leaf: leaf[index], tree)


def _unstacked(tree):
  return [member(tree, i) for i in range(len(jax.tree.leaves(tree)[0]))]
