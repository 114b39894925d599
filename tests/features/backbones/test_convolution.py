import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.features.backbones import convolution


def slow_convolution(inputs, kernel):
  """Independent reference: the definition, summed in float64 loops."""
  b, f, h, w, _ = inputs.shape
  kt, kh, kw, _, o = kernel.shape
  out = np.zeros((b, f, h, w, o))
  for i in range(f):
    for y in range(h):
      for x in range(w):
        for dt in range(kt):
          for dy in range(kh):
            for dx in range(kw):
              ti, yi, xi = i + dt - kt // 2, y + dy - kh // 2, x + dx - kw // 2
              if 0 <= ti < f and 0 <= yi < h and 0 <= xi < w:
                out[:, i, y, x] += inputs[:, ti, yi, xi] @ kernel[dt, dy, dx]
  return out


def random_case(seed, shape, window, o):
  rng = np.random.default_rng(seed)
  inputs = rng.standard_normal(shape).astype(np.float32)
  kernel = rng.standard_normal((*window, shape[-1], o)).astype(np.float32)
  return inputs, kernel


@pytest.mark.parametrize('formulation', ['conv3d', 'concat2d'])
@pytest.mark.parametrize('window', [(3, 3, 3), (1, 3, 3), (5, 1, 3)])
def test_equals_the_definition(formulation, window):
  inputs, kernel = random_case(0, (2, 4, 5, 6, 3), window, 4)
  got = convolution.convolve(
    jnp.asarray(inputs), jnp.asarray(kernel), formulation=formulation
  )
  want = slow_convolution(inputs, kernel)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@settings(max_examples=4)
@given(
  f=st.integers(1, 5),
  h=st.integers(1, 6),
  w=st.integers(1, 6),
  c=st.integers(1, 4),
  o=st.integers(1, 5),
)
def test_forms_and_their_gradients_agree(f, h, w, c, o):
  inputs, kernel = random_case(f * 7 + h, (2, f, h, w, c), (3, 3, 3), o)

  def loss(inputs, kernel, formulation):
    out = convolution.convolve(inputs, kernel, formulation=formulation)
    return jnp.sum(jnp.sin(out)), out

  results = {}
  for name in ('conv3d', 'concat2d'):
    gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
    results[name] = gradient(jnp.asarray(inputs), jnp.asarray(kernel), name)
  for a, b in zip(*(jax.tree.leaves(r) for r in results.values())):
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def test_layer_has_the_same_parameters_in_both_forms():
  inputs = jnp.ones((1, 4, 5, 5, 2))
  for name in ('conv3d', 'concat2d'):
    layer = convolution.Conv3D(3, formulation=name)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), inputs)
    assert jax.tree.map(jnp.shape, shapes) == {
      'params': {'kernel': (3, 3, 3, 2, 3), 'bias': (3,)}
    }


def test_bfloat16_compute_keeps_float32_parameters():
  layer = convolution.Conv3D(3, dtype=jnp.bfloat16)
  outputs, variables = jax.eval_shape(
    layer.init_with_output, jax.random.key(0), jnp.ones((1, 2, 4, 4, 2))
  )
  assert outputs.dtype == jnp.bfloat16
  assert variables['params']['kernel'].dtype == jnp.float32


def test_auto_follows_the_backend(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'cpu')
  assert convolution.choose('auto') == 'concat2d'
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert convolution.choose('auto') == 'conv3d'
  assert convolution.choose('concat2d') == 'concat2d'


def test_bad_arguments_are_named():
  with pytest.raises(ValueError, match="formulation must be one of .*'fft'"):
    convolution.choose('fft')
  with pytest.raises(ValueError, match=r'odd in every axis, got \(2, 3, 3\)'):
    convolution.convolve(jnp.ones((1, 2, 2, 2, 1)), jnp.ones((2, 3, 3, 1, 1)))
