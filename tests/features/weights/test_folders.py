import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import c3d as c3d_weights
from cmsn_jax.features.weights import folders

WIDTHS = (4, 6, 8, 8, 10)


def made_weights():
  params = jax.tree.map(np.array, c3d_weights.template(WIDTHS))
  params['conv1a']['bias'] += 2
  return folders.Weights(params, {'backbone': 'c3d', 'mean': [1.0, 2.0, 3.0]})


def test_folder_round_trip_and_template(tmp_path):
  made = made_weights()
  folders.save(tmp_path / 'folder', made)
  found = folders.load(tmp_path / 'folder')
  jax.tree.map(np.testing.assert_array_equal, found.params, made.params)
  assert found.description['mean'] == [1.0, 2.0, 3.0]
  assert found.description['arrays']['conv1a/kernel'] == [3, 3, 3, 3, 4]
  names = sorted(p.name for p in (tmp_path / 'folder').iterdir())
  assert names == ['weights.json', 'weights.npz']
  shapes = jax.eval_shape(
    c3d.C3D(widths=WIDTHS).init, jax.random.key(0), jnp.zeros((1, 8, 16, 16, 3))
  )
  assert jax.tree.map(jnp.shape, shapes['params']) == jax.tree.map(
    jnp.shape, found.params
  )


def test_damaged_folders_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='weights.json is missing'):
    folders.load(tmp_path)
  folders.save(tmp_path, made_weights())
  data = bytearray((tmp_path / 'weights.npz').read_bytes())
  data[len(data) // 2] ^= 1
  (tmp_path / 'weights.npz').write_bytes(data)
  with pytest.raises(ValueError, match='checksum.*damaged or belongs to other'):
    folders.load(tmp_path)
  (tmp_path / 'weights.json').write_text('{}')
  with pytest.raises(ValueError, match='no description of weights'):
    folders.load(tmp_path)
