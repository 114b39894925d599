import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cmsn_jax.features.backbones import c3d
from cmsn_jax.pretraining import classifier


class Mean(nn.Module):
  """An extractor of single images whose feature is their mean colour."""

  @nn.compact
  def __call__(self, images, *, train):
    return images.mean(axis=(1, 2))


def test_single_image_extractors_average_their_scores():
  model = classifier.ClipClassifier(
    Mean(), num_classes=2, per_frame=True, dropout=0.0, mean=(1.0, 1.0, 1.0)
  )
  frames = np.random.default_rng(0).integers(0, 255, (3, 2, 4, 5, 5, 3))
  frames = frames.astype(np.uint8)
  params = {'params': {'classes': {
    'kernel': jnp.eye(3)[:, :2], 'bias': jnp.zeros(2)}}}  # fmt: skip
  got = model.apply(params, frames)
  want = frames.reshape(3, -1, 3).mean(axis=1)[:, :2] - 1
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize('head', ['average', 'fc'])
def test_heads_over_c3d(head):
  model = classifier.ClipClassifier(
    c3d.C3D(widths=(2, 2, 2, 2, 4)), num_classes=5, head=head, hidden=6
  )
  frames = jax.ShapeDtypeStruct((2, 3, 16, 112, 112, 3), jnp.uint8)
  scores, variables = jax.eval_shape(
    model.init_with_output, jax.random.key(0), frames
  )
  assert scores.shape == (2, 5)
  params = jax.tree.map(jnp.shape, variables['params'])
  assert set(params['extractor']) == set(c3d.LAYERS)
  if head == 'fc':
    # C3D's 8192 numbers at 512 channels: 4 x 4 places.
    assert params['fc6']['kernel'] == (4 * 4 * 4, 6)
    assert params['fc7']['kernel'] == (6, 6)
  assert params['classes']['kernel'] == ({'average': 4, 'fc': 6}[head], 5)


def test_loss_and_accuracy():
  logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
  loss, accuracy = classifier.loss(logits, jnp.array([1, 1]))
  np.testing.assert_allclose(loss, -np.log([0.5, 0.75]).mean(), rtol=1e-6)
  assert accuracy == 0.5


def test_bad_heads_are_named():
  model = classifier.ClipClassifier(Mean(), 2, head='max', per_frame=True)
  frames = jnp.zeros((1, 1, 1, 4, 4, 3), jnp.uint8)
  with pytest.raises(ValueError, match="'max'"):
    model.init(jax.random.key(0), frames)
  with pytest.raises(ValueError, match="use head 'average'"):
    model.clone(head='fc').init(jax.random.key(0), frames)
