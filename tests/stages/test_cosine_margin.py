import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.stages import cosine_margin as cm

KINDS = ('softmax', 'lmcl', 'vmcl', 'vmcl_arc')


def _batch(seed, shape=(2, 7), num_stages=6):
  rng = np.random.default_rng(seed)
  scores = rng.uniform(-1, 1, (*shape, num_stages)).astype(np.float32)
  labels = rng.integers(0, num_stages, shape).astype(np.int32)
  mask = rng.random(shape) < 0.7
  mask.flat[0] = True
  return jnp.asarray(scores), jnp.asarray(labels), jnp.asarray(mask)


def _slow_loss(kind, scores, labels, mask, scale, margins, margin):
  """Eq. 2, 3, 5 and 8 literally, one snippet and one class at a time."""
  losses = []
  for index in np.ndindex(*labels.shape):
    if not mask[index]:
      continue
    row, y = np.asarray(scores[index], np.float64), int(labels[index])
    terms = []
    for j, value in enumerate(row):
      if kind == 'softmax':
        terms.append(np.exp(value))
      elif kind == 'lmcl':
        terms.append(np.exp(scale * (value - (margin if j == y else 0))))
      elif kind == 'vmcl' or j == y:
        terms.append(np.exp(scale * (value + (margins[y][j] if j != y else 0))))
      else:
        angle = max(np.arccos(value) - margins[y][j], 0)
        terms.append(np.exp(scale * np.cos(angle)))
    losses.append(-np.log(terms[y] / sum(terms)))
  return np.mean(losses)


def test_margins_of_the_worked_example():
  matrix = cm.margin_matrix()
  np.testing.assert_allclose(
    matrix[1], [0.15, 0, 0.25, 0.35, 0.45, 0.25], atol=1e-7
  )
  assert matrix.dtype == np.float32
  np.testing.assert_array_equal(matrix, matrix.T)
  np.testing.assert_array_equal(np.diag(matrix), 0)


def test_whole_margin_matrix_by_hand():
  distance = [
    [0, 1, 3, 4, 3, 1],
    [1, 0, 2, 3, 4, 2],
    [3, 2, 0, 1, 2, 4],
    [4, 3, 1, 0, 1, 3],
    [3, 4, 2, 1, 0, 2],
    [1, 2, 4, 3, 2, 0],
  ]
  want = 0.2 * np.array(distance) + 0.3
  np.fill_diagonal(want, 0)
  got = cm.margin_matrix(0.2, 0.3, 'equation_7')
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_two_forms_differ_by_m():
  off = ~np.eye(6, dtype=bool)
  first = cm.margin_matrix(0.1, 0.15, 'worked_example')
  second = cm.margin_matrix(0.1, 0.15, 'equation_7')
  np.testing.assert_allclose((second - first)[off], 0.1, rtol=1e-5)


def test_large_margins_warn_and_impossible_ones_fail():
  # Table 6's last row: (4 - 1) * .8 + .25.
  with pytest.warns(cm.MarginWarning, match='2.65'):
    cm.margin_matrix(0.8, 0.25)
  with pytest.raises(ValueError, match='not negative'):
    cm.margin_matrix(0.1, -0.2)
  with pytest.raises(ValueError, match="got 'eq7'"):
    cm.margin_matrix(form='eq7')


def test_cosine_similarity_by_hand():
  features = jnp.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]])
  weights = jnp.array([[1.0, 0.0, 5.0], [0.0, 2.0, 5.0]])
  root = np.sqrt(0.5)
  want = [[0.6, 0.8, 1.4 * root], [0, 0, 0], [-1, 0, -root]]
  got = cm.cosine_similarity(features, weights)
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_cosine_gradient_is_finite_at_a_zero_vector():
  features = jnp.zeros((2, 3)).at[0].set(1.0)
  grads = jax.grad(lambda x: cm.cosine_similarity(x, jnp.ones((3, 2))).sum())(
    features
  )
  assert np.isfinite(grads).all()
  np.testing.assert_array_equal(grads[1], 0)


def test_cosines_stay_float32_for_bfloat16_features():
  out = cm.cosine_similarity(
    jnp.ones((4, 3), jnp.bfloat16), jnp.ones((3, 6), jnp.bfloat16)
  )
  assert out.dtype == jnp.float32


def test_vmcl_by_hand():
  # Ready (1) with cosines equal everywhere: only the margins remain.
  cosines = jnp.full((1, 6), 0.2)
  want = np.log(
    np.sum(np.exp(30 * np.array([0.15, 0, 0.25, 0.35, 0.45, 0.25])))
  )
  got = cm.vmcl_loss(cosines, jnp.array([1]), jnp.array([True]))
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_lmcl_by_hand():
  cosines = jnp.array([[0.9, 0.1, 0.1, 0.1, 0.1, 0.1]])
  want = -np.log(np.exp(5.5) / (np.exp(5.5) + 5 * np.exp(1.0)))
  got = cm.lmcl_loss(cosines, jnp.array([0]), jnp.array([True]), 10.0, 0.35)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_vmcl_arc_by_hand():
  # Two classes at 60 and 90 degrees, a margin of 30 degrees.
  margins = jnp.array([[0, np.pi / 6], [np.pi / 6, 0]], jnp.float32)
  cosines = jnp.array([[0.5, 0.0]])
  got = cm.vmcl_arc_loss(
    cosines, jnp.array([0]), jnp.array([True]), 4.0, margins
  )
  np.testing.assert_allclose(got, np.log(2), rtol=1e-5)  # 60 against 90 - 30


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('seed', range(3))
def test_against_the_slow_reference(kind, seed):
  scores, labels, mask = _batch(seed)
  margins = cm.margin_matrix(0.07, 0.2)
  loss = jax.jit(
    lambda *args: cm.stage_loss(
      *args, kind=kind, scale=8.0, margins=margins, margin=0.3
    )
  )
  want = _slow_loss(kind, scores, labels, mask, 8.0, margins, 0.3)
  got = loss(scores, labels, mask)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, rtol=2e-5)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), margin=st.floats(0, 1))
def test_vmcl_with_one_margin_is_lmcl(seed, margin):
  scores, labels, mask = _batch(seed)
  margins = (margin * (1 - np.eye(6))).astype(np.float32)
  got = cm.vmcl_loss(scores, labels, mask, 12.0, margins)
  want = cm.lmcl_loss(scores, labels, mask, 12.0, margin)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_without_margins_all_are_softmax():
  scores, labels, mask = _batch(5)
  zeros = np.zeros((6, 6), np.float32)
  want = cm.softmax_loss(10.0 * scores, labels, mask)
  for kind in ('lmcl', 'vmcl', 'vmcl_arc'):
    got = cm.stage_loss(
      scores, labels, mask, kind=kind, scale=10.0, margins=zeros, margin=0.0
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_a_mask_is_a_deletion(kind):
  scores, labels, mask = _batch(7)
  loss = lambda *args: cm.stage_loss(*args, kind=kind)
  keep = np.asarray(mask)
  want = loss(scores[keep], labels[keep], jnp.ones(keep.sum(), bool))
  np.testing.assert_allclose(loss(scores, labels, mask), want, rtol=1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_masked_rubbish_changes_neither_loss_nor_gradient(kind):
  scores, labels, mask = _batch(11)
  rubbish = jnp.where(mask[..., None], scores, jnp.nan)
  bad_labels = jnp.where(mask, labels, -1)
  loss = jax.value_and_grad(lambda *a: cm.stage_loss(*a, kind=kind))
  want, want_grad = loss(scores, labels, mask)
  got, got_grad = loss(rubbish, bad_labels, mask)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  np.testing.assert_allclose(got_grad, want_grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_valid_gives_zero(kind):
  scores, labels, _ = _batch(13)
  loss, grads = jax.value_and_grad(
    lambda s: cm.stage_loss(s, labels, jnp.zeros(labels.shape, bool), kind=kind)
  )(scores)
  assert loss == 0
  np.testing.assert_array_equal(grads, 0)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('value', [-1.0, 1.0])
def test_gradient_is_finite_at_the_ends(kind, value):
  for label in range(6):
    grads = jax.grad(
      lambda s, y=label: cm.stage_loss(
        s, jnp.array([y]), jnp.array([True]), kind=kind
      )
    )(jnp.full((1, 6), value))
    assert np.isfinite(grads).all()


@pytest.mark.parametrize('kind', KINDS)
def test_gradient_is_the_slope(kind):
  scores, labels, mask = _batch(17, shape=(5,))
  loss = lambda s: cm.stage_loss(s, labels, mask, kind=kind, scale=3.0)
  grads = np.asarray(jax.grad(loss)(scores))
  margins = cm.margin_matrix()
  slow = lambda s: _slow_loss(kind, s, labels, mask, 3.0, margins, 0.35)
  base = np.asarray(scores, np.float64)
  for index in np.ndindex(*base.shape):
    step = np.zeros_like(base)
    step[index] = 1e-6
    slope = (slow(base + step) - slow(base - step)) / 2e-6
    np.testing.assert_allclose(grads[index], slope, atol=2e-4)


@settings(max_examples=20)
@given(angle=st.floats(0, 3.5))
def test_arc_is_monotone_and_bounded(angle):
  cosines = jnp.linspace(-1, 1, 4001)
  angles = jnp.full_like(cosines, angle)
  out = np.asarray(cm.subtract_angle(cosines, angles))
  assert (np.diff(out) >= -2e-7).all()
  assert (np.abs(out) <= 1 + 1e-6).all()
  slope = jax.vmap(jax.grad(lambda c, a: cm.subtract_angle(c, a)))(
    cosines, angles
  )
  assert np.isfinite(slope).all() and (np.asarray(slope) >= -1e-5).all()


def test_arc_against_numpy():
  cosines = np.linspace(-0.999, 0.999, 501)
  for angle in (0.0, 0.15, 0.45, 1.7):
    want = np.cos(np.maximum(np.arccos(cosines) - angle, 0))
    got = cm.subtract_angle(
      jnp.asarray(cosines, jnp.float32), jnp.full(501, angle, jnp.float32)
    )
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_probabilities():
  scores = jnp.array([[0.5, 0.0, -0.5]])
  flat = cm.probabilities(scores, kind='softmax')
  sharp = cm.probabilities(scores, kind='vmcl', scale=10.0)
  want = np.exp([5.0, 0.0, -5.0])
  np.testing.assert_allclose(sharp[0], want / want.sum(), rtol=1e-5)
  np.testing.assert_allclose(flat.sum(), 1, rtol=1e-6)
  assert sharp[0, 0] > flat[0, 0]


def test_unknown_kind():
  scores, labels, mask = _batch(0)
  with pytest.raises(ValueError, match="got 'arcface'"):
    cm.stage_loss(scores, labels, mask, kind='arcface')
  with pytest.raises(ValueError, match="got 'arcface'"):
    cm.probabilities(scores, kind='arcface')
