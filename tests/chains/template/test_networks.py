import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains.template import networks
from cmsn_jax.stages import cosine_margin


def make(**options):
  return networks.JointNetwork(
    width=8, dilations=(1, 2), pooled_width=4, hidden=8, **options
  )


def batch_of(b=2, t=20, n=3):
  rng = np.random.default_rng(0)
  start = rng.uniform(0, 10, (b, n, 1)).astype(np.float32)
  batch = {
    'inputs': rng.normal(size=(b, t, 5)).astype(np.float32),
    'mask': np.ones((b, t), bool),
    'labels': rng.integers(0, 6, (b, t)).astype(np.int32),
    'actions': rng.integers(0, 4, (b, t)).astype(np.int32),
    'proposals': np.concatenate([start, start + 6], axis=-1),
    'tiou': rng.uniform(0, 1, (b, n)).astype(np.float32),
    'offsets': rng.normal(size=(b, n, 2)).astype(np.float32) * 0.1,
  }
  return jax.tree.map(jnp.asarray, batch)


def init(model, batch):
  return model.init(
    jax.random.key(0), batch['inputs'], batch['mask'], batch['proposals']
  )['params']


def test_shapes_and_parameter_tree():
  model, batch = make(), batch_of()
  params = init(model, batch)
  assert set(params) == {'encoder', 'classifier', 'pooled', 'evaluator'}
  encoding, outputs = model.apply(
    {'params': params}, batch['inputs'], batch['mask'], batch['proposals']
  )
  assert encoding.scores.shape == (2, 20, 6)
  # The evaluator's features end with the stage probabilities.
  assert encoding.pooled.shape == (2, 20, 4 + 6)
  np.testing.assert_allclose(
    encoding.pooled[..., -6:],
    cosine_margin.probabilities(encoding.scores, kind='vmcl', scale=10.0),
    rtol=1e-5,
  )
  assert outputs.logits.shape == (2, 3, 10)


def test_padding_changes_nothing():
  model, batch = make(), batch_of()
  params = init(model, batch)
  whole = model.apply(
    {'params': params}, batch['inputs'], batch['mask'], batch['proposals']
  )
  padding = ((0, 0), (0, 5), (0, 0))
  padded = model.apply(
    {'params': params},
    jnp.pad(batch['inputs'], padding, constant_values=jnp.nan),
    jnp.pad(batch['mask'], padding[:2]),
    batch['proposals'],
  )
  np.testing.assert_allclose(
    padded[0].pooled[:, :20], whole[0].pooled, atol=1e-5
  )
  np.testing.assert_array_equal(padded[0].pooled[:, 20:], 0)
  np.testing.assert_allclose(padded[1].logits, whole[1].logits, atol=1e-4)


def test_loss_is_the_weighted_sum_and_every_parameter_learns():
  model, batch = make(dropout=0.0, num_actions=3), batch_of()
  params = init(model, batch)
  margins = cosine_margin.margin_matrix()
  weights = networks.LossWeights(0.5, 0.3, 4.0, 1.0)

  @jax.jit
  def run(params):
    return jax.value_and_grad(networks.loss, argnums=1, has_aux=True)(
      model, params, batch, jax.random.key(0), margins, weights
    )

  (total, parts), gradients = run(params)
  expected = (
    0.5 * parts['stages']
    + 0.3 * parts['actions']
    + 4 * parts['match']
    + parts['offset']
  )
  np.testing.assert_allclose(total, expected, rtol=1e-6)
  for path, gradient in jax.tree.leaves_with_path(gradients):
    assert np.all(np.isfinite(gradient)), path
    assert np.any(gradient != 0), path


def test_actions_are_a_second_target():
  batch = batch_of()
  model = make(num_actions=3)
  params = init(model, batch)
  assert params['actions']['kernel'].shape == (8, 4)
  encoding = model.apply(
    {'params': params}, batch['inputs'], batch['mask'], method=model.encode
  )
  assert encoding.actions.shape == (2, 20, 4)
  assert encoding.pooled.shape == (2, 20, 4 + 3 + 6)
  np.testing.assert_allclose(
    encoding.pooled[..., 4:7],
    jax.nn.softmax(encoding.actions)[..., 1:],
    rtol=1e-5,
  )
  without = make().apply(
    {'params': init(make(), batch)}, batch['inputs'], batch['mask'],
    method=model.encode,
  )  # fmt: skip
  assert without.actions.shape == (2, 20, 0)


def test_empty_window_gives_finite_gradients():
  model, batch = make(), batch_of()
  batch['mask'] = jnp.array([[True] * 20, [False] * 20])
  params = init(model, batch)
  margins = cosine_margin.margin_matrix()
  weights = networks.LossWeights()

  @jax.jit
  def total(params):
    return networks.loss(
      model, params, batch, jax.random.key(0), margins, weights
    )[0]

  gradients = jax.jit(jax.grad(total))(params)
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(gradients))


def test_members_differ_and_are_stacked():
  params = networks.init_members(make(), jax.random.key(0), 3, 20, 5)
  kernel = params['classifier']['kernel']
  assert kernel.shape == (3, 8, 6)
  assert not np.allclose(kernel[0], kernel[1])


def test_softmax_has_a_linear_head():
  params = init(make(loss='softmax'), batch_of())
  assert set(params['classifier']) == {'kernel', 'bias'}
  assert jnp.shape(params['classifier']['kernel']) == (8, 6)
