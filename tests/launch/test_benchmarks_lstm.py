import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.stages import bilstm
from launch.benchmarks import lstm

KEYS = {
  'suite',
  'work',
  'ours_s',
  'alternative',
  'alternative_s',
  'ratio',
  'note',
}


def _small():
  net = bilstm.BiLSTM(8, 2, 0.0)
  inputs = np.random.default_rng(0).normal(size=(2, 6, 8))
  inputs = jnp.asarray(inputs, jnp.float32)
  lengths = jnp.full((2,), 6, jnp.int32)
  params = jax.jit(net.init)(jax.random.key(0), inputs, lengths)
  return params, inputs, jax.jit(net.apply)(params, inputs, lengths)


def test_all_sides_do_the_same_work():
  params, inputs, want = _small()
  got = jax.jit(lstm._flax_apply)(params, inputs)
  np.testing.assert_allclose(got, want, atol=1e-5)
  torch = pytest.importorskip('torch')
  torch.set_num_threads(1)
  got = lstm.torch_copy(params)(torch.tensor(np.asarray(inputs)))[0]
  np.testing.assert_allclose(got.detach().numpy(), want, atol=1e-5)


def test_rows():
  pytest.importorskip('torch')
  rows = lstm.run_size(2, 6, 8, repeats=2)
  assert [set(row) for row in rows] == [KEYS, KEYS]
  assert all(row['ratio'] > 0 and 'wall' in row['note'] for row in rows)


def test_a_missing_alternative_is_named(monkeypatch):
  monkeypatch.setattr(
    lstm, '_torch_runs', lambda *_: (None, 'torch is not installed')
  )
  rows = lstm.run_size(1, 4, 8, repeats=1)
  assert all(row['ratio'] is None and row['ours_s'] > 0 for row in rows)
  assert all('not installed' in row['note'] for row in rows)
