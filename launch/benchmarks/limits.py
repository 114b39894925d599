"""Suite 'limits': what this machine can do at most, measured.

Shares of a limit are of these figures, not of a data sheet's. On a CPU time is
CPU seconds, so a rate is that of one core.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

_SIZE = 2048
_COPY_BYTES = 1 << 28


def run_limits(quick: bool = False) -> list[dict]:
  """Rows of the matrix product and the copy.

  Args:
    quick: accepted for all suites alike; these take seconds.
  """
  del quick
  dtype = 'float32' if on_cpu() else 'bfloat16'
  matmul = matmul_flops()
  copy = copy_bytes()
  return [
    {
      'suite': 'limits',
      'work': f'matrix product {_SIZE} x {_SIZE} x {_SIZE}, {dtype}',
      'ours_s': 2 * _SIZE**3 / matmul,
      'note': f'{matmul / 1e9:,.0f} GFLOP/s{_unit()}',
    },
    {
      'suite': 'limits',
      'work': f'copy of {_COPY_BYTES >> 20} MiB',
      'ours_s': 2 * _COPY_BYTES / copy,
      'note': f'{copy / 1e9:,.1f} GB/s, read and written{_unit()}',
    },
  ]


@functools.cache
def matmul_flops() -> float:
  """Floating-point operations a second of a large matrix product."""
  dtype = jnp.float32 if on_cpu() else jnp.bfloat16
  size = _SIZE if on_cpu() else 4 * _SIZE
  a = jax.random.normal(jax.random.key(0), (size, size), dtype)
  product = jax.jit(jnp.matmul)
  return 2 * size**3 / seconds(lambda: product(a, a))


@functools.cache
def copy_bytes() -> float:
  """Bytes read and written a second by a copy of a large array."""
  x = jnp.zeros(_COPY_BYTES // 4, jnp.float32)
  # Not a plain copy, which the compiler would leave out.
  negated = jax.jit(jnp.negative)
  return 2 * _COPY_BYTES / seconds(lambda: negated(x))


def share(flops: float) -> str:
  """A rate in words, beside that of the large matrix product."""
  return (
    f'{flops / 1e9:,.0f} GFLOP/s{_unit()}, {flops / matmul_flops():.0%} of the '
    'matrix product'
  )


def seconds(run: Callable[[], object], repeats: int = 5) -> float:
  """Median time of what returns arrays, after a run that is not timed."""
  clock = time.process_time if on_cpu() else time.perf_counter
  jax.block_until_ready(run())
  times = []
  for _ in range(repeats):
    start = clock()
    jax.block_until_ready(run())
    times.append(clock() - start)
  return statistics.median(times)


def torch_here() -> tuple[Any, str, str]:
  """(PyTorch or None, its device, why it cannot be compared with)."""
  try:
    import torch
  except ImportError:
    return None, '', 'torch is not installed'
  if on_cpu():
    # More threads spin while they wait, which would count as work.
    torch.set_num_threads(1)
    return torch, 'cpu', ''
  if not torch.cuda.is_available():
    return None, '', 'this torch has no accelerator'
  return torch, 'cuda', ''


def on_cpu() -> bool:
  """Whether JAX computes on the CPU."""
  return jax.default_backend() == 'cpu'


def _unit():
  return ' of a core' if on_cpu() else ''
