import numpy as np
import pytest

from cmsn_jax import stage_names
from cmsn_jax.files import stage_files


def test_what_is_written_is_read(tmp_path):
  rng = np.random.default_rng(0)
  probabilities = rng.dirichlet(np.ones(stage_names.COUNT), 7)
  probabilities = probabilities.astype(np.float32)
  file = tmp_path / 'stages' / 'a.npz'
  stage_files.write(file, probabilities, 6.25)
  read, rate = stage_files.read(file)
  np.testing.assert_allclose(read, probabilities, atol=5e-4)
  assert read.dtype == np.float32 and rate == 6.25
  found = stage_files.read_some(tmp_path / 'stages', ['a', 'b'])
  assert list(found) == ['a'] and found['a'][1] == 6.25
  assert [path.name for path in file.parent.iterdir()] == ['a.npz']


@pytest.mark.parametrize(
  ('shape', 'rate', 'message'),
  [
    ((4, 5), 1.0, r'found probabilities \[4, 5\]'),
    ((0, 6), 1.0, r'found probabilities \[0, 6\]'),
    ((4, 6), 0.0, 'feature_fps 0.0'),
  ],
)
def test_what_is_no_stage_file_is_refused(tmp_path, shape, rate, message):
  file = tmp_path / 'a.npz'
  np.savez(file, probabilities=np.zeros(shape), feature_fps=rate)
  with pytest.raises(ValueError, match=message):
    stage_files.read(file)
