"""I3D's network: equality with PyTorch, masks, receptive field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features import i3d, variables
from cmsn_jax.features.backbones import inception3d, time_axis

_WIDTH = 0.0625
_FRAMES = 144


def _inputs(frames=16, size=32, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.uniform(-1, 1, (1, frames, size, size, 3)).astype(np.float32)
  return jnp.asarray(x), jnp.ones((1, frames), bool)


def _lively(params, seed=1):
  """Statistics and biases that are neither 0 nor 1, so that they show."""
  rng = np.random.default_rng(seed)
  change = lambda path, leaf: (
    leaf + rng.uniform(0, 0.5, leaf.shape).astype(np.float32)
    if path[-1].key in ('bias', 'mean', 'var')
    else leaf
  )
  return jax.tree.map_with_path(change, params)


@pytest.fixture(scope='module')
def network():
  module = inception3d.I3D(_WIDTH)
  params = _lively(variables.random(module, *_inputs()))
  return module, jax.device_put(params), jax.jit(module.apply)


def test_equals_torch(network):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  from launch.benchmarks import torch_backbones

  module, params, run = network
  wide = lambda count: max(1, round(count * _WIDTH))
  reference = torch_backbones.I3D(
    {name: tuple(map(wide, row)) for name, row in inception3d.MIXED.items()},
    (wide(64), wide(64), wide(192)),
  ).eval()
  state = reference.state_dict()
  for collection, leaves in params.items():
    for path, leaf in jax.tree.leaves_with_path(leaves):
      *layers, name = [key.key for key in path]
      key = '.'.join(layers)
      if name == 'kernel':
        key, leaf = f'{key}.conv.weight', leaf.transpose(4, 3, 0, 1, 2)
      else:
        kind = {'bias': 'bias', 'mean': 'running_mean', 'var': 'running_var'}
        key = f'{key}.{kind[name]}'
      assert state[key].shape == leaf.shape, (collection, key)
      state[key].copy_(torch.from_numpy(np.array(leaf)))
  x, valid = _inputs(_FRAMES)
  with torch.no_grad():
    theirs = reference(
      torch.from_numpy(np.asarray(x).transpose(0, 4, 1, 2, 3).copy())
    ).numpy()
  ours = run(params, x, valid)
  assert np.abs(theirs).max() > 0.1
  np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('window, stride', [(7, 2), (3, 1), (1, 1)])
def test_formulations_agree(window, stride):
  rng = np.random.default_rng(window)
  x = jnp.asarray(rng.standard_normal((2, 8, 10, 12, 3)), jnp.float32)
  kernel = rng.standard_normal((window, window, window, 3, 5))
  kernel = jnp.asarray(kernel, jnp.float32)
  around = time_axis.Around(window, stride).apply({}, x)
  one = inception3d.convolve(around, kernel, stride, 'concat2d')
  other = inception3d.convolve(around, kernel, stride, 'conv3d')
  assert one.shape == (2, 8 // stride, 10 // stride, 12 // stride, 5)
  np.testing.assert_allclose(one, other, atol=1e-4)


def test_frames_outside_do_not_matter(network):
  _, params, run = network
  x, valid = _inputs(_FRAMES)
  valid = valid.at[:, 99:].set(False)
  noisy = run(params, x, valid)
  clean = run(params, x * valid.reshape(1, _FRAMES, 1, 1, 1), valid)
  np.testing.assert_array_equal(noisy, clean)
  assert not np.asarray(noisy[:, 13:]).any()


def test_receptive_field(network):
  _, params, run = network
  snippet = 10
  x, valid = _inputs(_FRAMES)
  before = run(params, x, valid)

  def change(frame):
    after = run(params, x.at[:, frame].set(-x[:, frame]), valid)
    return np.abs(after - before)[0, snippet].max()

  first = 8 * snippet
  assert change(first - 45) == 0
  assert change(first - 44) > 0
  assert change(first + 54) > 0
  assert change(first + 55) == 0
  assert 44 <= i3d.HALO_FRAMES
  assert 54 - 7 <= i3d.HALO_FRAMES


def _streamed(params, x, valid, pieces):
  """Rows of a stream cut into pieces of so many snippets, its lag removed."""
  module = inception3d.I3D(_WIDTH, streams=True)
  late = 8 * inception3d.LAG_SNIPPETS
  x = np.pad(x, [(0, 0), (0, late), (0, 0), (0, 0), (0, 0)])
  valid = np.pad(valid, [(0, 0), (0, late)])
  shapes = variables.shapes(module, x[:, :8], valid[:, :8])['stream']
  state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)

  @jax.jit
  def step(state, x, valid):
    rows, changed = module.apply(
      {**params, 'stream': state}, x, valid, mutable=['stream']
    )
    return changed['stream'], rows

  rows, at = [], 0
  for piece in pieces:
    part = slice(8 * at, 8 * (at + piece))
    state, found = step(state, x[:, part], valid[:, part])
    rows, at = [*rows, found], at + piece
  return np.concatenate(rows, 1)[:, inception3d.LAG_SNIPPETS :]


def test_a_stream_equals_the_clip(network):
  _, params, run = network
  x, valid = _inputs(_FRAMES)
  # The last snippet has only begun.
  valid = valid.at[:, _FRAMES - 5 :].set(False)
  want = run(params, x, valid)
  total = _FRAMES // 8 + inception3d.LAG_SNIPPETS
  # Few lengths: each is compiled.
  got = _streamed(params, x, valid, [1, *[3] * (total // 3)])
  assert np.abs(want).max() > 0.1
  np.testing.assert_allclose(got, want, atol=1e-5, rtol=1e-5)


def test_eight_empty_frames_keep_two_videos_apart(network):
  _, params, run = network
  x, valid = _inputs(_FRAMES)
  both = run(params, x, valid.at[:, 64:72].set(False))
  outside = valid.at[:, 64:].set(False)
  first = run(params, x, outside)
  second = run(params, x, ~outside & valid.at[:, 64:72].set(False))
  np.testing.assert_array_equal(both[:, :8], first[:, :8])
  np.testing.assert_array_equal(both[:, 9:], second[:, 9:])
