"""The classifier of proposals, by hand and by what must not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.scoring import context_features, label_classifier


def _made(labels=3, **options):
  model = label_classifier.LabelClassifier(labels, hidden=8, **options)
  rng = np.random.default_rng(0)
  features = jnp.asarray(rng.normal(size=(1, 40, 5)), jnp.float32)
  segments = jnp.array([[[4.0, 12.0], [10.5, 31.0]]])
  params = model.init(jax.random.key(0), features, segments)
  return model, params, features, segments


def test_one_logit_a_label_and_one_for_none():
  model, params, features, segments = _made()
  assert model.apply(params, features, segments).shape == (1, 2, 4)


def test_what_lies_outside_of_a_proposal_does_not_matter():
  model, params, features, segments = _made()
  before = model.apply(params, features, segments)[0, 0]
  outside = features.at[:, :4].add(5.0).at[:, 12:].add(-3.0)
  after = model.apply(params, outside, segments)[0, 0]
  np.testing.assert_allclose(after, before, atol=1e-4)
  inside = features.at[:, 6].add(5.0)
  assert (
    np.abs(model.apply(params, inside, segments)[0, 0] - before).max() > 0.01
  )


def test_the_order_in_time_matters():
  model, params, features, _ = _made()
  whole = jnp.array([[[0.0, 40.0]]])
  forwards = model.apply(params, features, whole)
  backwards = model.apply(params, features[:, ::-1], whole)
  assert np.abs(forwards - backwards).max() > 0.01


def test_loss_by_hand():
  logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]))
  targets = jnp.array([[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
  expected = -(np.log(0.5) + 3 * np.log(0.75)) / 4
  found = label_classifier.loss(logits, targets)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  # Without anything to learn it is 0, and so is its gradient.
  value, slope = jax.value_and_grad(label_classifier.loss)(logits, 0 * targets)
  assert value == 0 and not np.any(slope)


def test_mean_inside_is_that_of_the_snippets():
  p = jnp.array([[0.6, 0.2], [0.2, 0.2], [0.0, 0.5], [0.0, 0.0]])
  segments = jnp.array([[0.0, 2.0], [1.0, 3.0], [3.0, 4.0]])
  bins = context_features.inner_pool(p, segments, 4)
  assert bins.shape == (3, 4, 2)
  found = np.exp(label_classifier.mean_inside(bins))
  # .4 to .2; .1 to .35; nothing is seen: as likely.
  np.testing.assert_allclose(found[0], [2 / 3, 1 / 3], atol=1e-5)
  np.testing.assert_allclose(found[1], [0.1 / 0.45, 0.35 / 0.45], atol=1e-5)
  np.testing.assert_allclose(found[2], [0.5, 0.5], atol=1e-5)


@pytest.mark.parametrize('labels', [1, 3])
def test_parts_are_averaged_in_the_logarithm(labels):
  rng = np.random.default_rng(0)
  parts = jnp.asarray(rng.normal(size=(4, 5, labels)), jnp.float32)
  found = label_classifier.combined([tuple(parts[:2]), tuple(parts[2:])])
  mean = np.exp(np.asarray(parts).mean(axis=0))
  np.testing.assert_allclose(
    found, mean / mean.sum(1, keepdims=True), rtol=1e-5
  )
  np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_none_is_left_out():
  logits = jnp.array([[9.0, 1.0, 1.0 + np.log(3.0)]])
  found = np.exp(label_classifier.without_none(logits))
  np.testing.assert_allclose(found, [[0.25, 0.75]], rtol=1e-5)
