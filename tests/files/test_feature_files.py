import builtins
import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.files import feature_files, feature_rates

ERROR = feature_files.FeatureFileError


def features(t=7, d=3, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(t, d)).astype(np.float32)


def save_npy(folder, arrays):
  for name, array in arrays.items():
    np.save(folder / f'{name}.npy', array)


def save_npz(folder, arrays):
  for name, array in arrays.items():
    np.savez_compressed(folder / f'{name}.npz', features=array)


def save_csv(folder, arrays):
  for name, array in arrays.items():
    header = ','.join(f'f{k}' for k in range(array.shape[1]))
    np.savetxt(
      folder / f'{name}.csv', array, '%.9g', ',', header=header, comments=''
    )


def save_h5(folder, arrays):
  with h5py.File(folder / 'all.h5', 'w') as file:
    for k, (name, array) in enumerate(arrays.items()):
      if k % 2:
        file[name] = array
      else:
        file.create_group(name)['feature'] = array
        file[name].create_dataset('shot', data=np.arange(3))


SAVERS = {
  'npy': save_npy,
  'npz': save_npz,
  'csv': save_csv,
  'h5': save_h5,
}


@pytest.fixture(params=SAVERS)
def stored(request, tmp_path):
  arrays = {name: features(5 + k, 3, k) for k, name in enumerate('bac')}
  SAVERS[request.param](tmp_path, arrays)
  path = tmp_path / 'all.h5' if request.param == 'h5' else tmp_path
  return path, arrays


def test_every_format_gives_the_same(stored):
  path, arrays = stored
  store = feature_files.open_features(path)
  assert store.ids == ('a', 'b', 'c')
  assert len(store) == 3 and 'a' in store and 'x' not in store
  assert (store.dim, store.feature_fps, store.sidecar) == (3, None, None)
  for name, array in arrays.items():
    assert store.num_snippets(name) == len(array)
    read = store.read(name)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, array, rtol=1e-6)
    for start, stop in ((0, 2), (2, 5), (4, 99), (3, 3), (99, 100)):
      np.testing.assert_allclose(
        store.read(name, start, stop), array[start:stop], rtol=1e-6
      )
    np.testing.assert_allclose(store.read(name, 3), array[3:], rtol=1e-6)
  store.check()


def test_what_is_read_belongs_to_the_caller(stored):
  path, arrays = stored
  store = feature_files.open_features(path)
  store.read('a')[:] = 0
  np.testing.assert_allclose(store.read('a'), arrays['a'], rtol=1e-6)


def test_a_store_can_go_to_another_process(stored):
  path, arrays = stored
  store = feature_files.open_features(path)
  store.read('a')
  again = pickle.loads(pickle.dumps(store))
  np.testing.assert_allclose(again.read('b'), arrays['b'], rtol=1e-6)


def test_unknown_and_reversed(stored):
  store = feature_files.open_features(stored[0])
  with pytest.raises(ERROR, match="no features of video 'aa'.*mean a"):
    store.read('aa')
  with pytest.raises(ERROR, match='no features'):
    store.num_snippets('../a')
  with pytest.raises(ValueError, match='0 <= start <= stop'):
    store.read('a', 3, 2)
  with pytest.raises(ValueError, match='0 <= start <= stop'):
    store.read('a', -1)


@pytest.mark.parametrize('saver', SAVERS)
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(saver, value, tmp_path):
  array = features()
  array[5, 1] = value
  SAVERS[saver](tmp_path, {'a': array})
  path = tmp_path / 'all.h5' if saver == 'h5' else tmp_path
  store = feature_files.open_features(path)
  np.testing.assert_allclose(store.read('a', 0, 5), array[:5], rtol=1e-6)
  with pytest.raises(ERROR, match=f'a: found {value} in row 5, column 1'):
    store.read('a', 4)


def test_a_number_too_large_for_float32_is_named(tmp_path):
  save_npy(tmp_path, {'a': np.array([[1.0, 1e300]])})
  with pytest.raises(ERROR, match='found inf in row 0, column 1'):
    feature_files.open_features(tmp_path).read('a')


@pytest.mark.parametrize('saver', SAVERS)
def test_widths_that_differ(saver, tmp_path):
  SAVERS[saver](tmp_path, {'a': features(), 'b': features(d=4)})
  path = tmp_path / 'all.h5' if saver == 'h5' else tmp_path
  store = feature_files.open_features(path)
  store.read('a')
  for call in (store.read, store.num_snippets):
    with pytest.raises(ERROR, match='b has 4-dim.*a says 3'):
      call('b')
  with pytest.raises(ERROR, match='1 problem found'):
    store.check()


def test_a_damaged_first_file_does_not_spoil_the_others(tmp_path):
  save_npy(tmp_path, {'b': features(), 'c': features(d=4)})
  (tmp_path / 'a.npy').write_bytes(b'nothing')
  store = feature_files.open_features(tmp_path)
  assert store.dim == 3
  np.testing.assert_array_equal(store.read('b'), features())
  with pytest.raises(ERROR, match='c has 4-dim.*b says 3'):
    store.read('c')
  with pytest.raises(ERROR, match='not an .npy array'):
    store.read('a')
  with pytest.raises(ERROR, match='2 problems found'):
    store.check()


@pytest.mark.parametrize('dtype', ['<f2', '>f4', '<f8', '<i2', '|u1', '>i8'])
@pytest.mark.parametrize('order', 'CF')
def test_number_types_and_orders(dtype, order, tmp_path):
  array = np.asarray(np.arange(12).reshape(4, 3), dtype, order=order)
  save_npy(tmp_path, {'a': array})
  store = feature_files.open_features(tmp_path)
  np.testing.assert_array_equal(store.read('a', 1, 3), [[3, 4, 5], [6, 7, 8]])


@pytest.mark.parametrize(
  ('array', 'words'),
  [
    (np.zeros(3), r'shape \[3\], expected \[T, D\]'),
    (np.zeros((1, 4, 1)), 'squeeze'),
    (np.zeros((4, 3, 2)), 'pool or flatten'),
    (np.zeros((0, 3)), 'without values'),
    (np.zeros((3, 0)), 'without values'),
    (np.zeros((3, 2), complex), 'complex128'),
    (np.zeros((3, 2), bool), 'bool'),
    (np.array([['a']]), '<U1'),
    (np.zeros((3, 2), [('x', 'f4')]), 'structured'),
    (np.array([[{}, 1]], object), 'object|pickled'),
  ],
)
@pytest.mark.parametrize('saver', ['npy', 'npz'])
def test_arrays_that_are_no_features(saver, array, words, tmp_path):
  SAVERS[saver](tmp_path, {'a': array})
  store = feature_files.open_features(tmp_path)
  with pytest.raises(ERROR, match=words) as caught:
    store.num_snippets('a')
  assert 'a.np' in str(caught.value)


class _Evil:
  def __reduce__(self):
    return os.mkdir, ('executed',)


def test_pickles_are_never_run(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  array = np.empty((1, 1), object)
  array[0, 0] = _Evil()
  save_npy(tmp_path, {'a': array})
  save_npz(tmp_path, {'b': array})
  (tmp_path / 'c.npy').write_bytes(pickle.dumps(_Evil()))
  store = feature_files.open_features(tmp_path)
  for name in 'abc':
    with pytest.raises(ERROR):
      store.read(name)
  assert not (tmp_path / 'executed').exists()


def header(text, version=(1, 0)):
  text = text.encode('latin1')
  width = '<H' if version == (1, 0) else '<I'
  return b'\x93NUMPY' + bytes(version) + struct.pack(width, len(text)) + text


DICT = "{{'descr': '{}', 'fortran_order': False, 'shape': {}}}\n"


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'\x93NUM',
    b'\x93NUMPY\x01\x00',
    b'\x93NUMPY\x01\x00\x50\x00{',
    b'\x93NUMPY\x09\x00\x50\x00{',
    b'\x93NUMPY\x02\x00\xff\xff\xff\xff' + b' ' * 50,
    header(DICT.format('<f4', '(10**9, 10**9)')),
    header(DICT.format('<f4', f'({10**12}, {10**12})')),
    header(DICT.format('<f4', '(1000000, 1000000)')),
    header(DICT.format('<f4', '(-1, -3)')),
    header(DICT.format('<f4', '(True, True)')),
    header(DICT.format('<f4', '(2.0, 3)')),
    header(DICT.format('|O', '(1, 1)') + 'cos\nsystem\n'),
    header(DICT.format('(1000000000,)f4', '(1, 1)')),
    header(DICT.format('f4,f4', '(1, 1)')),
    header(DICT.format('|V8', '(1, 1)')),
    header(DICT.format('M8[s]', '(1, 1)')),
    header('(' * 5000),
    header('[' * 9000, (2, 0)),
    header('-' * 9000),
    header("__import__('os').mkdir('executed')"),
    header('{}'),
    header('{[]: 1}'),
    header('{"descr": []}'),
    header('\0' * 64),
    header('9' * 9000),
  ],
)
def test_hostile_npy_headers(content, tmp_path):
  (tmp_path / 'a.npy').write_bytes(content)
  with zipfile.ZipFile(tmp_path / 'b.npz', 'w') as archive:
    archive.writestr('features.npy', content)
  store = feature_files.open_features(tmp_path)
  tracemalloc.start()
  for name in ('a', 'b'):
    with pytest.raises(ERROR, match=f'{name}.np'):
      store.read(name)
  assert tracemalloc.get_traced_memory()[1] < 20e6
  tracemalloc.stop()


def test_cut_off_files_say_so(tmp_path):
  save_npy(tmp_path, {'a': features(100, 8)})
  path = tmp_path / 'a.npy'
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(ERROR, match='cut off'):
    feature_files.open_features(tmp_path).num_snippets('a')


def test_a_file_that_shrinks_between_header_and_read(tmp_path):
  save_npy(tmp_path, {'a': features(100, 8)})
  store = feature_files.open_features(tmp_path)
  assert store.num_snippets('a') == 100
  os.truncate(tmp_path / 'a.npy', 1000)
  with pytest.raises(ERROR, match='shorter'):
    store.read('a', 50)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
  shape = (2**17, 600)
  text = header(DICT.format('<f4', shape))
  with zipfile.ZipFile(
    tmp_path / 'a.npz', 'w', zipfile.ZIP_DEFLATED, compresslevel=1
  ) as archive:
    with archive.open('features.npy', 'w', force_zip64=True) as file:
      file.write(text)
      for _ in range(2**10):
        file.write(bytes(2**7 * 600 * 4))
  assert (tmp_path / 'a.npz').stat().st_size < 3e6
  with pytest.raises(ERROR, match='refused'):
    feature_files.open_features(tmp_path).num_snippets('a')


def test_a_zip_that_unpacks_to_less_than_it_claims(tmp_path):
  save_npz(tmp_path, {'a': features(1000, 8)})
  path = tmp_path / 'a.npz'
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0xFF
  path.write_bytes(content)
  with pytest.raises(ERROR, match='damaged'):
    feature_files.open_features(tmp_path).read('a')


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_numpy_does_not_write(method, tmp_path):
  buffer = io.BytesIO()
  np.save(buffer, features())
  with zipfile.ZipFile(tmp_path / 'a.npz', 'w', method) as archive:
    archive.writestr('features.npy', buffer.getvalue())
  with pytest.raises(ERROR, match='compression'):
    feature_files.open_features(tmp_path).num_snippets('a')


def test_npz_with_several_arrays(tmp_path):
  np.savez(tmp_path / 'a.npz', fps=25, features=features())
  np.savez(tmp_path / 'b.npz', x=features(), y=features())
  store = feature_files.open_features(tmp_path)
  np.testing.assert_array_equal(store.read('a'), features())
  with pytest.raises(ERROR, match=r'found 2 arrays \(x .7, 3., y'):
    store.read('b')


def test_a_large_compressed_array_is_streamed(tmp_path, monkeypatch):
  monkeypatch.setattr(feature_files, '_CACHED_FILE_BYTES', 0)
  array = features(20_000, 16)
  save_npz(tmp_path, {'a': array})
  store = feature_files.open_features(tmp_path)
  np.testing.assert_array_equal(
    store.read('a', 15_000, 15_010), array[15_000:15_010]
  )
  np.testing.assert_array_equal(store.read('a'), array)


def test_the_cache_is_bounded(tmp_path, monkeypatch):
  array = features(100, 8)
  monkeypatch.setattr(feature_files, '_CACHE_BYTES', 3 * array.nbytes)
  save_npz(tmp_path, {f'v{k}': array for k in range(6)})
  store = feature_files.open_features(tmp_path)
  for video_id in store.ids * 2:
    np.testing.assert_array_equal(store.read(video_id, 3, 9), array[3:9])
    assert (
      sum(rows.nbytes for rows in store._cache.values()) <= 3 * array.nbytes
    )


@pytest.mark.parametrize(
  ('text', 'rows'),
  [
    ('f0,f1\n1,2\n3,4\n', [[1, 2], [3, 4]]),
    ('f0,f1\r\n1,2\r\n3,4', [[1, 2], [3, 4]]),
    ('f0,f1\n1,2\n3,4\n\n\n', [[1, 2], [3, 4]]),
    ('0,1\n1,2\n3,4\n', [[1, 2], [3, 4]]),
    ('5,6\n1,2\n', [[5, 6], [1, 2]]),
    ('5.5\n', [[5.5]]),
    ('\ufefff0\n5.5\n', [[5.5]]),
  ],
)
def test_csv_variants(text, rows, tmp_path):
  (tmp_path / 'a.csv').write_bytes(text.encode())
  store = feature_files.open_features(tmp_path)
  assert store.num_snippets('a') == len(rows)
  np.testing.assert_array_equal(store.read('a'), rows)


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'\n',
    b'f0,f1\n',
    b'f0,f1\n1,2,3\n',
    b'f0,f1\n1\n',
    b'f0,f1\n1,x\n',
    b'f0,f1\n1,\n',
    b'f0,f1\n1,2\n\n3,4\n',
    b'f0,f1\n1,2\n3\n',
    b'\xff\xfe\x00f0',
    b'f0,f1\n\xff,2\n',
    b'f0,f1\n\x00,2\n',
    b'x' * 5_000_000,
  ],
)
def test_csv_that_is_no_table_of_features(content, tmp_path):
  (tmp_path / 'a.csv').write_bytes(content)
  with pytest.raises(ERROR, match='a.csv'):
    feature_files.open_features(tmp_path).read('a')


def h5(tmp_path, fill):
  with h5py.File(tmp_path / 'all.h5', 'w') as file:
    fill(file)
  return feature_files.open_features(tmp_path / 'all.h5')


def test_h5_links_out_of_the_file_are_refused(tmp_path):
  with h5py.File(tmp_path / 'secret.h5', 'w') as file:
    file['x'] = features()

  def fill(file):
    file['outside'] = h5py.ExternalLink('secret.h5', '/x')
    file['soft'] = h5py.SoftLink('/real')
    file['real'] = features()
    file.create_group('group')['features'] = h5py.ExternalLink(
      'secret.h5', '/x'
    )

  store = h5(tmp_path, fill)
  np.testing.assert_array_equal(store.read('real'), features())
  for name in ('outside', 'soft', 'group'):
    with pytest.raises(ERROR, match='link'):
      store.read(name)


def test_h5_values_in_other_files_are_refused(tmp_path):
  (tmp_path / 'secret').write_bytes(bytes(84))
  with h5py.File(tmp_path / 'source.h5', 'w') as file:
    file['x'] = features()

  def fill(file):
    file.create_dataset('external', (7, 3), 'f4', external=[('secret', 0, 84)])
    layout = h5py.VirtualLayout((7, 3), 'f4')
    layout[:] = h5py.VirtualSource(str(tmp_path / 'source.h5'), 'x', (7, 3))
    file.create_virtual_dataset('virtual', layout)

  store = h5(tmp_path, fill)
  for name in ('external', 'virtual'):
    with pytest.raises(ERROR, match='another file'):
      store.read(name)


def test_h5_arrays_larger_than_the_file_are_refused(tmp_path):
  def fill(file):
    file.create_dataset('empty', (10**9, 1000), 'f4', chunks=(100, 1000))
    file.create_dataset('never', (10**4, 10), 'f4')
    sparse = file.create_dataset('sparse', (10**9, 100), 'f4', chunks=(10, 100))
    sparse[:10] = 1
    bomb = file.create_dataset(
      'bomb', (10**6, 100), 'f4', chunks=(10**5, 100), compression='gzip'
    )
    bomb[: 10**5] = 1

  store = h5(tmp_path, fill)
  for name in store.ids:
    with pytest.raises(ERROR, match='never filled|refused'):
      store.read(name)


def test_h5_things_that_are_no_features(tmp_path):
  def fill(file):
    file.create_group('none')
    file.create_group('two').update(x=features(), y=features())
    file['text'] = 'abc'
    file['type'] = np.dtype('f4')
    file['cube'] = np.zeros((2, 3, 4))
    file['null'] = h5py.Empty('f4')
    file['objects'] = np.array([['a']], h5py.string_dtype())
    file.create_group('nested').create_group('features')

  store = h5(tmp_path, fill)
  for name in store.ids:
    with pytest.raises(ERROR, match=name):
      store.read(name)


def test_h5_names_that_are_no_ids(tmp_path):
  def fill(file):
    file['a'] = features()
    file['..b\\c'] = features()

  with pytest.raises(ERROR, match='cannot be video ids'):
    h5(tmp_path, fill)


def test_damaged_h5(tmp_path):
  path = tmp_path / 'all.h5'
  path.write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(500))
  with pytest.raises(ERROR, match='damaged'):
    feature_files.open_features(path)
  path.write_bytes(b'')
  with pytest.raises(ERROR, match='damaged'):
    feature_files.open_features(path)


def test_sidecar(tmp_path):
  save_npy(tmp_path, {'a': features()})
  sidecar = {'feature_fps': 5, 'dim': 3, 'extractor': 'c3d', 'more': [1]}
  (tmp_path / 'features.json').write_text(json.dumps(sidecar))
  (tmp_path / 'annotations.json').write_text('{}')
  store = feature_files.open_features(tmp_path)
  assert store.ids == ('a',)
  assert store.sidecar == sidecar
  assert (store.feature_fps, store.dim) == (5.0, 3)
  assert feature_files.open_features(tmp_path, feature_fps=5).feature_fps == 5
  with pytest.raises(ERROR, match='says feature_fps 5, the call says 25'):
    feature_files.open_features(tmp_path, feature_fps=25)
  (tmp_path / 'features.json').write_text('{"dim": 4}')
  with pytest.raises(ERROR, match='a has 3-dim.*features.json says 4'):
    feature_files.open_features(tmp_path).read('a')


def test_sidecar_of_an_h5_file(tmp_path):
  save_h5(tmp_path, {'a': features()})
  (tmp_path / 'all.features.json').write_text('{"feature_fps": 2.5}')
  assert feature_files.open_features(tmp_path / 'all.h5').feature_fps == 2.5


@pytest.mark.parametrize(
  'text',
  ['', '[]', '{"feature_fps": 0}', '{"feature_fps": "5"}', '{"dim": 0}',
   '{"dim": 2.5}', '{"dim": true}', '{"feature_fps": 1e999}'],
)  # fmt: skip
def test_malformed_sidecars(text, tmp_path):
  save_npy(tmp_path, {'a': features()})
  (tmp_path / 'features.json').write_text(text)
  with pytest.raises(ERROR, match='features.json'):
    feature_files.open_features(tmp_path)


def test_paths_without_features(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such'):
    feature_files.open_features(tmp_path / 'absent')
  with pytest.raises(ERROR, match='found nothing'):
    feature_files.open_features(tmp_path)
  (tmp_path / 'x.txt').touch()
  (tmp_path / 'features').mkdir()
  with pytest.raises(ERROR, match=r"1 \.txt files, folder 'features'; give"):
    feature_files.open_features(tmp_path)
  with pytest.raises(ERROR, match='expected a folder'):
    feature_files.open_features(tmp_path / 'x.txt')
  with pytest.raises(ValueError, match='feature_fps must be positive|positive'):
    save_npy(tmp_path, {'a': features()})
    feature_files.open_features(tmp_path, feature_fps=0)


def test_two_files_of_one_video(tmp_path):
  save_npy(tmp_path, {'a': features()})
  save_csv(tmp_path, {'a': features()})
  with pytest.raises(ERROR, match='two files'):
    feature_files.open_features(tmp_path)


def test_special_files_do_not_block(tmp_path):
  os.mkfifo(tmp_path / 'a.npy')
  (tmp_path / 'b.npy').mkdir()
  store = feature_files.open_features(tmp_path)
  with pytest.raises(ERROR, match='special file'):
    store.read('a')
  with pytest.raises(ERROR, match='folder'):
    store.read('b')


def test_opening_reads_names_only(tmp_path, monkeypatch):
  for k in range(2000):
    (tmp_path / f'v{k:04}.npy').touch()
  np.save(tmp_path / 'v0000.npy', features())
  opened = []
  real_open = builtins.open
  monkeypatch.setattr(
    builtins, 'open', lambda *a, **k: opened.append(a) or real_open(*a, **k)
  )
  store = feature_files.open_features(tmp_path)
  assert len(store) == 2000 and not opened
  assert store.dim == 3 and len(opened) == 1


def test_a_slice_of_a_long_video_takes_little_memory(tmp_path):
  array = np.lib.format.open_memmap(
    tmp_path / 'a.npy', 'w+', np.float32, (400_000, 64)
  )
  array[300_000] = 1
  del array
  store = feature_files.open_features(tmp_path)
  tracemalloc.start()
  rows = store.read('a', 299_999, 300_099)
  assert tracemalloc.get_traced_memory()[1] < 2e6
  tracemalloc.stop()
  assert rows.shape == (100, 64) and rows[1].all() and not rows[0].any()


@pytest.mark.parametrize(
  ('folder', 'rate', 'dim'), [('rat_social', 5, 50), ('gestures', 32, 15)]
)
def test_real_features(real_data, folder, rate, dim):
  videos = activitynet.read(real_data(folder) / 'annotations.json').videos
  store = feature_files.open_features(real_data(folder) / 'features')
  assert store.dim == dim
  for video_id in store.ids:
    assert not feature_rates.mismatch(
      video_id,
      store.num_snippets(video_id),
      videos[video_id].duration_sec,
      feature_rates.Grid(rate),
    )
  rows = store.read(store.ids[0], 10, 30)
  raw = np.load(real_data(folder) / 'features' / f'{store.ids[0]}.npy')
  np.testing.assert_array_equal(rows, raw[10:30].astype(np.float32))


@pytest.mark.parametrize(
  ('dtype', 'value', 'remedy'),
  [
    ('float16', np.inf, 'it is float16, which ends at 65504: save as float32'),
    ('float64', 1e300, r'the file has 1e\+300, beyond what float32 holds'),
    ('float32', np.inf, 'extract this video again'),
    (
      'float16',
      np.nan,
      'extract this video again, or let training and proposing fill the gap',
    ),
  ],
)
def test_an_overflow_names_the_type(tmp_path, dtype, value, remedy):
  rows = np.ones((5, 3), dtype)
  rows[2, 1] = value
  np.save(tmp_path / 'a.npy', rows)
  store = feature_files.open_features(str(tmp_path))
  with pytest.raises(
    feature_files.FeatureFileError, match=f'row 2, column 1.*{remedy}'
  ):
    store.read('a', 1, 5)
