"""Stage losses: softmax, LMCL, and the variable margin cosine losses.

Pure functions of scores, labels and a mask, after Section 4 of the paper.
Everything here is computed in float32, whatever the network's dtype.
"""

import math
import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# Fig. 4: the values of Background, Ready, Start, Confirm, End, Follow on a
# line that runs through two actions in a row.
STAGE_VALUES = ((0, 8), (1, 9), (3, 11), (4, 12), (5, 13), (7, 15))

# Keeps arccos' infinite slope at |cos| = 1 out of the gradient: the slope is
# at most 1/sqrt(2e-6), about 700.
_ARC_EPSILON = 1e-6


class MarginWarning(UserWarning):
  """A margin exceeds 2, the whole range of a cosine."""


def margin_matrix(
  m: float = 0.1,
  n: float = 0.15,
  form: str = 'worked_example',
  values: Sequence[Sequence[float]] = STAGE_VALUES,
) -> Float[np.ndarray, 's s']:
  """Margin added to class j's cosine where the label is i, at [i, j].

  `worked_example` is `(D - 1)·m + n`, which gives the row the paper prints
  for Ready, [.15, 0, .25, .35, .45, .25], and makes n the smallest margin;
  `equation_7` is `D·m + n` as Eq. (7) is written. D(i, j) is the smallest
  distance between a value of i and a value of j. The diagonal is 0.

  Args:
    m: growth of the margin per unit of distance (Sec. 5: .1).
    n: the smallest margin (Sec. 5: .15).
    form: which of the paper's two formulas.
    values: the values of each class on the line of Fig. 4.
  Returns:
    the symmetric matrix of margins, float32, [s, s].
  Raises:
    ValueError: an unknown form, or a margin that is negative or not finite.
  """
  if form not in ('worked_example', 'equation_7'):
    raise ValueError(
      f"margin form must be 'worked_example' or 'equation_7', got {form!r}"
    )
  num_stages = len(values)
  distance = np.zeros((num_stages, num_stages))
  for i, own in enumerate(values):
    for j, other in enumerate(values):
      distance[i, j] = min(abs(a - b) for a in own for b in other)
  shift = 1.0 if form == 'worked_example' else 0.0
  margins = (distance - shift) * m + n
  np.fill_diagonal(margins, 0.0)
  if not np.all(np.isfinite(margins)) or margins.min() < 0:
    raise ValueError(
      f'margins must be finite and not negative, got m={m}, n={n}, whose '
      f'smallest margin is {margins.min():g}; raise n or m'
    )
  if margins.max() > 2:
    warnings.warn(
      f'm={m}, n={n} give margins up to {margins.max():g}; a cosine spans '
      'only 2, so such pairs of stages can never be told apart without loss',
      MarginWarning,
      stacklevel=2,
    )
  return margins.astype(np.float32)


def _normalise(vectors: Array, axis: int) -> Array:
  vectors = vectors.astype(jnp.float32)
  square = jnp.sum(vectors * vectors, axis=axis, keepdims=True)
  # Two wheres, so that a zero vector has cosine 0 and gradient 0, not NaN.
  nonzero = square > 1e-30
  inverse = jnp.where(nonzero, jax.lax.rsqrt(jnp.where(nonzero, square, 1)), 0)
  return vectors * inverse


def cosine_similarity(
  features: Float[Array, '*batch d'], weights: Float[Array, 'd s']
) -> Float[Array, '*batch s']:
  """Cosine between each feature vector and each class's weight vector.

  Eq. (4) of the paper. The cosine with a zero vector is 0, and so is its
  gradient.

  Args:
    features: any dtype; [..., d].
    weights: one column a class; [d, s].
  Returns:
    float32 in [-1, 1] up to rounding, [..., s].
  """
  # The full precision costs nothing at six columns; TF32 would put an error
  # of .03 on scale 30.
  return jnp.matmul(
    _normalise(features, -1),
    _normalise(weights, 0),
    precision=jax.lax.Precision.HIGHEST,
  )


def softmax_loss(
  logits: Float[Array, '*batch s'],
  labels: Int[Array, '*batch'],
  mask: Bool[Array, '*batch'],
) -> Float[Array, '']:
  """Mean cross-entropy over the valid snippets, Eq. (2).

  Masked entries add nothing, whatever their logits and labels are (NaN and
  -1 included); a batch without valid entries has loss 0 and gradient 0.

  Args:
    logits: [..., s].
    labels: class indices, [...].
    mask: true where valid, [...].
  Returns:
    the loss, a float32 scalar.
  """
  num_stages = logits.shape[-1]
  logits = jnp.where(mask[..., None], logits.astype(jnp.float32), 0.0)
  labels = jnp.where(mask, labels, 0)
  target = jax.nn.one_hot(labels, num_stages, dtype=jnp.float32)
  loss = -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1)
  count = jnp.sum(mask, dtype=jnp.float32)
  return jnp.sum(jnp.where(mask, loss, 0.0)) / jnp.maximum(count, 1.0)


def lmcl_loss(
  cosines: Float[Array, '*batch s'],
  labels: Int[Array, '*batch'],
  mask: Bool[Array, '*batch'],
  scale: float = 30.0,
  margin: float = 0.35,
) -> Float[Array, '']:
  """Large margin cosine loss, Eq. (3): cos(θ_y) − margin for the own class.

  Args:
    cosines: [..., s].
    labels: class indices, [...].
    mask: true where valid, [...].
    scale: the s of Eq. (3).
    margin: the m of Eq. (3).
  Returns:
    the mean over valid snippets, a float32 scalar.
  References:
    Wang et al., `CosFace <https://arxiv.org/abs/1801.09414>`, 2018, Eq. (4).
  """
  cosines = cosines.astype(jnp.float32)
  own = jax.nn.one_hot(labels, cosines.shape[-1], dtype=jnp.float32)
  return softmax_loss(scale * (cosines - margin * own), labels, mask)


def _label_rows(margins, labels: Array) -> Array:
  # A masked label may be any number; its row is thrown away later.
  margins = jnp.asarray(margins, jnp.float32)
  return margins[jnp.clip(labels, 0, margins.shape[0] - 1)]


def vmcl_loss(
  cosines: Float[Array, '*batch s'],
  labels: Int[Array, '*batch'],
  mask: Bool[Array, '*batch'],
  scale: float = 30.0,
  margins: Float[Array, 's s'] | Float[np.ndarray, 's s'] | None = None,
) -> Float[Array, '']:
  """Variable margin cosine loss, Eq. (5): cos(θ_j) + f(j, y) for the others.

  With one margin for all pairs it equals `lmcl_loss` with that margin.

  Args:
    cosines: [..., s].
    labels: class indices, [...].
    mask: true where valid, [...].
    scale: the s of Eq. (5).
    margins: [label, class], 0 on the diagonal; None: `margin_matrix()`.
  Returns:
    the mean over valid snippets, a float32 scalar.
  """
  margins = margin_matrix() if margins is None else margins
  shifted = cosines.astype(jnp.float32) + _label_rows(margins, labels)
  return softmax_loss(scale * shifted, labels, mask)


def subtract_angle(
  cosines: Float[Array, '*batch'], angle: Float[Array, '*batch']
) -> Float[Array, '*batch']:
  """cos(max(θ − angle, 0)) for θ = arccos(cosines), with finite gradients.

  The clamp at 0 keeps it from falling again where θ < angle, so that it
  never decreases in the cosine. An angle of 0 returns the cosine itself.

  Args:
    cosines: in [-1, 1].
    angle: radians, not negative.
  Returns:
    float32, in [-1, 1].
  """
  cosines = cosines.astype(jnp.float32)
  clipped = jnp.clip(cosines, -1 + _ARC_EPSILON, 1 - _ARC_EPSILON)
  sine = jnp.sqrt(1 - clipped * clipped)
  turned = clipped * jnp.cos(angle) + sine * jnp.sin(angle)
  inside = (angle >= math.pi) | (clipped >= jnp.cos(angle))
  return jnp.where(angle == 0, cosines, jnp.where(inside, 1.0, turned))


def vmcl_arc_loss(
  cosines: Float[Array, '*batch s'],
  labels: Int[Array, '*batch'],
  mask: Bool[Array, '*batch'],
  scale: float = 30.0,
  margins: Float[Array, 's s'] | Float[np.ndarray, 's s'] | None = None,
) -> Float[Array, '']:
  """Variable margin loss on angles, Eq. (8): cos(θ_j − f(j, y)).

  The angle is clamped (see `subtract_angle`): the loss is monotone in every
  cosine and its gradient finite at |cos| = 1.

  Args:
    cosines: [..., s].
    labels: class indices, [...].
    mask: true where valid, [...].
    scale: the s of Eq. (8).
    margins: radians, [label, class], 0 on the diagonal; None:
      `margin_matrix()`.
  Returns:
    the mean over valid snippets, a float32 scalar.
  """
  margins = margin_matrix() if margins is None else margins
  # Before the square root: NaN times 0 would come back in the gradient.
  cosines = jnp.where(mask[..., None], cosines.astype(jnp.float32), 0.0)
  shifted = subtract_angle(cosines, _label_rows(margins, labels))
  return softmax_loss(scale * shifted, labels, mask)


def stage_loss(
  scores: Float[Array, '*batch s'],
  labels: Int[Array, '*batch'],
  mask: Bool[Array, '*batch'],
  *,
  kind: str,
  scale: float = 30.0,
  margins: Float[Array, 's s'] | Float[np.ndarray, 's s'] | None = None,
  margin: float = 0.35,
) -> Float[Array, '']:
  """The loss named by `kind`, on the network's scores.

  Args:
    scores: logits for `softmax`, cosines for the others; [..., s].
    labels: class indices, [...].
    mask: true where valid, [...].
    kind: 'softmax' (Eq. 2), 'lmcl' (3), 'vmcl' (5) or 'vmcl_arc' (8).
    scale: of the cosines; `softmax` ignores it.
    margins: of `vmcl` and `vmcl_arc`; None: `margin_matrix()`.
    margin: of `lmcl`.
  Returns:
    the mean over valid snippets, a float32 scalar.
  Raises:
    ValueError: an unknown kind.
  """
  if kind == 'softmax':
    return softmax_loss(scores, labels, mask)
  if kind == 'lmcl':
    return lmcl_loss(scores, labels, mask, scale, margin)
  if kind == 'vmcl':
    return vmcl_loss(scores, labels, mask, scale, margins)
  if kind == 'vmcl_arc':
    return vmcl_arc_loss(scores, labels, mask, scale, margins)
  raise _unknown_kind(kind)


def probabilities(
  scores: Float[Array, '*batch s'], *, kind: str, scale: float = 30.0
) -> Float[Array, '*batch s']:
  """Stage probabilities: softmax of the scores, without any margin.

  Args:
    scores: logits for `softmax`, cosines for the other kinds; [..., s].
    kind: the loss that the network was trained with.
    scale: of the cosines; `softmax` ignores it.
  Returns:
    float32, summing to 1 over the last axis, [..., s].
  Raises:
    ValueError: an unknown kind.
  """
  if kind not in ('softmax', 'lmcl', 'vmcl', 'vmcl_arc'):
    raise _unknown_kind(kind)
  factor = 1.0 if kind == 'softmax' else scale
  return jax.nn.softmax(factor * scores.astype(jnp.float32), axis=-1)


def _unknown_kind(kind: str) -> ValueError:
  return ValueError(
    f"the loss must be 'softmax', 'lmcl', 'vmcl' or 'vmcl_arc', got {kind!r}"
  )
