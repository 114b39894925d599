import functools

import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains.template import losses, networks
from cmsn_jax.settings import default, plus
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
    'known': np.ones((b, t), bool),
    'judged': np.ones((b, n), bool),
    'labels': rng.integers(0, 6, (b, t)).astype(np.int32),
    'actions': rng.integers(0, 4, (b, t)).astype(np.int32),
    'proposals': np.concatenate([start, start + 6], axis=-1),
    'tiou': rng.uniform(0, 1, (b, n)).astype(np.float32),
    'proposal_labels': np.zeros((b, n, 1), np.float32),
    'offsets': rng.normal(size=(b, n, 2)).astype(np.float32) * 0.1,
  }
  return jax.tree.map(jnp.asarray, batch)


def init(model, batch):
  return model.init(
    jax.random.key(0), batch['inputs'], batch['mask'], batch['proposals']
  )['params']


@functools.partial(jax.jit, static_argnums=0)
def loss_of(model, params, batch, key, weights, totals=None):
  margins = cosine_margin.margin_matrix()
  return losses.loss(model, params, batch, key, margins, weights, totals=totals)


def test_shapes_and_parameter_tree():
  model, batch = make(), batch_of()
  params = init(model, batch)
  assert set(params) == {'encoder', 'classifier', 'pooled', 'evaluator'}
  encoding, outputs, labels = model.apply(
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
  assert labels is None


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
  weights = losses.LossWeights(0.5, 0.3, 4.0, 1.0)
  grad = jax.jit(
    jax.value_and_grad(loss_of, argnums=1, has_aux=True), static_argnums=0
  )
  (total, parts), gradients = grad(
    model, params, batch, jax.random.key(0), weights
  )
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
  batch['mask'] = batch['known'] = jnp.array([[True] * 20, [False] * 20])
  params = init(model, batch)

  def total(params):
    return loss_of(
      model, params, batch, jax.random.key(0), losses.LossWeights()
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


def _built(members=3, actions=0):
  config = plus.apply(default.get_config())
  config.template.update(
    width=8, dilations=(1, 2), pooled_width=4, hidden=8, members=members,
    typical_duration=6.0, num_actions=actions,
  )  # fmt: skip
  found = networks.build(config)
  params = networks.init_members(found.model, jax.random.key(0), members, 16, 5)
  return found, {'joint': params}


def test_the_shapes_are_those_of_made_parameters():
  for actions in (0, 3):
    found, params = _built(actions=actions)
    shapes = found.shapes((5,))
    assert jax.tree.map(lambda x: x.shape, shapes) == jax.tree.map(
      lambda x: x.shape, params
    )


def test_members_encode_each_by_itself():
  found, params = _built()
  batch = batch_of()
  whole = found.encode(params, batch['inputs'], batch['mask'])
  assert whole.shape == (3, 2, 20, 4 + 6)
  for index in range(3):
    own = networks.member(params['joint'], index)
    alone = found.model.apply(
      {'params': own}, batch['inputs'], batch['mask'],
      method=found.model.encode,
    )  # fmt: skip
    np.testing.assert_allclose(whole[index], alone.pooled, atol=1e-6)
  # They began differently.
  assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_scores_are_the_mean_over_the_members():
  found, params = _built()
  batch = batch_of()
  pooled = found.encode(params, batch['inputs'], batch['mask'])[:, 0]
  segments = batch['proposals'][0]
  match, offsets = found.score(params, pooled, segments)
  assert match.shape == (3, 10) and offsets.shape == (3, 2)
  expected = []
  for index in range(3):
    outputs = found.model.apply(
      {'params': networks.member(params['joint'], index)},
      pooled[index][None], segments[None], method=found.model.evaluate,
    )  # fmt: skip
    expected.append((jax.nn.sigmoid(outputs.logits[0]), outputs.offsets[0]))
  np.testing.assert_allclose(
    match, np.mean([e[0] for e in expected], axis=0), atol=1e-6
  )
  np.testing.assert_allclose(
    offsets, np.mean([e[1] for e in expected], axis=0), atol=1e-6
  )


def test_counts_are_what_the_means_are_over():
  batch = batch_of()
  mask = np.ones((2, 20), bool)
  mask[0, 7:] = False
  mask[1] = False
  batch['mask'] = batch['known'] = jnp.asarray(mask)
  batch['tiou'] = jnp.asarray([[0.1, 0.41, 0.9], [0.9, 0.9, 0.9]], jnp.float32)
  found = losses.counts(batch)
  # The second window has no valid snippet: its proposals teach nothing.
  assert [float(x) for x in found] == [7.0, 3.0, 2.0, 0.0]


def test_parts_of_a_batch_add_up_to_the_whole():
  model, batch = make(dropout=0.0, num_actions=3), batch_of(b=4)
  mask = np.ones((4, 20), bool)
  mask[1, 5:], mask[3, 1:] = False, False
  batch['mask'] = batch['known'] = jnp.asarray(mask)
  params = init(model, batch)
  weights = losses.LossWeights()
  key = jax.random.key(0)
  whole, parts = loss_of(model, params, batch, key, weights)
  totals = losses.counts(batch)
  halves = [{k: v[a : a + 2] for k, v in batch.items()} for a in (0, 2)]
  split = [
    loss_of(model, params, half, key, weights, totals) for half in halves
  ]
  np.testing.assert_allclose(sum(s[0] for s in split), whole, rtol=1e-5)
  for name, value in parts.items():
    np.testing.assert_allclose(sum(s[1][name] for s in split), value, rtol=1e-5)


def test_wild_features_are_cut():
  found, params = _built(members=1)
  batch = batch_of()
  wild = batch['inputs'].at[0, 3, 2].set(1e6)
  cut = batch['inputs'].at[0, 3, 2].set(6.0)
  np.testing.assert_array_equal(
    found.encode(params, wild, batch['mask']),
    found.encode(params, cut, batch['mask']),
  )


def test_what_is_unknown_has_no_part_in_the_loss():
  model, batch = make(num_actions=3), batch_of()
  params = init(model, batch)
  weights = losses.LossWeights()
  batch['known'] = batch['known'].at[:, 8:].set(False)
  batch['judged'] = batch['judged'].at[:, 0].set(False)

  def loss(changed):
    return loss_of(model, params, changed, jax.random.key(1), weights)

  expected = loss(batch)
  others = {
    'labels': batch['labels'].at[:, 8:].add(1) % 6,
    'actions': batch['actions'].at[:, 8:].add(1) % 4,
    'tiou': batch['tiou'].at[:, 0].set(0.9),
    'offsets': batch['offsets'].at[:, 0].set(5.0),
  }
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
    loss(batch | others),
    expected,
  )
  # The snippets are still there to be seen.
  changed = batch | {'inputs': batch['inputs'].at[:, 9].add(3.0)}
  assert loss(changed)[0] != expected[0]
  found = losses.counts(batch)
  assert (found.snippets, found.proposals) == (16, 4)
