"""How much of the evaluator's certainty counts, by duration."""

import numpy as np
import pytest

from cmsn_jax.scoring import doubt


def test_powers_by_hand():
  segments = np.array([[0.0, 10.0], [5.0, 10.0], [0.0, 40.0]])
  found = doubt.doubted(np.full((3, 2), 0.25), segments, 0.5, 10.0)
  expected = [0.25**1.5, 0.25**2.5, 0.25**0.75]
  np.testing.assert_allclose(found, np.transpose([expected] * 2))


def test_nothing_is_doubted_where_durations_are_alike_and_nothing_tempered():
  probabilities = np.random.default_rng(0).uniform(size=(5, 10))
  segments = np.array([[0.0, 1.0 + k] for k in range(5)])
  np.testing.assert_array_equal(
    doubt.doubted(probabilities, segments), probabilities
  )


@pytest.mark.parametrize('snippets', [0.5, 10.0, 100.0])
def test_the_short_are_doubted_more_and_what_is_certain_stays(snippets):
  segments = np.array([[0.0, length] for length in (0.5, 3.0, 20.0, 500.0)])
  even = doubt.doubted(np.full((4, 1), 0.6), segments, 1.0, snippets)[:, 0]
  assert np.all(np.diff(even) > 0) and np.all((even >= 0) & (even < 0.6))
  for sure in (0.0, 1.0):
    assert np.all(
      doubt.doubted(np.full((4, 1), sure), segments, 1, snippets) == sure
    )
