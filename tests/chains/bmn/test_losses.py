"""The losses by hand, and that parts add up to the whole."""

import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains.bmn import losses, networks

_DURATIONS = (1, 2)


def _batch(seed, b=2, t=5):
  rng = np.random.default_rng(seed)
  return {
    'mask': np.arange(t)[None] < np.array([t, t - 2] * (b // 2))[:, None],
    'boundaries': rng.uniform(0, 1, (b, t, 2)).astype(np.float32),
    'tiou': rng.uniform(0, 1, (b, t, 2)).astype(np.float32),
  }


def _logits(seed, b=2, t=5):
  rng = np.random.default_rng(seed)
  return networks.Logits(
    jnp.asarray(rng.normal(size=(b, t, 2)), jnp.float32),
    jnp.asarray(rng.normal(size=(b, t, 2, 2)), jnp.float32),
  )


def _loss(found, batch, totals=None):
  batch = jax.tree.map(jnp.asarray, batch)
  if totals is None:
    totals = losses.counts(batch, _DURATIONS)
  return losses.loss(found, batch, _DURATIONS, totals)


def _slow(found, batch):
  """Loop by loop, as Eq. (4) to (7) say."""
  sigmoid = lambda x: 1 / (1 + np.exp(-np.float64(x)))
  boundary = 0.0
  for side in (0, 1):
    yes, no = [], []
    for i, t in np.argwhere(batch['mask']):
      p = sigmoid(found.boundaries[i, t, side])
      if batch['boundaries'][i, t, side] > 0.5:
        yes.append(-np.log(p))
      else:
        no.append(-np.log(1 - p))
    boundary += np.mean(yes) + np.mean(no)
  right, wrong, bands = [], [], {'high': [], 'middle': [], 'low': []}
  for i in range(len(batch['mask'])):
    for t in range(batch['mask'].shape[1]):
      for k, duration in enumerate(_DURATIONS):
        if t + duration > batch['mask'][i].sum():
          continue
        tiou = batch['tiou'][i, t, k]
        p = sigmoid(found.maps[i, t, k, 0])
        (right if tiou > 0.9 else wrong).append(
          -np.log(p if tiou > 0.9 else 1 - p)
        )
        band = 'high' if tiou > 0.7 else 'middle' if tiou > 0.3 else 'low'
        bands[band].append((sigmoid(found.maps[i, t, k, 1]) - tiou) ** 2)
  count = len(bands['high'])
  weights = {name: min(1, count / len(x)) for name, x in bands.items()}
  total = sum(weights[name] * len(x) for name, x in bands.items())
  error = sum(weights[name] * sum(x) for name, x in bands.items()) / total
  classified = np.mean(right) + np.mean(wrong)
  return boundary + classified + 10 * error


def test_it_is_the_sum_of_the_three():
  batch, found = _batch(0), _logits(1)
  batch['tiou'][0, 0, 0] = 0.95  # At least one is right.
  loss, parts = _loss(found, batch)
  np.testing.assert_allclose(loss, _slow(found, batch), rtol=1e-5)
  assert set(parts) == {'boundary', 'right', 'regression'}


def test_parts_of_a_batch_add_up_to_it():
  batch, found = _batch(2, b=4), _logits(3, b=4)
  totals = losses.counts(jax.tree.map(jnp.asarray, batch), _DURATIONS)
  whole, _ = _loss(found, batch)
  parts = [
    _loss(
      networks.Logits(*(x[i : i + 2] for x in found)),
      {name: x[i : i + 2] for name, x in batch.items()},
      totals,
    )[0]
    for i in (0, 2)
  ]
  np.testing.assert_allclose(whole, sum(parts), rtol=1e-5)


def test_what_is_masked_teaches_nothing_and_gradients_are_finite():
  batch, found = _batch(4), _logits(5)
  batch['mask'][:] = False
  totals = losses.counts(jax.tree.map(jnp.asarray, batch), _DURATIONS)
  assert all(float(x) == 0 for x in totals)
  loss, gradient = jax.value_and_grad(lambda x: _loss(x, batch)[0])(found)
  assert float(loss) == 0
  assert all(not np.any(x) for x in gradient)


def test_without_a_good_proposal_none_is_regressed():
  batch, found = _batch(6), _logits(7)
  batch['tiou'][:] = 0.2
  _, parts = _loss(found, batch)
  assert float(parts['regression']) == 0
