import collections
import os
import pickle
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

from cmsn_jax.files import feature_files, safe_pickle, torch_files

ERROR = feature_files.FeatureFileError
ROWS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)


class _Name:
  """Pickles as a function of a module that is not there."""

  def __init__(self, module, name, arguments, kind='function'):
    self.call = _global(module, name)
    self.arguments = arguments

  def __reduce__(self):
    return self.call, self.arguments


def _global(module, name):
  made = type(name, (), {})
  made.__module__, made.__qualname__ = module, name
  return made


class _TorchPickler(pickle._Pickler):
  """Writes what torch.save writes, without torch."""

  def save_global(self, obj, name=None):
    self.write(b'c' + f'{obj.__module__}\n{obj.__qualname__}\n'.encode())
    self.memoize(obj)

  def persistent_id(self, obj):
    return obj.pid if isinstance(obj, _Storage) else None


class _Storage:
  def __init__(self, key, size):
    kind = _global('torch', 'FloatStorage')
    self.pid = ('storage', kind, key, 'cpu', size)


def save_torch(path, tree):
  """`tree` has `_Tensor`s in place of tensors."""
  storages = []

  def tensor(array):
    key = str(len(storages))
    storages.append(array)
    steps = tuple(s // array.itemsize for s in array.strides)
    arguments = (_Storage(key, array.size), 0, array.shape, steps, False,
                 collections.OrderedDict())  # fmt: skip
    return _Name('torch._utils', '_rebuild_tensor_v2', arguments)

  if isinstance(tree, dict):
    tree = {
      k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in tree.items()
    }
  else:
    tree = tensor(tree)
  with open(path.with_suffix('.tmp'), 'wb') as file:
    _TorchPickler(file, 2).dump(tree)
  with zipfile.ZipFile(path, 'w') as archive:
    archive.write(path.with_suffix('.tmp'), 'f/data.pkl')
    for key, array in enumerate(storages):
      archive.writestr(f'f/data/{key}', array.tobytes())
    archive.writestr('f/version', '3\n')
  path.with_suffix('.tmp').unlink()


def save_pickle(path, tree, protocol=4):
  path.write_bytes(pickle.dumps(tree, protocol))


def save_mat(path, tree):
  import scipy.io

  tree = tree if isinstance(tree, dict) else {'feats': tree}
  scipy.io.savemat(path, tree, do_compression=True)


def save_mat73(path, tree):
  tree = tree if isinstance(tree, dict) else {'x': tree}
  with h5py.File(path, 'w', userblock_size=512) as file:
    for name, array in tree.items():
      file[name] = np.asarray(array).T


def save_h5(path, tree):
  tree = tree if isinstance(tree, dict) else {'anything': tree}
  with h5py.File(path, 'w') as file:
    for name, array in tree.items():
      file[name] = array


SAVERS = {
  'a.pkl': save_pickle,
  'a.pt': save_torch,
  'a.mat': save_mat,
  'a.mat73': save_mat73,
  'a.h5': save_h5,
}


@pytest.fixture(params=SAVERS)
def save(request, tmp_path):
  name = request.param.replace('mat73', 'mat')

  def make(tree):
    SAVERS[request.param](tmp_path / name, tree)
    return tmp_path

  return make


def test_an_array_of_its_own(save):
  store = feature_files.open_features(save(ROWS))
  assert store.ids == ('a',)
  assert (store.num_snippets('a'), store.dim) == (9, 3)
  np.testing.assert_array_equal(store.read('a', 2, 7), ROWS[2:7])


@pytest.mark.filterwarnings(
  'ignore::cmsn_jax.files.feature_files.FeatureFileWarning'
)
def test_one_of_several(save):
  other = np.arange(18.0).reshape(9, 2).astype(np.float32)
  folder = save({'x': other, 'features': ROWS})
  read = feature_files.open_features(folder).read
  np.testing.assert_array_equal(read('a'), ROWS)
  store = feature_files.open_features(folder, key='x')
  np.testing.assert_array_equal(store.read('a'), other)
  (folder / 'features.json').write_text('{"key": "x"}')
  store = feature_files.open_features(folder)
  np.testing.assert_array_equal(store.read('a'), other)
  with pytest.raises(ERROR, match="no array named 'z'; found .*x .9, 2"):
    feature_files.open_features(folder, key='z').read('a')
  folder = save({'x': other, 'y': ROWS})
  (folder / 'features.json').unlink()
  with pytest.raises(ERROR, match=r'2 arrays \(.*x \[9, 2\].*--feature_key'):
    feature_files.open_features(folder).read('a')


def test_columns_first_and_axes_of_length_1(save):
  folder = save(ROWS.T.copy())
  (folder / 'features.json').write_text('{"transposed": true}')
  with pytest.warns(feature_files.FeatureFileWarning, match='D, T'):
    read = feature_files.open_features(folder).read('a', 1, 4)
  np.testing.assert_array_equal(read, ROWS[1:4])
  (folder / 'features.json').unlink()
  for shape in ((1, 9, 3), (9, 3, 1, 1), (9, 1, 3)):
    folder = save(ROWS.reshape(shape))
    with pytest.warns(feature_files.FeatureFileWarning, match='of length 1'):
      read = feature_files.open_features(folder).read('a', 1, 4)
    np.testing.assert_array_equal(read, ROWS[1:4])


@pytest.mark.parametrize('saver', ['npy', 'npz'])
def test_axes_of_length_1_in_numpy_files(saver, tmp_path):
  for shape in ((1, 9, 3), (9, 3, 1, 1), (9, 1, 3)):
    for order in 'CF':
      array = np.asarray(ROWS.reshape(shape), order=order)
      if saver == 'npy':
        np.save(tmp_path / 'a.npy', array)
      else:
        np.savez(tmp_path / 'a.npz', np.ascontiguousarray(array))
      with pytest.warns(feature_files.FeatureFileWarning, match='of length 1'):
        read = feature_files.open_features(tmp_path).read('a', 1, 4)
      np.testing.assert_array_equal(read, ROWS[1:4])


class _Evil:
  def __reduce__(self):
    return os.mkdir, ('executed',)


@pytest.mark.parametrize('name', ['a.pkl', 'a.pt'])
def test_nothing_is_run(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  data = pickle.dumps({'features': ROWS, 'x': _Evil()})
  if name == 'a.pkl':
    (tmp_path / name).write_bytes(data)
  else:
    with zipfile.ZipFile(tmp_path / name, 'w') as archive:
      archive.writestr('f/data.pkl', data)
  with pytest.raises(ERROR, match='posix.mkdir.*could run code|blocked'):
    feature_files.open_features(tmp_path).read('a')
  assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('protocol', range(6))
def test_pickles_of_plain_values(protocol, tmp_path):
  tree = {
    'video-id': ['a', 'b'], 't-start': np.array([0.5, 2.0]),
    'n': np.int64(7), 'f': np.float32(0.5), 'inner': [(1, 2.5, None, True)],
    'order': np.asfortranarray(ROWS), 'big': ROWS.astype('>f8'),
    'text': 'ü', 'set': {1, 2}, 'd': collections.OrderedDict(a=ROWS[:0]),
  }  # fmt: skip
  (tmp_path / 'a.pkl').write_bytes(pickle.dumps(tree, protocol))
  read = safe_pickle.read(tmp_path / 'a.pkl')
  assert list(read) == list(tree)
  for name in ('t-start', 'order', 'big'):
    np.testing.assert_array_equal(read[name], tree[name])
    assert read[name].dtype == tree[name].dtype
  for name in ('video-id', 'n', 'f', 'inner', 'text', 'set'):
    assert read[name] == tree[name]
  assert read['d']['a'].shape == (0, 3)


@pytest.mark.parametrize(
  ('tree', 'words'),
  [
    (np.array([{}, 1], object), "array of '.O8'"),
    (np.array(['a', 'b']), "array of '<U1'"),
    (np.zeros(2, [('x', 'f4')]), 'array of'),
    (collections.Counter('aab'), 'collections.Counter'),
  ],
)
def test_pickles_that_are_refused(tree, words, tmp_path):
  (tmp_path / 'a.pkl').write_bytes(pickle.dumps(tree, 2))
  with pytest.raises(safe_pickle.PickleError, match=words) as caught:
    safe_pickle.read(tmp_path / 'a.pkl')
  assert 'a.pkl' in str(caught.value)


def test_a_list_that_holds_itself_ends(tmp_path):
  loop = [1]
  loop.append(loop)
  (tmp_path / 'a.pkl').write_bytes(pickle.dumps(loop))
  assert safe_pickle.read(tmp_path / 'a.pkl')[1][0] == 1


def test_torch_trees(tmp_path):
  save_torch(tmp_path / 'a.pth', {'w': ROWS, 'epoch': 3})
  tree = torch_files.read_tree(tmp_path / 'a.pth')
  np.testing.assert_array_equal(tree['w'], ROWS)
  assert tree['epoch'] == 3
  assert list(torch_files.read(tmp_path / 'a.pth')) == ['w']


@pytest.mark.parametrize('layout', ['tracks', 'table', 'block'])
def test_files_of_trackers_name_the_command(layout, tmp_path):
  with h5py.File(tmp_path / 'a.analysis.h5', 'w') as file:
    if layout == 'tracks':
      file['tracks'] = np.zeros((1, 2, 5, 30))
      file['node_names'] = np.array([b'nose'])
    elif layout == 'table':
      file['df_with_missing/table'] = np.zeros(30, [('index', 'i8')])
    else:
      file['df_with_missing/block0_values'] = np.zeros((30, 6))
  with pytest.raises(ERROR, match='SLEAP|DeepLabCut') as caught:
    feature_files.open_features(tmp_path).read('a.analysis')
  assert 'launch.pose_features --input=' in str(caught.value)
  with pytest.raises(ERROR, match='launch.pose_features'):
    feature_files.open_features(tmp_path / 'a.analysis.h5')


def test_arrays_that_lie_beside_one_of_two_axes(tmp_path):
  np.savez(tmp_path / 'a.npz', fps=25, times=np.arange(9.0), x=ROWS)
  with pytest.warns(feature_files.FeatureFileWarning, match="array 'x' taken"):
    read = feature_files.open_features(tmp_path).read('a')
  np.testing.assert_array_equal(read, ROWS)


def test_transposed_arrays_are_named(tmp_path):
  for name, length in (('a', 40), ('b', 90), ('c', 70)):
    np.save(tmp_path / f'{name}.npy', np.zeros((16, length)))
  with pytest.raises(ERROR, match=r'Both have 16 rows.*\[D, T\].*"transposed"'):
    feature_files.open_features(tmp_path).read('b')


@pytest.mark.parametrize(
  ('sidecar', 'words'),
  [
    ('{"key": 3}', 'the name of an array'),
    ('{"transposed": "yes"}', 'true or false'),
    ('{"feature_window": -1}', 'number of frames'),
    ('{"feature_fps": {"a": 0}}', 'feature_fps 0 of a'),
  ],
)
def test_sidecars_that_are_wrong(sidecar, words, tmp_path):
  np.save(tmp_path / 'a.npy', ROWS)
  (tmp_path / 'features.json').write_text(sidecar)
  with pytest.raises(ERROR, match=words):
    feature_files.open_features(tmp_path)


def test_a_damaged_matlab_file_asks_for_no_more_memory_than_it_has(tmp_path):
  # A first byte of 0 makes it one of version 4, whose name is 2 GB long.
  path = tmp_path / 'a.mat'
  path.write_bytes(bytes(16) + b'\xff\xff\xff\x7f' + bytes(100))
  tracemalloc.start()
  try:
    with pytest.raises(ERROR, match='a.mat: not a MATLAB file, or damaged'):
      feature_files.open_features(tmp_path).read('a', 0, 1)
  finally:
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
  assert peak < 50e6
