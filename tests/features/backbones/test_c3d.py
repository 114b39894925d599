import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features.backbones import c3d

NARROW = (4, 6, 8, 8, 10)


def make(frames=16, size=16, seed=0, **settings):
  module = c3d.C3D(widths=NARROW, **settings)
  rng = np.random.default_rng(seed)
  video = rng.standard_normal((1, frames, size, size, 3)).astype(np.float32)
  shapes = jax.eval_shape(module.init, jax.random.key(0), video)
  # Random biases too, so that padding which is not zeroed again shows.
  variables = jax.tree.map(
    lambda p: (
      rng.uniform(-1, 1, p.shape).astype(np.float32)
      * (2 / max(np.prod(p.shape[:-1]), 9)) ** 0.5
    ),
    shapes,
  )
  return module, variables, video


def test_full_size_shapes_and_parameters():
  frames = jax.ShapeDtypeStruct((2, 768, 112, 112, 3), jnp.float32)
  maps, variables = jax.eval_shape(
    c3d.C3D().init_with_output, jax.random.key(0), frames
  )
  assert maps.shape == (2, 96, 7, 7, 512)
  kernels = {n: p['kernel'].shape for n, p in variables['params'].items()}
  assert kernels == {
    'conv1a': (3, 3, 3, 3, 64),
    'conv2a': (3, 3, 3, 64, 128),
    'conv3a': (3, 3, 3, 128, 256),
    'conv3b': (3, 3, 3, 256, 256),
    'conv4a': (3, 3, 3, 256, 512),
    'conv4b': (3, 3, 3, 512, 512),
    'conv5a': (3, 3, 3, 512, 512),
    'conv5b': (3, 3, 3, 512, 512),
  }


def test_equals_plain_layers():
  module, variables, video = make()
  x = video
  for names, window in c3d.BLOCKS:
    for name in names:
      p = variables['params'][name]
      x = jax.lax.conv_general_dilated(
        x, p['kernel'], (1, 1, 1), 'SAME',
        dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
      )  # fmt: skip
      x = jax.nn.relu(x + p['bias'].reshape(1, 1, 1, 1, -1))
    full = (1, *window, 1)
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, full, full, 'VALID')
  got = jax.jit(module.apply)(variables, video)
  np.testing.assert_allclose(got, x, atol=1e-5)


def test_remat_and_formulation_change_nothing():
  module, variables, video = make()

  # The video is an argument: XLA would spend long folding a constant.
  def loss(variables, video, **settings):
    other = module.clone(**settings)
    return jnp.sum(other.apply(variables, video) ** 2)

  results = []
  for settings in ({}, {'remat': True}, {'formulation': 'conv3d'}):
    step = jax.value_and_grad(functools.partial(loss, **settings))
    results.append(jax.jit(step)(variables, video))
  for other in results[1:]:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
      results[0],
      other,
    )


def convolutions_of_a_step(frozen):
  module, variables, video = make(frozen_layers=frozen)
  loss = lambda v, x: jnp.sum(module.apply(v, x) ** 2)
  step = jax.jit(jax.grad(loss)).lower(variables, video).compile()
  text, gradients = step.as_text(), step(variables, video)['params']
  return text.count('convolution('), gradients


def test_frozen_layers_have_no_gradient_and_cost_no_backward():
  per_frozen = {}
  for frozen in (0, ('conv1a', 'conv2a')):
    number, gradients = convolutions_of_a_step(frozen)
    per_frozen[c3d.count_frozen(frozen)] = number
    for i, name in enumerate(c3d.LAYERS):
      moved = bool(np.any(gradients[name]['kernel']))
      assert moved == (i >= c3d.count_frozen(frozen)), name
  # 8 forward; each trained layer adds a kernel gradient and, above the first
  # trained one, an input gradient.
  assert per_frozen[0] == 8 + 8 + 7
  assert per_frozen[2] == 8 + 6 + 5


def test_padding_never_changes_valid_maps():
  module, variables, video = make(frames=24)
  apply = jax.jit(module.apply)
  for valid in (1, 8, 12, 16):
    mask = np.arange(24)[None] < valid
    garbage = np.where(mask[..., None, None, None], video, 1e3)
    got = apply(variables, garbage.astype(np.float32), mask)
    size = -(-valid // 8) * 8
    alone = video[:, :size].copy()
    alone[:, valid:] = 0
    want = apply(variables, alone, mask[:, :size])
    np.testing.assert_allclose(got[:, : size // 8], want, atol=1e-6)
    assert np.any(want) and not np.any(got[:, size // 8 :])


def test_masked_frames_get_no_gradient():
  module, variables, video = make(frames=16)
  mask = np.arange(16)[None] < 9
  loss = lambda x, v, mask: jnp.sum(module.apply(v, x, mask) ** 2)
  gradient = jax.jit(jax.grad(loss))(video, variables, mask)
  assert np.any(gradient[:, :9]) and not np.any(gradient[:, 9:])


def test_bfloat16_is_close_and_parameters_stay_float32():
  module, variables, video = make()
  want = jax.jit(module.apply)(variables, video)
  got = jax.jit(module.clone(dtype=jnp.bfloat16).apply)(variables, video)
  assert got.dtype == jnp.bfloat16
  error = np.abs(got.astype(np.float32) - want).max() / np.abs(want).max()
  assert error < 0.05


def test_bad_settings_are_named():
  module, variables, video = make()
  with pytest.raises(ValueError, match='multiple of 8 in time, got 15'):
    module.apply(variables, video[:, :15])
  with pytest.raises(ValueError, match='at least 16 x 16'):
    module.apply(variables, video[:, :, :8])
  with pytest.raises(ValueError, match="got \\('conv2a',\\)"):
    c3d.count_frozen(('conv2a',))
  with pytest.raises(ValueError, match='got 9'):
    c3d.count_frozen(9)
