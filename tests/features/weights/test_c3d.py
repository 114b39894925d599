import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import c3d as c3d_weights

torch = pytest.importorskip('torch')

WIDTHS = (4, 6, 8, 8, 10)
LAYERS = ('conv1', 'conv2', 'conv3a', 'conv3b', 'conv4a', 'conv4b', 'conv5a',
          'conv5b')  # fmt: skip


def torch_c3d(widths=WIDTHS):
  """C3D as a torch sequence, pooled where the paper's C3D pools."""
  torch.manual_seed(0)
  layers, last = [], 3
  for (names, window), width in zip(c3d.BLOCKS, widths):
    for _ in names:
      layers += [torch.nn.Conv3d(last, width, 3, padding=1), torch.nn.ReLU()]
      last = width
    if max(window) > 1:
      layers.append(torch.nn.MaxPool3d(window))
  return torch.nn.Sequential(*layers)


def numbered_state(net):
  state = {f'features.{k}': v for k, v in net.state_dict().items()}
  state['classifier.0.weight'] = torch.ones(5, 7)
  state['classifier.0.bias'] = torch.ones(5)
  return state


def renamed(net, template):
  """State dict with one name pattern a layer, from the numbered one."""
  state = {}
  convolutions = [m for m in net if isinstance(m, torch.nn.Conv3d)]
  for layer, module in zip(LAYERS, convolutions, strict=True):
    state[template.format(layer) + '.weight'] = module.weight.detach()
    state[template.format(layer) + '.bias'] = module.bias.detach()
  return state


def states():
  net = torch_c3d()
  plain = renamed(net, '{}')
  plain['fc6.weight'] = plain['fc8.bias'] = torch.ones(3)
  letters = renamed(net, 'module.{}')
  letters = {
    k.replace('conv1.', 'conv1a.').replace('conv2.', 'conv2a.'): v
    for k, v in letters.items()
  }
  mmaction = renamed(net, 'backbone.{}.conv')
  mmaction = {
    k.replace('conv1.', 'conv1a.').replace('conv2.', 'conv2a.'): v
    for k, v in mmaction.items()
  }
  mmaction['cls_head.fc_cls.weight'] = torch.ones(3, 4)
  mmaction['backbone.fc6.bias'] = torch.ones(3)
  return {
    'features': (numbered_state(net), 'features', 'bgr'),
    'conv1': ({'state_dict': plain, 'epoch': 1}, 'conv1', 'bgr'),
    'conv1a': (letters, 'conv1', 'bgr'),
    'mmaction2': ({'state_dict': mmaction}, 'backbone.conv1a.conv', 'rgb'),
  }


@pytest.mark.parametrize('layout', ['features', 'conv1', 'conv1a', 'mmaction2'])
def test_converted_c3d_equals_torch(tmp_path, layout):
  state, name, order = states()[layout]
  torch.save(state, tmp_path / 'made.pth')
  found = c3d_weights.convert(tmp_path / 'made.pth', widths=WIDTHS)
  assert found.description['layout'] == name
  assert found.description['channel_order'] == order
  ignored = found.description['ignored']
  assert len(ignored) == {'features': 2, 'conv1': 2, 'conv1a': 0}.get(layout, 2)
  video = np.random.default_rng(0).standard_normal((1, 16, 32, 32, 3))
  video = video.astype(np.float32)
  with torch.no_grad():
    want = torch_c3d()(torch.from_numpy(video).permute(0, 4, 1, 2, 3))
  apply = jax.jit(c3d.C3D(widths=WIDTHS).apply)
  got = apply({'params': found.params}, jnp.asarray(video))
  np.testing.assert_allclose(got, want.permute(0, 2, 3, 4, 1), atol=1e-4)
  assert np.abs(got).max() > 1e-3


def test_one_error_lists_all_that_does_not_fit(tmp_path):
  state = renamed(torch_c3d(), '{}')
  del state['conv3a.weight']
  state['conv4a.bias'] = torch.ones(9)
  state['conv5b.bias'] = torch.full((10,), np.nan)
  state['conv6.weight'] = torch.ones(2, 2)
  state['module.conv2.bias'] = torch.ones(6)
  torch.save(state, tmp_path / 'made.pth')
  with pytest.raises(ValueError, match='5 problems') as error:
    c3d_weights.convert(tmp_path / 'made.pth', widths=WIDTHS)
  lines = str(error.value).splitlines()[1:]
  assert [line.strip() for line in lines] == [
    'wrong shape: conv4a.bias becomes conv4a/bias (9,), expected (8,)',
    'not finite: conv5b.bias holds NaN or infinity',
    'unknown: conv6.weight (2, 2)',
    'given twice: conv2a/bias by conv2.bias and module.conv2.bias',
    'missing: conv3a/kernel (3, 3, 3, 6, 8)',
  ]


def test_other_networks_are_no_c3d(tmp_path):
  torch.save({'layer1.weight': torch.ones(2)}, tmp_path / 'made.pth')
  with pytest.raises(ValueError, match="known layout.*'layer1.weight'"):
    c3d_weights.convert(tmp_path / 'made.pth')
