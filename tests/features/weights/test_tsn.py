"""BN-Inception and ResNet against PyTorch, through every checkpoint layout."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features import variables
from cmsn_jax.features.backbones import bn_inception, resnet
from cmsn_jax.features.weights import folders, tsn

torch = pytest.importorskip('torch', reason='PyTorch is not installed')
from launch.benchmarks import torch_backbones  # noqa: E402


def _state(module):
  return {key: value.numpy() for key, value in module.state_dict().items()}


def _images(channels, n=2, size=64, seed=0):
  rng = np.random.default_rng(seed)
  return rng.standard_normal((n, size, size, channels)).astype(np.float32)


def _compare(module, reference, state, channels, size=64):
  images = _images(channels, size=size)
  expected = variables.shapes(module, images)
  params = tsn.convert(state, module, expected, 'made.pth')
  ours = jax.jit(module.apply)(params, images)
  with torch.no_grad():
    theirs = reference(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
  assert np.abs(theirs).max() > 0.1
  np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope='module')
def bn_pair():
  reference = torch_backbones.randomise(
    torch_backbones.BNInception(num_classes=7, width=0.125)
  )
  return bn_inception.BNInception(num_classes=7, width=0.125), reference


def _resnet_pair(**kwargs):
  reference = torch_backbones.randomise(
    torch_backbones.ResNet((2, 1, 1, 1), num_classes=7, width=8, **kwargs)
  )
  module = resnet.ResNet((2, 1, 1, 1), num_classes=7, width=8, **kwargs)
  return module, reference


def test_bn_inception_equals_torch(bn_pair):
  module, reference = bn_pair
  _compare(module, reference, _state(reference), 10, size=96)


@pytest.mark.parametrize(
  'kwargs', [{}, {'stride_in_1x1': True}, {'preactivation': True}]
)
def test_resnet_equals_torch(kwargs):
  module, reference = _resnet_pair(**kwargs)
  _compare(module, reference, _state(reference), 3)


def _mmaction(key):
  """torchvision's name -> MMAction2's."""
  if key.startswith('fc.'):
    return key.replace('fc.', 'cls_head.fc_cls.')
  key = re.sub(r'conv(\d)\.', r'conv\1.conv.', key)
  key = re.sub(r'bn(\d)\.', r'conv\1.bn.', key)
  key = key.replace('downsample.0.', 'downsample.conv.')
  key = key.replace('downsample.1.', 'downsample.bn.')
  return f'backbone.{key}'


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def test_mmaction_names():
  module, reference = _resnet_pair()
  state = _state(reference)
  renamed = {_mmaction(key): value for key, value in state.items()}
  assert 'backbone.layer1.0.downsample.bn.running_var' in renamed
  expected = variables.shapes(module, jnp.zeros((1, 64, 64, 3)))
  _same(
    tsn.convert(renamed, module, expected, 'a'),
    tsn.convert(state, module, expected, 'b'),
  )


def test_wrapped_and_old_bn_inception(bn_pair):
  module, reference = bn_pair
  state = _state(reference)
  expected = variables.shapes(module, jnp.zeros((1, 64, 64, 10)))
  wrapped = {
    # Data-parallel training wraps; old files keep vectors as [1, c].
    f'module.base_model.{key}'.replace('base_model.new_fc', 'new_fc'): (
      value[None] if '_bn.' in key and value.ndim == 1 else value
    )
    for key, value in state.items()
  }
  _same(
    tsn.convert(wrapped, module, expected, 'a'),
    tsn.convert(state, module, expected, 'b'),
  )


def test_every_problem_is_listed(bn_pair):
  module, reference = bn_pair
  expected = variables.shapes(module, jnp.zeros((1, 64, 64, 10)))
  state = _state(reference)
  del state['inception_4c_3x3.weight']
  state['new_fc.weight'] = state['new_fc.weight'][:3]
  with pytest.raises(ValueError) as error:
    tsn.convert(state, module, expected, 'made.pth')
  text = str(error.value)
  assert 'made.pth' in text
  assert 'missing: params/inception_4c_3x3/kernel' in text
  assert 'params/fc/kernel is (128, 3), expected (128, 7)' in text
  state = {**_state(reference), 'classy.weight': np.zeros(3)}
  with pytest.raises(ValueError, match='belong to no layer.*classy.weight'):
    tsn.convert(state, module, expected, 'made.pth')
  state = {**_state(reference), 'fc.bias': np.zeros(7)}
  with pytest.raises(ValueError, match='both describe params/fc/bias'):
    tsn.convert(state, module, expected, 'made.pth')


def test_new_head_and_cross_modality():
  _, reference = _resnet_pair()
  flow = resnet.ResNet((2, 1, 1, 1), num_classes=11, width=8)
  expected = variables.shapes(flow, jnp.zeros((1, 64, 64, 10)))
  state = _state(reference)
  found = tsn.convert(state, flow, expected, 'a', new_head=True)
  assert 'fc' not in found['params']
  kernel = found['params']['conv1']['kernel']
  assert kernel.shape == (7, 7, 10, 8)
  mean = state['conv1.weight'].mean(1).transpose(1, 2, 0)
  for channel in range(10):
    np.testing.assert_allclose(kernel[:, :, channel], mean, rtol=1e-6)


def test_partial_batch_norm_updates_the_first_only():
  module = resnet.ResNet((1, 1, 1, 1), num_classes=3, width=4)
  images = _images(3, size=32)
  images = jnp.asarray(images)
  params = variables.random(module, images)
  _, updated = module.apply(
    params,
    images,
    train=True,
    rngs={'dropout': jax.random.key(0)},
    mutable=['batch_stats'],
  )
  changed = {
    '/'.join(key.key for key in path)
    for path, before in jax.tree.leaves_with_path(params['batch_stats'])
    for after in [dict(jax.tree.leaves_with_path(updated['batch_stats']))[path]]
    if np.abs(before - after).max() > 0
  }
  assert changed == {'bn1/mean', 'bn1/var'}


def test_sizes_of_the_real_networks():
  count = lambda module, channels: sum(
    leaf.size
    for leaf in jax.tree.leaves(
      variables.shapes(module, jnp.zeros((1, 64, 64, channels)))['params']
    )
  )
  # torchvision's published count for 1,000 classes.
  module = resnet.ResNet(resnet.DEPTHS[50], num_classes=1000)
  assert count(module, 3) == 25_557_032
  pooled = bn_inception.BNInception(num_classes=None)
  shape = jax.eval_shape(
    pooled.apply,
    variables.shapes(pooled, jnp.zeros((1, 64, 64, 10))),
    jnp.zeros((2, 224, 224, 10)),
  )
  assert shape.shape == (2, 1024)


@pytest.mark.parametrize('channels', [3, 10])
def test_checkpoint_becomes_a_weight_folder(tmp_path, channels):
  reference = torch_backbones.randomise(
    torch_backbones.ResNet((3, 4, 6, 3), channels, num_classes=5, width=64)
  )
  path = str(tmp_path / 'made.pth')
  torch.save({'state_dict': reference.state_dict()}, path)
  kwargs = {}
  if channels == 10:
    with pytest.raises(ValueError, match='deviation must be given'):
      tsn.convert_file(path, 'resnet')
    kwargs = {'std': (128.0,)}
  made = tsn.convert_file(path, 'resnet', **kwargs)
  folders.save(tmp_path / 'out', made)
  text = made.description
  assert (text['depth'], text['channels'], text['num_classes']) == (
    50, channels, 5
  )  # fmt: skip
  assert text['mean'] == ([128.0] if channels == 10 else
                          [123.675, 116.28, 103.53])  # fmt: skip
  module = resnet.ResNet(resnet.DEPTHS[50], num_classes=5)
  expected = variables.shapes(module, jnp.zeros((1, 64, 64, channels)))
  from_file, _ = tsn.load(path, module, expected)
  from_folder, name = tsn.load(str(tmp_path / 'out'), module, expected)
  _same(from_file, from_folder)
  assert name.startswith('out sha256:')
  with pytest.raises(ValueError, match='no bn_inception of a known layout'):
    tsn.convert_file(path, 'bn_inception')
