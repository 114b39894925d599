"""The network: sizes of the paper, and padding that changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.chains.bmn import networks
from cmsn_jax.settings import recipes


def _small(length=10, durations=(1, 2, 5), **changes):
  model = networks.BoundaryMatching(
    durations=durations, samples=4, shrink=32, **changes
  )
  made = networks.Networks(model, length, {'length': length})
  return made, made.init(jax.random.key(0), 3)


def test_the_widths_are_the_paper_s():
  config = recipes.of_chain('bmn')
  shapes = networks.build(config).shapes((400,))['bmn']
  found = {name: layer['kernel'].shape for name, layer in shapes.items()}
  assert found == {
    'base_1': (3, 400, 256),
    'base_2': (3, 256, 128),
    'boundary_1': (3, 128, 256),
    'boundary_2': (256, 2),
    'sampled': (32, 128, 512),
    'map_1': (512, 128),
    'map_2': (3, 3, 128, 128),
    'map_3': (128, 2),
  }


def test_padding_never_changes_a_valid_output():
  made, params = _small()
  rng = np.random.default_rng(0)
  whole = jnp.asarray(rng.normal(size=(1, 10, 3)), jnp.float32)
  mask = jnp.arange(10)[None] < 7
  padded = jnp.where(mask[..., None], whole, jnp.nan)
  found = made.encode({'bmn': params}, padded, mask)
  short = dataclasses.replace(made, length=7)
  alone = short.encode({'bmn': params}, whole[:, :7], jnp.ones((1, 7), bool))
  np.testing.assert_allclose(found[0][:, :7], alone[0], atol=1e-5)
  fits = np.arange(7)[:, None] + np.array([1, 2, 5]) <= 7
  np.testing.assert_allclose(
    np.asarray(found[1])[0, :7][fits], np.asarray(alone[1])[0][fits], atol=1e-5
  )


def test_a_proposal_is_valid_where_it_ends_in_time():
  mask = jnp.arange(4)[None] < 3
  found = networks.valid_cells(mask, (1, 3))
  np.testing.assert_array_equal(
    found[0], [[True, True], [True, False], [True, False], [False, False]]
  )


def test_outputs_are_probabilities_of_known_shapes():
  made, params = _small(length=6)
  boundaries, maps = made.encode(
    {'bmn': params}, jnp.ones((2, 6, 3)), jnp.ones((2, 6), bool)
  )
  assert boundaries.shape == (2, 6, 2) and maps.shape == (2, 6, 3, 2)
  for array in (boundaries, maps):
    assert 0 < float(array.min()) and float(array.max()) < 1


@pytest.mark.parametrize('dtype', ['bfloat16'])
def test_half_precision_is_near_and_scores_stay_float32(dtype):
  made, params = _small()
  half, _ = _small(dtype=jnp.dtype(dtype).type)
  inputs = jax.random.normal(jax.random.key(1), (1, 10, 3))
  mask = jnp.ones((1, 10), bool)
  for a, b in zip(
    made.encode({'bmn': params}, inputs, mask),
    half.encode({'bmn': params}, inputs, mask),
  ):
    assert b.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.05)
