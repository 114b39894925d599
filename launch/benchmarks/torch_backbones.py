"""The same networks out of PyTorch's own layers, with the public layer names.

References for tests and opponents for benchmarks; nothing else needs PyTorch.
"""

try:
  import torch
  from torch import nn

  _Module = nn.Module
except ModuleNotFoundError:  # Then these classes can be read, not made.
  torch = nn = None
  _Module = object

# reduce/out channels of each BN-Inception module by branch.
_INCEPTION = (
  ('3a', dict(one=64, three=(64, 64), double=(64, 96), pool=('avg', 32))),
  ('3b', dict(one=64, three=(64, 96), double=(64, 96), pool=('avg', 64))),
  ('3c', dict(three=(128, 160), double=(64, 96))),
  ('4a', dict(one=224, three=(64, 96), double=(96, 128), pool=('avg', 128))),
  ('4b', dict(one=192, three=(96, 128), double=(96, 128), pool=('avg', 128))),
  ('4c', dict(one=160, three=(128, 160), double=(128, 160), pool=('avg', 128))),
  ('4d', dict(one=96, three=(128, 192), double=(160, 192), pool=('avg', 128))),
  ('4e', dict(three=(128, 192), double=(192, 256))),
  ('5a', dict(one=352, three=(192, 320), double=(160, 224), pool=('avg', 128))),
  ('5b', dict(one=352, three=(192, 320), double=(192, 224), pool=('max', 128))),
)


class BNInception(_Module):
  """BN-Inception with the names of the common TSN code."""

  def __init__(self, channels=10, num_classes=200, width=1.0):
    super().__init__()
    self._width = width
    self._add('conv1_7x7_s2', channels, 64, 7)
    c = self._add('conv2_3x3_reduce', self._wide(64), 64, 1)
    c = self._add('conv2_3x3', c, 192, 3)
    for name, branches in _INCEPTION:
      c = self._add_module(f'inception_{name}', c, **branches)
    self.new_fc = nn.Linear(c, num_classes)

  def _wide(self, count):
    return max(1, round(count * self._width))

  def _add(self, name, c_in, c_out, window):
    c_out = self._wide(c_out)
    conv = nn.Conv2d(c_in, c_out, window, padding=window // 2)
    self.add_module(name, conv)
    self.add_module(f'{name}_bn', nn.BatchNorm2d(c_out))
    return c_out

  def _add_module(self, name, c, three, double, one=None, pool=None):
    total = 0
    if one:
      total += self._add(f'{name}_1x1', c, one, 1)
    reduced = self._add(f'{name}_3x3_reduce', c, three[0], 1)
    total += self._add(f'{name}_3x3', reduced, three[1], 3)
    reduced = self._add(f'{name}_double_3x3_reduce', c, double[0], 1)
    reduced = self._add(f'{name}_double_3x3_1', reduced, double[1], 3)
    total += self._add(f'{name}_double_3x3_2', reduced, double[1], 3)
    if pool:
      return total + self._add(f'{name}_pool_proj', c, pool[1], 1)
    return total + c

  def _apply_unit(self, x, name, stride=1):
    conv = getattr(self, name)
    x = nn.functional.conv2d(
      x, conv.weight, conv.bias, stride, padding=conv.padding
    )
    return torch.relu(getattr(self, f'{name}_bn')(x))

  def _apply_module(self, x, name, pool):
    unit, outputs = self._apply_unit, []
    stride = 1 if pool else 2
    if pool:
      outputs.append(unit(x, f'{name}_1x1'))
    y = unit(x, f'{name}_3x3_reduce')
    outputs.append(unit(y, f'{name}_3x3', stride))
    y = unit(x, f'{name}_double_3x3_reduce')
    y = unit(y, f'{name}_double_3x3_1')
    outputs.append(unit(y, f'{name}_double_3x3_2', stride))
    if not pool:
      outputs.append(nn.functional.max_pool2d(x, 3, 2, ceil_mode=True))
    else:
      kind = {'max': nn.MaxPool2d, 'avg': nn.AvgPool2d}[pool[0]]
      y = kind(3, stride=1, padding=1, ceil_mode=True)(x)
      outputs.append(unit(y, f'{name}_pool_proj'))
    return torch.cat(outputs, 1)

  def forward(self, x):
    x = self._apply_unit(x, 'conv1_7x7_s2', 2)
    x = nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)
    x = self._apply_unit(x, 'conv2_3x3_reduce')
    x = self._apply_unit(x, 'conv2_3x3')
    x = nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)
    for name, branches in _INCEPTION:
      x = self._apply_module(x, f'inception_{name}', branches.get('pool'))
    return self.new_fc(x.mean((2, 3)))


class _Bottleneck(_Module):
  def __init__(self, c_in, c, stride, project, stride_in_1x1):
    super().__init__()
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    self.conv1 = nn.Conv2d(c_in, c, 1, first, bias=False)
    self.bn1 = nn.BatchNorm2d(c)
    self.conv2 = nn.Conv2d(c, c, 3, second, 1, bias=False)
    self.bn2 = nn.BatchNorm2d(c)
    self.conv3 = nn.Conv2d(c, 4 * c, 1, bias=False)
    self.bn3 = nn.BatchNorm2d(4 * c)
    self.downsample = None
    if project:
      self.downsample = nn.Sequential(
        nn.Conv2d(c_in, 4 * c, 1, stride, bias=False), nn.BatchNorm2d(4 * c)
      )

  def forward(self, x):
    y = torch.relu(self.bn1(self.conv1(x)))
    y = torch.relu(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    return torch.relu(
      y + (x if self.downsample is None else self.downsample(x))
    )


class _PreBottleneck(_Module):
  def __init__(self, c_in, c, stride, project, opening):
    super().__init__()
    self.bn1 = nn.BatchNorm2d(c_in) if opening else None
    self.conv1 = nn.Conv2d(c_in, c, 1, bias=False)
    self.bn2 = nn.BatchNorm2d(c)
    self.conv2 = nn.Conv2d(c, c, 3, stride, 1, bias=False)
    self.bn3 = nn.BatchNorm2d(c)
    self.conv3 = nn.Conv2d(c, 4 * c, 1, bias=False)
    self.downsample = None
    if project:
      self.downsample = nn.Sequential(
        nn.Conv2d(c_in, 4 * c, 1, stride, bias=False)
      )

  def forward(self, x):
    y = x if self.bn1 is None else torch.relu(self.bn1(x))
    shortcut = x if self.downsample is None else self.downsample(y)
    y = self.conv1(y)
    y = self.conv2(torch.relu(self.bn2(y)))
    return self.conv3(torch.relu(self.bn3(y))) + shortcut


class ResNet(_Module):
  """Bottleneck ResNet with torchvision's names."""

  def __init__(
    self,
    blocks,
    channels=3,
    num_classes=200,
    width=64,
    stride_in_1x1=False,
    preactivation=False,
  ):
    super().__init__()
    self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
    self.bn1 = nn.BatchNorm2d(width)
    c_in = width
    for stage, count in enumerate(blocks):
      layer = []
      for index in range(count):
        c = width * 2**stage
        stride = 2 if stage and not index else 1
        project = not index
        if preactivation:
          block = _PreBottleneck(c_in, c, stride, project, stage + index > 0)
        else:
          block = _Bottleneck(c_in, c, stride, project, stride_in_1x1)
        layer.append(block)
        c_in = 4 * c
      setattr(self, f'layer{stage + 1}', nn.Sequential(*layer))
    self.bn_last = nn.BatchNorm2d(c_in) if preactivation else None
    self.fc = nn.Linear(c_in, num_classes)

  def forward(self, x):
    x = torch.relu(self.bn1(self.conv1(x)))
    x = nn.functional.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
      x = getattr(self, f'layer{stage}')(x)
    if self.bn_last is not None:
      x = torch.relu(self.bn_last(x))
    return self.fc(x.mean((2, 3)))


class _Unit(_Module):
  def __init__(self, c_in, c_out, window=1, stride=1):
    super().__init__()
    self.window, self.stride = window, stride
    self.conv = nn.Conv3d(c_in, c_out, window, stride, bias=False)
    self.bn = nn.BatchNorm3d(c_out, eps=1e-3)

  def forward(self, x):
    x = self.conv(_pad_same(x, (self.window,) * 3, (self.stride,) * 3))
    return torch.relu(self.bn(x))


class _Mixed(_Module):
  def __init__(self, c_in, c):
    super().__init__()
    self.branch_0 = _Unit(c_in, c[0])
    self.branch_1a, self.branch_1b = _Unit(c_in, c[1]), _Unit(c[1], c[2], 3)
    self.branch_2a, self.branch_2b = _Unit(c_in, c[3]), _Unit(c[3], c[4], 3)
    self.branch_3 = _Unit(c_in, c[5])

  def forward(self, x):
    pooled = _max_pool(x, (3, 3, 3), (1, 1, 1))
    return torch.cat(
      [
        self.branch_0(x),
        self.branch_1b(self.branch_1a(x)),
        self.branch_2b(self.branch_2a(x)),
        self.branch_3(pooled),
      ],
      1,
    )


class I3D(_Module):
  """I3D up to Mixed_5c, spatial mean; TensorFlow's padding."""

  def __init__(self, modules, stem=(64, 64, 192)):
    super().__init__()
    self.conv_1a = _Unit(3, stem[0], 7, 2)
    self.conv_2b = _Unit(stem[0], stem[1])
    self.conv_2c = _Unit(stem[1], stem[2], 3)
    c_in, self._names = stem[2], tuple(modules)
    for name, c in modules.items():
      setattr(self, name, _Mixed(c_in, c))
      c_in = c[0] + c[2] + c[4] + c[5]

  def forward(self, x):
    x = _max_pool(self.conv_1a(x), (1, 3, 3), (1, 2, 2))
    x = self.conv_2c(self.conv_2b(x))
    for name in self._names:
      if name == 'mixed_3b':
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
      elif name == 'mixed_4b':
        x = _max_pool(x, (3, 3, 3), (2, 2, 2))
      elif name == 'mixed_5b':
        x = _max_pool(x, (2, 2, 2), (2, 2, 2))
      x = getattr(self, name)(x)
    return x.mean((3, 4)).transpose(1, 2)


def _pad_same(x, windows, strides):
  pads = []
  for size, window, stride in zip(x.shape[2:], windows, strides):
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    pads.append((total // 2, total - total // 2))
  # torch wants the last axis first.
  flat = [value for pair in reversed(pads) for value in pair]
  return nn.functional.pad(x, flat)


def _max_pool(x, windows, strides):
  # After a ReLU, padding with zeros is padding with minus infinity.
  return nn.functional.max_pool3d(
    _pad_same(x, windows, strides), windows, strides
  )


def randomise(module, seed: int = 0):
  """Fills weights and statistics with values that exercise every term."""
  generator = torch.Generator().manual_seed(seed)

  def uniform(tensor, low, high):
    with torch.no_grad():
      tensor.copy_(
        low + (high - low) * torch.rand(tensor.shape, generator=generator)
      )

  for layer in module.modules():
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
      uniform(layer.weight, 0.5, 1.5)
      uniform(layer.bias, -0.2, 0.2)
      uniform(layer.running_mean, -0.2, 0.2)
      uniform(layer.running_var, 0.5, 1.5)
    elif isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.Linear)):
      fan_in = layer.weight[0].numel()
      bound = (6 / fan_in) ** 0.5
      uniform(layer.weight, -bound, bound)
      if layer.bias is not None:
        uniform(layer.bias, -0.1, 0.1)
  return module.eval()
