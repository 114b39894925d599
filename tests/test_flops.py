import jax
import jax.numpy as jnp

from cmsn_jax import flops


def _spec(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_matrix_products():
  assert flops.count(jnp.matmul, _spec(3, 5), _spec(5, 7)) == 2 * 3 * 5 * 7
  batched = lambda a, b: jnp.einsum('bij,bjk->bik', a, b)
  assert flops.count(batched, _spec(2, 3, 5), _spec(2, 5, 7)) == 4 * 3 * 5 * 7


def test_convolutions_count_what_each_output_sums():
  def conv(x, kernel, groups=1):
    return jax.lax.conv_general_dilated(
      x, kernel, (1,), 'SAME', dimension_numbers=('NWC', 'WIO', 'NWC'),
      feature_group_count=groups,
    )  # fmt: skip

  assert flops.count(conv, _spec(1, 10, 4), _spec(3, 4, 8)) == 2 * 80 * 12
  grouped = lambda x, kernel: conv(x, kernel, 2)
  assert flops.count(grouped, _spec(1, 10, 4), _spec(3, 2, 8)) == 2 * 80 * 6


def test_every_step_of_a_scan_counts_and_so_do_functions_within():
  @jax.jit
  def step(state, _):
    return state @ jnp.ones((4, 4)), None

  run = lambda x: jax.lax.scan(step, x, length=9)[0]
  assert flops.count(run, _spec(2, 4)) == 9 * 2 * 2 * 4 * 4


def test_of_branches_the_costliest_counts():
  def run(x):
    return jax.lax.cond(
      x[0, 0] > 0, lambda x: x @ x, lambda x: x @ x @ x, x
    )  # fmt: skip

  assert flops.count(run, _spec(3, 3)) == 2 * 2 * 27
