"""The sampled convolution against sampling first, point by point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.chains.bmn import sampling


def _slow(features, kernel, durations, context):
  """Every point of every proposal, interpolated by np.interp."""
  b, length, channels = features.shape
  samples = kernel.shape[0]
  out = np.zeros((b, length, len(durations), kernel.shape[2]))
  # One snippet of 0 on either side, so that it fades beyond the ends.
  centres = np.arange(-1, length + 1) + 0.5
  padded = np.pad(features, ((0, 0), (1, 1), (0, 0)))
  for t in range(length):
    for k, duration in enumerate(durations):
      low, high = t - context * duration, t + (1 + context) * duration
      for n, at in enumerate(np.linspace(low, high, samples)):
        row = np.array(
          [
            [
              np.interp(at, centres, padded[i, :, c], left=0, right=0)
              for c in range(channels)
            ]
            for i in range(b)
          ]
        )
        out[:, t, k] += row @ kernel[n]
  return out


def _sampled(features, kernel, durations, context):
  return sampling.sampled(
    jnp.asarray(features), jnp.asarray(kernel), durations, context
  )


def _made(seed, b, length, channels, samples, width):
  rng = np.random.default_rng(seed)
  return (
    rng.normal(size=(b, length, channels)).astype(np.float32),
    rng.normal(size=(samples, channels, width)).astype(np.float32),
  )


@pytest.mark.parametrize(
  ('length', 'durations', 'samples', 'context'),
  [
    (8, (1, 2, 3, 8), 4, 0.25),
    (5, (5,), 2, 0.0),
    (3, (1, 7), 3, 1.0),
    (9, (2, 4), 32, 0.25),
    (2, (9,), 5, 0.4),
  ],
)
def test_it_is_sampling_every_point_and_convolving(
  length, durations, samples, context
):
  features, kernel = _made(0, 2, length, 3, samples, 4)
  found = _sampled(features, kernel, durations, context)
  wanted = _slow(features, kernel, durations, context)
  assert found.shape == wanted.shape
  np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_points_span_a_proposal_and_a_quarter_on_either_side():
  found = sampling.points((8,), 4, 0.25)
  # From -2 to 10 in four points, half a snippet from borders to centres.
  np.testing.assert_allclose(
    (found.first + found.share)[0], [-2.5, 1.5, 5.5, 9.5]
  )


def test_a_point_never_meets_the_copy_of_the_next_period():
  # One snippet on: what a shorter period would bring round must stay 0.
  features = np.zeros((1, 6, 1), np.float32)
  features[0, 0] = 1
  kernel = np.ones((2, 1, 1), np.float32)
  found = _sampled(features, kernel, (6,), 0.25)
  np.testing.assert_allclose(
    found, _slow(features, kernel, (6,), 0.25), atol=1e-6
  )


def test_gradients_are_those_of_the_slow_form():
  features, kernel = _made(2, 1, 4, 2, 3, 2)
  weight = np.random.default_rng(3).normal(size=(1, 4, 2, 2))

  def value(features, kernel):
    return jnp.sum(weight * _sampled(features, kernel, (1, 3), 0.25))

  by_features, by_kernel = jax.grad(value, (0, 1))(features, kernel)
  # Linear in both: the slow form of unit arrays is the gradient.
  for place in [(0, 0, 0), (0, 3, 1), (0, 1, 1)]:
    unit = np.zeros_like(features)
    unit[place] = 1
    wanted = np.sum(weight * _slow(unit, kernel, (1, 3), 0.25))
    np.testing.assert_allclose(by_features[place], wanted, atol=1e-4)
  for place in [(0, 0, 0), (2, 1, 1)]:
    unit = np.zeros_like(kernel)
    unit[place] = 1
    wanted = np.sum(weight * _slow(features, unit, (1, 3), 0.25))
    np.testing.assert_allclose(by_kernel[place], wanted, atol=1e-4)
