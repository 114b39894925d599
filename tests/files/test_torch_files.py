import collections
import io
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from cmsn_jax.files import torch_files

torch = pytest.importorskip('torch')


def save(tmp_path, content, name='made.pth', **settings):
  path = tmp_path / name
  torch.save(content, path, **settings)
  return path


def rewrite(path, change, compression=zipfile.ZIP_STORED):
  """Writes the archive again, each entry as change(name, data) says."""
  with zipfile.ZipFile(path) as archive:
    entries = {e: archive.read(e) for e in archive.namelist()}
  with zipfile.ZipFile(path, 'w', compression) as archive:
    for name, data in entries.items():
      data = change(name, data)
      if data is not None:
        archive.writestr(name, data)
  return path


def with_pickle(tmp_path, data):
  path = save(tmp_path, {'a': torch.ones(2)})
  return rewrite(path, lambda n, d: data if n.endswith('data.pkl') else d)


@pytest.mark.parametrize(
  'dtype',
  ['float32', 'float64', 'float16', 'int64', 'int32', 'uint8', 'bool'],
)
def test_every_dtype_reads_equal(tmp_path, dtype):
  tensor = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, dtype))
  state = torch_files.read(save(tmp_path, {'a': tensor}))
  assert state['a'].dtype == dtype
  np.testing.assert_array_equal(state['a'], tensor.numpy())


def test_bfloat16_becomes_the_same_float32(tmp_path):
  tensor = torch.randn(5, 7).to(torch.bfloat16)
  state = torch_files.read(save(tmp_path, {'a': tensor}))
  assert state['a'].dtype == np.float32
  np.testing.assert_array_equal(state['a'], tensor.float().numpy())


def test_views_of_one_storage_keep_offset_and_strides(tmp_path):
  base = torch.arange(60.0).reshape(3, 4, 5)
  content = {
    'whole': base,
    'transposed': base.permute(2, 0, 1),
    'part': base[1:, 2, ::2],
    'scalar': base[2, 3, 4],
    'empty': base[:0],
  }
  state = torch_files.read(save(tmp_path, content))
  for name, tensor in content.items():
    np.testing.assert_array_equal(state[name], tensor.numpy(), name)
  assert np.shares_memory(state['whole'], state['part'])


def test_common_wrappings_are_opened(tmp_path):
  model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
  # As torch.optim.Adam's, without it: its first use imports Triton, which
  # crashes a process that has TensorFlow and JAX loaded.
  optimizer = {
    'state': {
      i: {'step': torch.tensor(1.0), 'exp_avg': p.detach(), 'exp_avg_sq': p**2}
      for i, p in enumerate(model.parameters())
    },
    'param_groups': [{'lr': 1e-3, 'betas': (0.9, 0.999), 'params': [0, 1, 2]}],
  }
  content = {
    'epoch': 3,
    'arch': 'c3d',
    'best_prec1': np.float64(0.5),
    'optimizer': optimizer,
    'state_dict': model.state_dict(),
  }
  state = torch_files.read(save(tmp_path, content, 'made.pth.tar'))
  assert list(state) == list(model.state_dict())
  np.testing.assert_array_equal(state['0.weight'], model[0].weight.detach())
  plain = torch_files.read(save(tmp_path, model.state_dict()))
  np.testing.assert_array_equal(plain['1.running_var'], model[1].running_var)
  parameters = collections.OrderedDict(model.named_parameters())
  assert list(torch_files.read(save(tmp_path, parameters))) == list(parameters)


class _Evil:
  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize(
  'function, shown',
  [(os.system, r'posix\.system'), (eval, r'builtin.*\.eval'),
   (getattr, r'builtin.*\.getattr')],
)  # fmt: skip
@pytest.mark.parametrize('protocol', [2, 4])
def test_malicious_pickles_run_nothing(tmp_path, function, shown, protocol):
  marker = tmp_path / 'ran'
  arguments = {
    os.system: (f'touch {marker}',),
    eval: (f'open({str(marker)!r}, "w")',),
    getattr: (os, 'system'),
  }
  if function is getattr:
    arguments[getattr] = ('text', 'upper')
  evil = {'a': _Evil(function, *arguments[function])}
  path = with_pickle(tmp_path, pickle.dumps(evil, protocol))
  with pytest.raises(torch_files.CheckpointError, match=shown + '.*blocked'):
    torch_files.read(path)
  assert not marker.exists()


def test_a_whole_module_asks_for_a_state_dict(tmp_path):
  path = save(tmp_path, torch.nn.Linear(2, 2))
  with pytest.raises(ValueError, match='whole pickled module.*re-save it once'):
    torch_files.read(path)


def test_the_old_format_asks_to_save_again(tmp_path):
  path = save(
    tmp_path, {'a': torch.ones(2)}, _use_new_zipfile_serialization=False
  )
  with pytest.raises(ValueError, match='before 1.6; where torch is installed'):
    torch_files.read(path)


def test_a_flipped_byte_is_noticed(tmp_path):
  path = save(tmp_path, {'a': torch.full((100,), 1234.5)})
  data = bytearray(path.read_bytes())
  at = data.find(np.full(4, 1234.5, np.float32).tobytes())
  data[at + 2] ^= 1
  path.write_bytes(data)
  with pytest.raises(ValueError, match='damaged or truncated.*CRC'):
    torch_files.read(path)


def test_every_truncation_is_an_error(tmp_path):
  path = save(tmp_path, {'a': torch.ones(50), 'b': torch.ones(3)})
  data = path.read_bytes()
  for size in range(0, len(data), 97):
    path.write_bytes(data[:size])
    with pytest.raises(torch_files.CheckpointError, match='made.pth'):
      torch_files.read(path)


def test_damaged_pickles_are_errors_of_ours(tmp_path):
  path = save(tmp_path, {'a': torch.ones(50), 'b': torch.ones(3)})
  with zipfile.ZipFile(path) as archive:
    (name,) = (n for n in archive.namelist() if n.endswith('data.pkl'))
    good = archive.read(name)
  rng = np.random.default_rng(0)
  errors = 0
  for _ in range(150):
    bad = bytearray(good)
    for at in rng.integers(len(bad), size=3):
      bad[at] = rng.integers(256)
    try:
      torch_files.read(with_pickle(tmp_path, bytes(bad)))
    except torch_files.CheckpointError:
      errors += 1
  assert errors > 100


def test_zip_bombs_are_not_unpacked(tmp_path):
  path = save(tmp_path, {'a': torch.zeros(1_000_000)})
  rewrite(path, lambda n, d: d, zipfile.ZIP_DEFLATED)
  with pytest.raises(ValueError, match='unpacks to 40.*not read'):
    torch_files.read(path)


def test_a_huge_memo_index_claims_no_memory(tmp_path):
  path = with_pickle(tmp_path, b'\x80\x02]r\xff\xff\xff\x7f.')
  with pytest.raises(ValueError, match='memo index 2147483647 is out of range'):
    torch_files.read(path)


def test_a_storage_of_another_size_is_an_error(tmp_path):
  path = save(tmp_path, {'a': torch.ones(10)})
  rewrite(path, lambda n, d: d[:20] if n.endswith('data/0') else d)
  with pytest.raises(ValueError, match='should hold 40 bytes, found 20 bytes'):
    torch_files.read(path)
  path = save(tmp_path, {'a': torch.ones(10)})
  rewrite(path, lambda n, d: None if n.endswith('data/0') else d)
  with pytest.raises(ValueError, match='found no such entry'):
    torch_files.read(path)


@pytest.mark.parametrize(
  'size, stride, offset',
  [((11,), (1,), 0), ((10,), (1,), 1), ((2, 5), (6, 1), 0), ((5,), (-1,), 0),
   ((1 << 40,), (0,), 0), ((5,), (1, 1), 0)],
)  # fmt: skip
def test_tensors_never_reach_outside_their_storage(
  tmp_path, size, stride, offset
):
  path = save(tmp_path, {'a': torch.ones(10)})
  with zipfile.ZipFile(path) as opened:
    archive = torch_files._Archive(path, opened)
    storage = torch_files._Storage('0', 'float32', 10)
    with pytest.raises(ValueError, match='does not fit storage'):
      archive.tensor(storage, offset, size, stride, None)


def test_other_files_are_named(tmp_path):
  path = tmp_path / 'made.pth'
  for data, message in (
    (b'', 'no PyTorch checkpoint'),
    (b'hello', 'no PyTorch checkpoint'),
    (b'<html>', 'web page'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
  ):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
      torch_files.read(path)
  buffer = io.BytesIO()
  np.savez(buffer, a=np.ones(3))
  path.write_bytes(buffer.getvalue())
  with pytest.raises(ValueError, match='no checkpoint of torch'):
    torch_files.read(path)
  with pytest.raises(FileNotFoundError, match='none.pth: no such'):
    torch_files.read(tmp_path / 'none.pth')
  with pytest.raises(ValueError, match="no state dict.*keys .'epoch'"):
    torch_files.read(save(tmp_path, {'epoch': 3}))
  with pytest.raises(ValueError, match='found a list'):
    torch_files.read(save(tmp_path, [torch.ones(2)]))


def _in_directory(path, offset, value):
  """Overwrites bytes of the first entry of the archive's directory."""
  data = bytearray(path.read_bytes())
  at = data.find(b'PK\x01\x02') + offset
  data[at : at + len(value)] = value
  path.write_bytes(data)
  return path


def test_a_stored_size_beyond_the_file_takes_no_memory(tmp_path):
  path = save(tmp_path, {'a': torch.ones(2)})
  _in_directory(path, 20, (1 << 30).to_bytes(4, 'little'))
  tracemalloc.start()
  with pytest.raises(torch_files.CheckpointError, match='not read'):
    torch_files.read(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 1 << 24


def test_an_entry_name_that_is_no_text_is_an_error_of_ours(tmp_path):
  path = save(tmp_path, {'a': torch.ones(2)})
  _in_directory(path, 46, b'\xa9')
  _in_directory(path, 8, (1 << 11).to_bytes(2, 'little'))
  with pytest.raises(torch_files.CheckpointError, match='damaged or trunc'):
    torch_files.read(path)
