"""Caffe models made for tests, and what Caffe would compute with them.

Written byte by byte and computed in plain numpy from the description alone:
neither side knows the reader, the networks here or the protobuf library.
"""

import numpy as np


def varint(value):
  out = bytearray()
  while True:
    value, low = value >> 7, value & 127
    out.append(low | (128 if value else 0))
    if not value:
      return bytes(out)


def field(number, value):
  """One field: bytes and text with their length, whole numbers, floats."""
  if isinstance(value, str):
    value = value.encode()
  if isinstance(value, bytes):
    return varint(number << 3 | 2) + varint(len(value)) + value
  if isinstance(value, float):
    return varint(number << 3 | 5) + np.float32(value).tobytes()
  return varint(number << 3) + varint(int(value))


def blob(array, form='shape'):
  """A blob: 'shape', 'legacy' (four sizes), 'double', 'half', 'c3d'."""
  array = np.asarray(array)
  if form == 'c3d':
    sizes = (1,) * (5 - array.ndim) + array.shape
    head = b''.join(field(i, n) for i, n in enumerate(sizes, 1))
    return head + field(6, array.astype('<f4').tobytes())
  if form == 'legacy':
    sizes = (1,) * (4 - array.ndim) + array.shape
    head = b''.join(field(i, n) for i, n in enumerate(sizes, 1))
    return head + field(5, array.astype('<f4').tobytes())
  dims = field(1, b''.join(varint(size) for size in array.shape))
  if form == 'double':
    return field(8, array.astype('<f8').tobytes()) + field(7, dims)
  if form == 'half':
    numbers = array.astype('<f2').tobytes()
    return field(7, dims) + field(10, 2) + field(12, numbers)
  return field(5, array.astype('<f4').tobytes()) + field(7, dims)


def model(layers, form='shape'):
  """A whole model of `layer` messages."""
  out = field(1, 'made')
  for layer in layers:
    body = field(1, layer['name']) + field(2, layer['type'])
    body += b''.join(field(3, name) for name in layer['bottoms'])
    body += b''.join(field(4, name) for name in layer['tops'])
    body += b''.join(field(7, blob(a, form)) for a in layer['blobs'])
    for number, settings in layer.get('settings', {}).items():
      body += field(
        number, b''.join(field(key, value) for key, value in settings)
      )
    out += field(100, body)
  return out


def model_v1(layers, form='legacy'):
  """A whole model of the older `layers` messages; types are numbers."""
  out = field(1, 'made')
  for layer in layers:
    body = b''.join(field(2, name) for name in layer['bottoms'])
    body += b''.join(field(3, name) for name in layer['tops'])
    body += field(4, layer['name']) + field(5, layer['type'])
    body += b''.join(field(6, blob(a, form)) for a in layer['blobs'])
    out += field(2, body)
  return out


class Builder:
  """Adds layers to a description; every method returns its top's name."""

  def __init__(self, seed=0, *, style='BN', in_place=True):
    self.rng = np.random.default_rng(seed)
    self.layers, self.style, self.in_place = [], style, in_place

  def add(self, kind, name, bottoms, blobs=(), top=None, **settings):
    settings = {int(key[1:]): value for key, value in settings.items()}
    self.layers.append({
      'name': name, 'type': kind, 'bottoms': bottoms, 'tops': [top or name],
      'blobs': [np.asarray(b, np.float64) for b in blobs],
      'settings': settings,
    })  # fmt: skip
    return top or name

  def conv(self, x, name, shape, stride=1, bias=False):
    spread = np.sqrt(2 / np.prod(shape[1:]))
    blobs = [self.rng.normal(0, spread, shape)]
    if bias:
      blobs.append(self.rng.normal(0, 0.1, shape[0]))
    settings = [(3, shape[2] // 2), (4, shape[2]), (6, stride)]
    return self.add('Convolution', name, [x], blobs, _106=settings)

  def norm(self, x, name, channels, eps=None):
    top = x if self.in_place else None
    mean = self.rng.normal(0, 0.2, channels)
    variance = self.rng.uniform(0.5, 1.5, channels)
    slope = self.rng.uniform(0.5, 1.5, channels)
    shift = self.rng.normal(0, 0.2, channels)
    if self.style == 'BN':
      # The vectors of yjxiong/caffe have a leading axis.
      blobs = [v[None] for v in (slope, shift, mean, variance)]
      return self.add('BN', name, [x], blobs, top, _137=[(4, eps or 1e-5)])
    factor = 999.5
    x = self.add('BatchNorm', name, [x],
                 [mean * factor, variance * factor, [factor]], top,
                 _139=[(3, eps or 1e-5)])  # fmt: skip
    return self.add('Scale', f'{name}_scale', [x], [slope, shift], top)

  def relu(self, x, name):
    return self.add('ReLU', name, [x], (), x if self.in_place else None)

  def pool(self, x, name, kind, size=3, stride=2, pad=0, floor=False):
    settings = [(1, kind), (2, size), (3, stride), (4, pad)]
    if floor:
      settings.append((13, 1))
    return self.add('Pooling', name, [x], _121=settings)

  def global_pool(self, x, name):
    return self.add('Pooling', name, [x], _121=[(1, 1), (12, 1)])

  def fully(self, x, name, c_in, c_out):
    blobs = [
      self.rng.normal(0, 0.3, (c_out, c_in)),
      self.rng.normal(size=c_out),
    ]
    return self.add('InnerProduct', name, [x], blobs)


def compute(layers, data):
  """What Caffe computes: the last layer's output for `data` [n, c, h, w]."""
  maps, out = {'data': np.asarray(data, np.float64)}, None
  for layer in layers:
    inputs = [maps[name] for name in layer['bottoms']]
    settings = {
      key: value
      for group in layer['settings'].values() for key, value in group
    }  # fmt: skip
    out = _RUN[layer['type']](inputs, layer['blobs'], settings)
    for top in layer['tops']:
      maps[top] = out
  return out


def _windows(x, size, stride, pad, value=0.0, ceil=False):
  """[n, c, i, j, size, size]; beyond the padding `value` too."""
  h = x.shape[2]
  count = (h + 2 * pad - size) / stride
  count = int(np.ceil(count) if ceil else np.floor(count)) + 1
  if ceil and pad and (count - 1) * stride >= h + pad:
    count -= 1
  need = max(0, (count - 1) * stride + size - h - pad)
  x = np.pad(x, [(0, 0), (0, 0), (pad, need), (pad, need)],
             constant_values=value)  # fmt: skip
  view = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
  return view[:, :, ::stride, ::stride][:, :, :count, :count]


def _conv(inputs, blobs, settings):
  windows = _windows(inputs[0], settings[4], settings[6], settings[3])
  out = np.einsum('ncijyx,ocyx->noij', windows, blobs[0], optimize=True)
  return out + (blobs[1].reshape(-1, 1, 1) if len(blobs) > 1 else 0)


def _bn(inputs, blobs, settings):
  slope, shift, mean, variance = (b.reshape(-1, 1, 1) for b in blobs)
  out = (inputs[0] - mean) / np.sqrt(variance + settings[4])
  return out * slope + shift


def _batch_norm(inputs, blobs, settings):
  mean, variance = (b.reshape(-1, 1, 1) / blobs[2][0] for b in blobs[:2])
  return (inputs[0] - mean) / np.sqrt(variance + settings[3])


def _scale(inputs, blobs, unused):
  return inputs[0] * blobs[0].reshape(-1, 1, 1) + blobs[1].reshape(-1, 1, 1)


def _pool(inputs, unused, settings):
  if settings.get(12):
    return inputs[0].mean((2, 3))
  maximum = settings[1] == 0
  windows = _windows(
    inputs[0], settings[2], settings[3], settings[4],
    -np.inf if maximum else 0.0, ceil=settings.get(13) != 1,
  )  # fmt: skip
  return windows.max((4, 5)) if maximum else windows.mean((4, 5))


def _fully(inputs, blobs, unused):
  flat = inputs[0].reshape(len(inputs[0]), -1)
  return flat @ blobs[0].T + blobs[1]


_RUN = {
  'Convolution': _conv,
  'BN': _bn,
  'BatchNorm': _batch_norm,
  'Scale': _scale,
  'ReLU': lambda inputs, blobs, settings: np.maximum(inputs[0], 0),
  'Pooling': _pool,
  'InnerProduct': _fully,
  'Eltwise': lambda inputs, blobs, settings: inputs[0] + inputs[1],
  'Concat': lambda inputs, blobs, settings: np.concatenate(inputs, 1),
  'Split': lambda inputs, blobs, settings: inputs[0],
  'Dropout': lambda inputs, blobs, settings: inputs[0],
}


def resnet(
  blocks=(2, 1, 1, 1),
  width=4,
  classes=5,
  channels=3,
  *,
  preactivation=False,
  stride_in_1x1=False,
  pad=0,
  floor=False,
  bias=False,
  eps=None,
  **kwargs,
):
  """A ResNet under meaningless names, as conversions leave them."""
  b = Builder(**kwargs)
  number = iter(range(10**6))
  name = lambda: f'caffe.Layer_{next(number)}'
  conv = lambda x, shape, stride=1, bias=bias: b.conv(
    x, name(), shape, stride, bias
  )
  norm_relu = lambda x, c: b.relu(b.norm(x, name(), c, eps), name())
  c = width
  x = norm_relu(conv('data', (c, channels, 7, 7), 2), c)
  x = b.pool(x, name(), 0, pad=pad, floor=floor)
  for stage, count in enumerate(blocks):
    inner = width * 2**stage
    for index in range(count):
      stride = 2 if stage and not index else 1
      first, second = (stride, 1) if stride_in_1x1 else (1, stride)
      left = f'{name()}_0'
      split = b.add('Split', left[:-2], [x], top=left)
      b.layers[-1]['tops'] = [left, f'{left[:-2]}_1']
      shortcut, y = f'{left[:-2]}_1', split
      project = not index
      if preactivation:
        b_in = b.in_place
        # The activation must not overwrite the shortcut.
        b.in_place = False
        if stage or index:
          y = norm_relu(y, c)
        b.in_place = b_in
        if project:
          shortcut = conv(y, (4 * inner, c, 1, 1), stride, bias=False)
        y = norm_relu(conv(y, (inner, c, 1, 1), first), inner)
        y = norm_relu(conv(y, (inner, inner, 3, 3), second), inner)
        y = conv(y, (4 * inner, inner, 1, 1), bias=False)
      else:
        if project:
          shortcut = conv(shortcut, (4 * inner, c, 1, 1), stride)
          shortcut = b.norm(shortcut, name(), 4 * inner, eps)
        y = norm_relu(conv(y, (inner, c, 1, 1), first), inner)
        y = norm_relu(conv(y, (inner, inner, 3, 3), second), inner)
        y = b.norm(conv(y, (4 * inner, inner, 1, 1)), name(), 4 * inner, eps)
      # Both orders are seen in the wild.
      terms = [shortcut, y] if index % 2 else [y, shortcut]
      x, c = b.add('Eltwise', name(), terms), 4 * inner
      if not preactivation:
        x = b.relu(x, name())
  if preactivation:
    x = norm_relu(x, c)
  x = b.add('Dropout', name(), [b.global_pool(x, name())])
  b.fully(x, name(), c, classes)
  return b.layers


_MODULES = {
  '3a': (64, 64, 64, 64, 96, 96, 32), '3b': (64, 64, 96, 64, 96, 96, 64),
  '3c': (0, 128, 160, 64, 96, 96, 0), '4a': (224, 64, 96, 96, 128, 128, 128),
  '4b': (192, 96, 128, 96, 128, 128, 128),
  '4c': (160, 128, 160, 128, 160, 160, 128),
  '4d': (96, 128, 192, 160, 192, 192, 128),
  '4e': (0, 128, 192, 192, 256, 256, 0),
  '5a': (352, 192, 320, 160, 224, 224, 128),
  '5b': (352, 192, 320, 192, 224, 224, 128),
}  # fmt: skip


def bn_inception(width=0.125, classes=7, channels=10, eps=None, **kwargs):
  """BN-Inception under the names of its original."""
  b = Builder(**kwargs)
  wide = lambda count: max(1, round(count * width))

  def unit(x, c_in, c_out, name, size, stride=1):
    x = b.conv(x, name, (c_out, c_in, size, size), stride, bias=True)
    return b.relu(b.norm(x, f'{name}_bn', c_out, eps), f'{name}_relu')

  c = wide(64)
  x = unit('data', channels, c, 'conv1/7x7_s2', 7, 2)
  x = b.pool(x, 'pool1/3x3_s2', 0)
  x = unit(x, c, wide(64), 'conv2/3x3_reduce', 1)
  x = unit(x, wide(64), wide(192), 'conv2/3x3', 3)
  x, c = b.pool(x, 'pool2/3x3_s2', 0), wide(192)
  for key, counts in _MODULES.items():
    one, reduce, three, reduce_2, double_1, double_2, project = (
      wide(n) if n else 0 for n in counts
    )
    name, stride, parts = f'inception_{key}', 1 if one else 2, []
    if one:
      parts.append(unit(x, c, one, f'{name}/1x1', 1))
    y = unit(x, c, reduce, f'{name}/3x3_reduce', 1)
    parts.append(unit(y, reduce, three, f'{name}/3x3', 3, stride))
    y = unit(x, c, reduce_2, f'{name}/double_3x3_reduce', 1)
    y = unit(y, reduce_2, double_1, f'{name}/double_3x3_1', 3)
    parts.append(unit(y, double_1, double_2, f'{name}/double_3x3_2', 3, stride))
    total = one + three + double_2
    if project:
      y = b.pool(x, f'{name}/pool', 0 if key == '5b' else 1, 3, 1, 1)
      parts.append(unit(y, c, project, f'{name}/pool_proj', 1))
      total += project
    else:
      parts.append(b.pool(x, f'{name}/pool', 0))
      total += c
    x, c = b.add('Concat', f'{name}/output', parts), total
  x = b.add('Dropout', 'dropout', [b.global_pool(x, 'global_pool')])
  b.fully(x, 'fc-action', c, classes)
  return b.layers
