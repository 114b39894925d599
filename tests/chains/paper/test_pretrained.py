import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.chains.paper import pretrained
from cmsn_jax.features.backbones import c3d
from cmsn_jax.features.weights import c3d as c3d_weights
from cmsn_jax.features.weights import folders
from configs import thumos14_c3d


def _config(folder, widths=(2, 2, 2, 2, 2)):
  config = thumos14_c3d.get_config()
  config.extractor.widths = widths
  config.extractor.weights = str(folder)
  return config


def _save(folder, widths, **changes):
  template = c3d_weights.template(widths)
  params = {
    name: {k: np.full(v.shape, 0.5, np.float32) for k, v in layer.items()}
    for name, layer in template.items()
  }
  description = {
    'backbone': 'c3d',
    'mean': [1, 2, 3],
    'scale': [1, 1, 0.5],
    'channel_order': 'bgr',
    **changes,
  }
  folders.save(folder, folders.Weights(params, description))


def _params(widths=(2, 2, 2, 2, 2)):
  model = c3d.C3D(widths=widths)
  frames = jnp.zeros((1, 8, 16, 16, 3))
  import jax

  return {
    'extractor': model.init(jax.random.key(0), frames)['params'],
    'network': {'w': jnp.ones(3)},
  }


def test_weights_replace_the_extractor_and_their_description_the_config(
  tmp_path,
):
  _save(tmp_path, (2, 2, 2, 2, 2))
  config = pretrained.describe(_config(tmp_path))
  assert config.extractor.mean == (1.0, 2.0, 3.0)
  assert config.extractor.scale == (1.0, 1.0, 0.5)
  assert config.extractor.channel_order == 'bgr'
  params = pretrained.insert(config, _params())
  assert (params['extractor']['conv4b']['kernel'] == 0.5).all()
  np.testing.assert_array_equal(params['network']['w'], np.ones(3))


def test_weights_of_another_shape_list_every_layer(tmp_path):
  _save(tmp_path, (2, 2, 2, 2, 4))
  with pytest.raises(ValueError, match='conv5a/bias.*conv5b/kernel') as error:
    pretrained.insert(_config(tmp_path), _params())
  assert 'conv1a' not in str(error.value)


def test_weights_of_another_backbone_are_refused(tmp_path):
  _save(tmp_path, (2, 2, 2, 2, 2), backbone='resnet')
  with pytest.raises(ValueError, match="weights of 'resnet'"):
    pretrained.describe(_config(tmp_path))


def test_without_weights_nothing_changes():
  config = _config('')
  assert pretrained.describe(config) is config
  params = _params()
  assert pretrained.insert(config, params) is params
