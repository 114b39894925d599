"""The networks as functions of arrays, for export and launch.inspect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.chains import registry
from cmsn_jax.settings import default, plus, smoke

# Beside those that every chain has.
_OWN = {'paper': (), 'template': ('labels',)}


def _made(name):
  config = default.get_config()
  if name == 'template':
    config = plus.apply(config)
  config = smoke.apply(config, 'smoke')
  config.windows.length = 32
  with config.unlocked():
    config.template.durations = (2.0, 5.0)
    config.template.typical_duration = 3.0
    config.template.num_actions = 3
  chain = registry.load(name)
  networks = chain.networks(config)
  keys = iter(jax.random.split(jax.random.key(0), 1000))
  params = jax.tree.map(
    lambda s: 0.1 * jax.random.normal(next(keys), s.shape, s.dtype),
    networks.shapes((7,)),
  )
  return chain, config, networks, params


def _programs(chain, config, networks, params, b=2, t=16, n=5):
  inputs = (
    jax.ShapeDtypeStruct((b, t, 7), jnp.float32),
    jax.ShapeDtypeStruct((b, t), jnp.bool_),
  )
  return chain.programs(config, networks, params, inputs, (t, n))


@pytest.mark.parametrize('name', ['paper', 'template'])
def test_they_compute_what_the_networks_do(name):
  chain, config, networks, params = _made(name)
  found = _programs(chain, config, networks, params)
  assert set(found.functions) == {'stages', 'evaluator', *_OWN[name]}
  rng = np.random.default_rng(0)
  stages = found.functions['stages']
  inputs = jnp.asarray(rng.normal(size=stages.specs[0].shape), jnp.float32)
  mask = jnp.ones(stages.specs[1].shape, bool)
  for x, y in zip(
    jax.tree.leaves(stages.function(params, inputs, mask)),
    jax.tree.leaves(networks.encode(params, inputs, mask)),
  ):
    np.testing.assert_array_equal(x, y)
  evaluator = found.functions['evaluator']
  arrays = []
  for spec in evaluator.specs:
    values = rng.uniform(0, 6, spec.shape)
    if spec.shape == (5, 2):
      values = np.cumsum(values, axis=1)
    arrays.append(jnp.asarray(np.sort(values, axis=-1), spec.dtype))
  if name == 'paper':
    arrays[2] = arrays[1] + 3
  for x, y in zip(
    jax.tree.leaves(evaluator.function(params, *arrays)),
    jax.tree.leaves(networks.score(params, *arrays)),
  ):
    np.testing.assert_allclose(x, y, atol=1e-6)
  if 'labels' in found.functions:
    likely = found.functions['labels'].function(params, *arrays)
    assert likely.shape == (5, 3)
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize('name', ['paper', 'template'])
def test_shapes_are_enough_to_describe_them(name):
  chain, config, networks, _ = _made(name)
  found = _programs(chain, config, networks, networks.shapes((7,)), b=1)
  text = found.functions['stages'].text
  assert text.startswith('window (1, 16, 7) -> stages (1, 16, 6)')


def test_facts_of_the_paper_chain_say_how_long_a_candidate_may_be():
  chain, config, networks, params = _made('paper')
  facts = _programs(chain, config, networks, params).facts
  # Windows of 32 snippets in 4 bins: bins of 9 snippets are in the table.
  assert facts['max_snippets'] >= 32
  config.proposals.stitch = 'average'
  longer = _programs(chain, config, networks, params).facts
  assert longer['max_snippets'] > 10_000 > facts['max_snippets']


def test_facts_of_the_template_chain_say_how_far_a_snippet_sees():
  chain, config, networks, params = _made('template')
  facts = _programs(chain, config, networks, params).facts
  assert facts == networks.facts
  reach = facts['reach']
  rng = np.random.default_rng(1)
  inputs = jnp.asarray(rng.normal(size=(1, 64, 7)), jnp.float32)
  mask = jnp.ones((1, 64), bool)
  before = networks.encode(params, inputs, mask)
  after = networks.encode(params, inputs.at[:, 40].add(3.0), mask)
  moved = np.flatnonzero(np.any(before != after, axis=(0, 1, 3)))
  assert moved.min() == 40 - reach and moved.max() == 40 + reach


def test_without_an_evaluator_there_is_one_program():
  chain, config, networks, params = _made('paper')
  alone = {'stages': params['stages']}
  found = _programs(chain, config, networks, alone)
  assert set(found.functions) == {'stages'}
