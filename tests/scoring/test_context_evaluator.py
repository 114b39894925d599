import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.scoring import context_evaluator


def make(**options):
  model = context_evaluator.ContextEvaluator(hidden=16, **options)
  features = jax.random.normal(jax.random.key(0), (2, 30, 4))
  segments = jnp.array([[[3.0, 9.5], [10.0, 20.0], [0.2, 1.0]]] * 2)
  params = model.init(jax.random.key(1), features, segments)
  return model, params, features, segments


def test_shapes_and_parameter_tree():
  model, params, features, segments = make()
  outputs = jax.jit(model.apply)(params, features, segments)
  assert outputs.logits.shape == (2, 3, 10)
  assert outputs.offsets.shape == (2, 3, 2)
  assert outputs.logits.dtype == jnp.float32
  assert set(params['params']) == {'fc_1', 'norm', 'fc_2', 'output'}
  # 16 bins of 4 channels, the log duration and its square.
  assert params['params']['fc_1']['kernel'].shape == (16 * 4 + 2, 16)


def test_padding_and_other_proposals_change_nothing():
  model, params, features, segments = make()
  whole = model.apply(params, features, segments)
  longer = jnp.pad(features, ((0, 0), (0, 7), (0, 0)))
  alone = model.apply(params, longer, segments[:, 1:2])
  np.testing.assert_allclose(whole.logits[:, 1:2], alone.logits, atol=1e-4)


def test_dropout_needs_its_key_and_acts():
  model, params, features, segments = make(dropout=0.5)
  outputs = [
    model.apply(
      params, features, segments, train=True,
      rngs={'dropout': jax.random.key(i)},
    ).logits
    for i in (0, 1)
  ]  # fmt: skip
  assert not np.allclose(*outputs)


def test_match_loss_by_hand():
  # tIoU .72 reaches .5 .. .7, five of ten thresholds; logit 0 costs log 2
  # everywhere, logit 2 costs softplus(-2) where right and softplus(2) else.
  tiou = jnp.array([0.72, 0.9])
  loss = context_evaluator.match_loss(
    jnp.zeros((2, 10)), tiou, jnp.array([True, False])
  )
  np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
  loss = context_evaluator.match_loss(
    jnp.full((2, 10), 2.0), tiou, jnp.array([True, False])
  )
  expected = (np.log1p(np.exp(-2)) + np.log1p(np.exp(2))) / 2
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_offset_loss_by_hand():
  offsets = jnp.array([[0.1, 0.5], [9.0, 9.0], [3.0, 3.0]])
  targets = jnp.zeros((3, 2))
  tiou = jnp.array([0.8, 0.3, 0.9])
  mask = jnp.array([True, True, False])
  loss = context_evaluator.offset_loss(offsets, targets, tiou, mask)
  # .5 * .1^2 / .2 below .2, |x| - .1 above; the poor and the masked: nothing.
  np.testing.assert_allclose(loss, 0.025 + 0.4, rtol=1e-5)


def test_nothing_valid_gives_zero_and_finite_gradients():
  def loss(logits):
    return context_evaluator.match_loss(
      logits, jnp.zeros(3), jnp.zeros(3, bool)
    )

  value, gradient = jax.value_and_grad(loss)(jnp.ones((3, 10)))
  assert value == 0
  np.testing.assert_array_equal(gradient, 0)
