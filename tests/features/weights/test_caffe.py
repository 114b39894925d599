"""Caffe models: made byte by byte, computed in numpy as Caffe does."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features import two_stream
from cmsn_jax.features.backbones import c3d, resnet
from cmsn_jax.features.weights import c3d as c3d_weights
from cmsn_jax.features.weights import (
  caffe,
  caffe_files,
  caffe_resnet,
  folders,
  tsn,
)
from tests.features.weights import made_caffe

WIDTHS = (4, 6, 8, 8, 10)


def write(path, data):
  path.write_bytes(data)
  return str(path)


def section(folder, classes):
  """A config section that knows nothing but where the weights are."""
  return types.SimpleNamespace(
    weights=str(folder), backbone='bn_inception', depth=50, num_classes=3,
    dropout=0.5, partial_bn=True, preactivation=False, stride_in_1x1=False,
    width=1.0, mean=(0.0,), std=(9.0,), channel_order='rgb',
  )  # fmt: skip


def compare(tmp_path, layers, backbone, channels, size, form='shape'):
  """The converted network against Caffe's own sums, through a folder."""
  path = write(tmp_path / 'made.caffemodel.v5', made_caffe.model(layers, form))
  made = tsn.convert_file(path, backbone)
  folders.save(tmp_path / 'out', made)
  stream = two_stream.load_stream(
    section(tmp_path / 'out', 5), channels, jnp.float32, seed=0
  )
  rng = np.random.default_rng(1)
  images = rng.standard_normal((2, size, size, channels)).astype(np.float32)
  if form == 'half':
    for layer in layers:
      layer['blobs'] = [b.astype(np.float16).astype(float)
                        for b in layer['blobs']]  # fmt: skip
  want = made_caffe.compute(layers, images.transpose(0, 3, 1, 2))
  # Quick to compile is what counts here.
  apply = jax.jit(stream.module.apply).lower(stream.params, images)
  apply = apply.compile({'xla_backend_optimization_level': 0})
  got = apply(stream.params, images)
  assert np.abs(want).max() > 0.1
  np.testing.assert_allclose(got, want, atol=1e-3, rtol=1e-3)
  return made.description


@pytest.mark.parametrize('kwargs, size', [
  # Kaiming He's own: stride in 1x1, pool without padding, BatchNorm and Scale.
  (dict(stride_in_1x1=True, style='BatchNorm'), 64),
  (dict(stride_in_1x1=True, style='BatchNorm', bias=True, eps=1e-3), 66),
  # A converted torch network: pre-activation, padded pool.
  (dict(preactivation=True, pad=1), 64),
  (dict(preactivation=True, pad=1, floor=True, in_place=False, bias=True), 64),
  (dict(preactivation=True, style='BatchNorm', eps=1e-4), 62),
  (dict(blocks=(1, 2, 3, 1)), 64),
])  # fmt: skip
def test_resnet_is_recognised_by_its_connections(tmp_path, kwargs, size):
  layers = made_caffe.resnet(**kwargs)
  text = compare(tmp_path, layers, 'resnet', 3, size)
  assert text['preactivation'] == kwargs.get('preactivation', False)
  assert text['stride_in_1x1'] == kwargs.get('stride_in_1x1', False)
  assert text['pool_padding'] == kwargs.get('pad', 0)
  assert text['pool_ceil'] == (not kwargs.get('floor', False))
  assert text['blocks'] == list(kwargs.get('blocks', (2, 1, 1, 1)))
  assert (text['mean'], text['channel_order']) == ([104, 117, 123], 'bgr')


def test_bn_inception_on_flow(tmp_path):
  layers = made_caffe.bn_inception(eps=2e-5)
  text = compare(tmp_path, layers, 'bn_inception', 10, 64, 'half')
  assert (text['mean'], text['std']) == ([128], [1])
  assert (text['channels'], text['num_classes']) == (10, 7)


def test_both_normalisations_give_the_same_arrays(tmp_path):
  found = []
  for style, form in (('BN', 'shape'), ('BatchNorm', 'double')):
    layers = made_caffe.bn_inception(style=style, eps=2e-3)
    data = made_caffe.model(layers, form)
    path = write(tmp_path / f'{style}.caffemodel', data)
    found.append(caffe.bn_inception_state(path))
  assert found[0].keys() == found[1].keys() and len(found[0]) == 69 * 6 + 2
  for key, array in found[0].items():
    np.testing.assert_allclose(array, found[1][key], rtol=1e-5, atol=1e-6)


def c3d_layers(v1):
  """C3D's layers, those behind the features too, with random numbers."""
  rng, layers, last = np.random.default_rng(0), [], 3
  kinds = {'conv': 30, 'relu': 18, 'pool': 31, 'fc': 14} if v1 else {
    'conv': 'Convolution', 'relu': 'ReLU', 'pool': 'Pooling',
    'fc': 'InnerProduct'}  # fmt: skip

  def add(kind, name, blobs=()):
    bottoms = [layers[-1]['tops'][0] if layers else 'data']
    layers.append({'name': name, 'type': kinds[kind], 'bottoms': bottoms,
                   'tops': [name], 'blobs': blobs})  # fmt: skip

  for (names, _), width in zip(c3d.BLOCKS, WIDTHS):
    for name in names:
      spread = np.sqrt(2 / (27 * last))
      kernel = rng.normal(0, spread, (width, last, 3, 3, 3))
      add('conv', name, [kernel, rng.normal(0, 0.1, width)])
      add('relu', f'relu_{name}')
      last = width
    add('pool', f'pool_{names[-1]}')
  for name in ('fc6-1', 'fc7-1', 'fc8-1'):
    add('fc', name, [rng.normal(size=(4, 5)), rng.normal(size=4)])
  return layers


def slow_c3d(layers, video):
  """Caffe's C3D in numpy: [b, f, h, w, 3] → [b, f / 8, h / 16, w / 16, d]."""
  kernels = {layer['name']: layer['blobs'] for layer in layers}
  x = np.asarray(video, np.float64).transpose(0, 4, 1, 2, 3)
  for names, window in c3d.BLOCKS:
    for name in names:
      padded = np.pad(x, [(0, 0), (0, 0), *[(1, 1)] * 3])
      views = np.lib.stride_tricks.sliding_window_view(
        padded, (3, 3, 3), (2, 3, 4)
      )
      kernel, bias = kernels[name]
      x = np.einsum('bcfhwtyx,octyx->bofhw', views, kernel, optimize=True)
      x = np.maximum(x + bias.reshape(-1, 1, 1, 1), 0)
    if max(window) > 1:
      b, c, f, h, w = x.shape
      t, y, z = window
      x = x.reshape(b, c, f // t, t, h // y, y, w // z, z).max((3, 5, 7))
  return x.transpose(0, 2, 3, 4, 1)


@pytest.mark.parametrize('form', ['v2', 'v1 c3d'])
def test_c3d_of_both_caffes(tmp_path, form):
  layers = c3d_layers(form != 'v2')
  if form == 'v2':
    data = made_caffe.model(layers)
  else:
    data = made_caffe.model_v1(layers, 'c3d')
  # Facebook's file has no suffix.
  path = write(tmp_path / 'conv3d_deepnetA_sport1m_iter_1900000', data)
  found = c3d_weights.convert(path, widths=WIDTHS)
  assert found.description['channel_order'] == 'bgr'
  assert len(found.description['ignored']) == 6
  video = np.random.default_rng(1).standard_normal((1, 8, 32, 32, 3))
  got = jax.jit(c3d.C3D(widths=WIDTHS).apply)(
    {'params': found.params}, video.astype(np.float32)
  )
  want = slow_c3d(layers, video)
  assert np.abs(want).max() > 0.1
  np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize('form', ['shape', 'legacy', 'double', 'half', 'c3d'])
def test_blob_forms(tmp_path, form):
  rng = np.random.default_rng(0)
  arrays = [rng.normal(size=(2, 3, 5, 7)), rng.normal(size=4)]
  layer = {'name': 'a', 'type': 'Convolution', 'bottoms': ['data'],
           'tops': ['b', 'c'], 'blobs': arrays}  # fmt: skip
  path = write(tmp_path / 'a.caffemodel', made_caffe.model([layer], form))
  (found,) = caffe_files.read(path)
  assert (found.name, found.tops) == ('a', ('b', 'c'))
  tolerance = {'half': 2e-3, 'double': 0}.get(form, 1e-6)
  for got, want in zip(found.blobs, arrays, strict=True):
    assert got.size == want.size and got.shape[-want.ndim :] == want.shape
    np.testing.assert_allclose(
      got.reshape(want.shape), want, rtol=tolerance, atol=tolerance
    )


def test_arrays_stay_in_the_file_and_may_come_in_pieces(tmp_path):
  whole = np.arange(6, dtype='<f4')
  body = made_caffe.field(7, made_caffe.field(1, b'\x06'))
  for piece in (whole[:2], whole[2:]):
    body += made_caffe.field(5, piece.tobytes())
  body = made_caffe.field(1, 'a') + made_caffe.field(7, body)
  path = write(tmp_path / 'a.caffemodel', made_caffe.field(100, body))
  (found,) = caffe_files.read(path)
  np.testing.assert_array_equal(found.blobs[0], whole)
  layers = made_caffe.resnet()
  path = write(tmp_path / 'b.caffemodel', made_caffe.model(layers))
  blob = caffe_files.read(path)[0].blobs[0]
  assert not blob.flags.owndata and not blob.flags.writeable


def damaged(data):
  """(what is wrong, bytes)."""
  yield 'cut short', data[: len(data) // 2]
  yield 'cut in a number', data[:-1]
  yield 'no message', b'\x0a\x03abc\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff'
  yield 'group', b'\x0a\x01a\x0b'
  # The length of the first layer's blob, made a hundred times longer.
  yield 'random', np.random.default_rng(0).bytes(4096)


def test_damaged_files_are_errors_that_name_the_file(tmp_path):
  data = made_caffe.model(made_caffe.resnet())
  for index, (what, changed) in enumerate(damaged(data)):
    path = write(tmp_path / f'{index}.caffemodel', changed)
    with pytest.raises(caffe_files.CaffeError, match=f'{index}.caffemodel'):
      caffe_resnet.resnet_state(path)
      pytest.fail(what)


def test_a_flipped_bit_ends_in_an_error_or_among_the_numbers(tmp_path):
  layers = made_caffe.resnet(blocks=(1, 1, 1, 1), width=1)
  data = bytearray(made_caffe.model(layers))
  whole = len(
    caffe_resnet.resnet_state(write(tmp_path / 'a.caffemodel', data)).arrays
  )
  rng = np.random.default_rng(0)
  for _ in range(80):
    changed = data.copy()
    changed[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path = write(tmp_path / 'a.caffemodel', changed)
    try:
      found = caffe_resnet.resnet_state(path)
    except caffe_files.CaffeError as error:
      assert 'a.caffemodel' in str(error)
    else:
      assert len(found.arrays) == whole


@pytest.mark.parametrize('name, data, text', [
  ('a.caffemodel', b'', 'is empty'),
  ('a.caffemodel', b'<!DOCTYPE html><html>', 'is text'),
  ('a.caffemodel', b'name: "made"\nlayer {', 'is text'),
  ('a.caffemodel.h5', b'\x89HDF\r\n\x1a\n' + bytes(20), 'is HDF5'),
  ('a.caffemodel', made_caffe.field(1, 'made'), 'no array in it'),
  ('a.caffemodel', made_caffe.field(2, made_caffe.field(1, b'')), 'V0'),
  ('a.caffemodel',
   made_caffe.field(100, b'') + made_caffe.field(2, made_caffe.field(4, 'a')),
   'two forms'),
])  # fmt: skip
def test_files_that_are_something_else(tmp_path, name, data, text):
  path = write(tmp_path / name, data)
  with pytest.raises(caffe_files.CaffeError, match=text):
    caffe_files.read(path)


def test_every_array_is_accounted_for(tmp_path):
  layers = made_caffe.resnet()
  layers.append({**layers[0], 'name': 'extra', 'tops': ['extra']})
  path = write(tmp_path / 'a.caffemodel', made_caffe.model(layers))
  with pytest.raises(caffe_files.CaffeError, match='no place.*: extra'):
    caffe_resnet.resnet_state(path)
  layers = made_caffe.bn_inception()
  gone = [layer for layer in layers if layer['name'] != 'inception_4c/3x3_bn']
  for layer in gone:
    layer['bottoms'] = [
      'inception_4c/3x3' if name == 'inception_4c/3x3_bn' else name
      for name in layer['bottoms']
    ]
  path = write(tmp_path / 'a.caffemodel', made_caffe.model(gone))
  with pytest.raises(ValueError, match='missing: .*inception_4c_3x3_bn/mean'):
    tsn.convert_file(path, 'bn_inception')
  layers = made_caffe.bn_inception()
  layers[0]['type'] = 'Python'
  path = write(tmp_path / 'a.caffemodel', made_caffe.model(layers))
  with pytest.raises(caffe_files.CaffeError, match='7x7_s2.* type Python'):
    caffe.bn_inception_state(path)


def test_connections_that_are_no_resnet(tmp_path):
  def refused(layers, text):
    path = write(tmp_path / 'a.caffemodel', made_caffe.model(layers))
    with pytest.raises(caffe_files.CaffeError, match=text):
      caffe_resnet.resnet_state(path)

  layers = made_caffe.resnet()
  block = next(layer for layer in layers if layer['type'] == 'Eltwise')
  block['settings'] = {110: [(1, 2)]}
  refused(layers, 'does not add two maps')
  layers = made_caffe.resnet(preactivation=True)
  layers[0]['settings'][106][2] = (6, 1)
  refused(layers, 'has stride 1')
  refused(made_caffe.bn_inception(), 'expected sum|expected relu|no ResNet')
  path = write(tmp_path / 'b.caffemodel', made_caffe.model(made_caffe.resnet()))
  with pytest.raises(ValueError, match='otherwise than preactivation says'):
    tsn.convert_file(path, 'resnet', preactivation=True)
  with pytest.raises(ValueError, match='make a weight folder'):
    tsn.load(path, resnet.ResNet(), {})
