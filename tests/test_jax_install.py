"""Does this installation of jax compute right?

jaxlib 0.10.2 returns wrong numbers on CPU, without any error, where it fuses
reductions: a max-pool over a ReLU, a product followed by a sum. A network
trained on it looks merely bad. This test is the alarm.
"""

import pathlib

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import lax

REQUIREMENT = 'jax>=0.9,!=0.10.2,!=0.11.0,<0.12'
REMEDY = (
  f'jax {jax.__version__} with jaxlib {jaxlib.__version__} computes wrong '
  'results on this machine: nothing computed with it can be trusted. '
  f"Install a sound version: pip install '{REQUIREMENT}'"
)


def _pool(window):
  def pool(x):
    x = jax.nn.relu(x)[None]
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, 'VALID')[0]

  return jax.jit(pool)


def _check(got, want, rtol=1e-5):
  assert np.allclose(got, want, rtol=rtol, atol=1e-5), REMEDY


def test_max_pool_of_a_relu():
  x = np.random.default_rng(0).normal(size=(4, 64, 64, 16)).astype(np.float32)
  relu = np.maximum(x, 0)
  space = relu.reshape(4, 32, 2, 32, 2, 16).max(axis=(2, 4))
  _check(_pool((1, 1, 2, 2, 1))(x), space)
  time = space.reshape(2, 2, 32, 32, 16).max(axis=1)
  _check(_pool((1, 2, 2, 2, 1))(x), time)


def test_vmapped_product_and_sum():
  # jax-ml/jax#39103: wrong from some ten thousand rows on.
  column = np.arange(32_769, dtype=np.float32)
  rows = np.stack([column, 0 * column, 0 * column], axis=1)
  compute = jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))
  want = (rows.astype(np.float64) ** 2).sum(axis=1)
  _check(jax.jit(compute)(rows), want)


def test_remedy_is_the_requirement():
  """The message and requirements.txt must not drift apart."""
  file = pathlib.Path(__file__).resolve().parents[1] / 'requirements.txt'
  assert REQUIREMENT in file.read_text().replace(' ', '')
