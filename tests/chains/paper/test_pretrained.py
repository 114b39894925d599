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


def test_the_config_that_was_given_stays_and_the_new_one_is_locked(tmp_path):
  _save(tmp_path, (2, 2, 2, 2, 2))
  config = _config(tmp_path)
  before = config.to_json()
  found = pretrained.describe(config)
  assert config.to_json() == before
  assert found.is_locked
  # Described twice is described once: a run that goes on.
  assert pretrained.describe(found).to_json() == found.to_json()


def test_of_features_no_weights_are_read(tmp_path):
  config = _config(tmp_path / 'not there')
  config.data.input = 'features'
  params = {'network': {'w': jnp.ones(3)}}
  assert pretrained.describe(config) is config
  assert pretrained.insert(config, params) is params


def test_a_folder_without_weights_says_how_they_are_made(tmp_path):
  for read in (
    pretrained.describe,
    lambda config: pretrained.insert(config, _params()),
  ):
    with pytest.raises(FileNotFoundError, match='launch.convert_weights or'):
      read(_config(tmp_path))


def test_layers_too_many_and_too_few_are_told_apart(tmp_path):
  _save(tmp_path, (2, 2, 2, 2, 2))
  params = _params()
  params['extractor']['conv9'] = {'bias': jnp.zeros(5)}
  del params['extractor']['conv1a']['bias']
  with pytest.raises(ValueError) as error:
    pretrained.insert(_config(tmp_path), params)
  assert str(error.value) == (
    f'{tmp_path} does not fit the extractor: conv1a/bias: (2,), expected none; '
    'conv9/bias: missing, expected (5,)'
  )


def test_the_parameters_that_were_given_stay(tmp_path):
  _save(tmp_path, (2, 2, 2, 2, 2))
  params = _params()
  before = np.array(params['extractor']['conv2a']['kernel'])
  found = pretrained.insert(_config(tmp_path), params)
  np.testing.assert_array_equal(params['extractor']['conv2a']['kernel'], before)
  assert found['network'] is params['network']
  assert found['extractor'] is not params['extractor']
