import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.stages import decoding

# Written out by hand from Sec. 3.1: B R S C E F as 0..5.
_ALLOWED = {
  (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4),
  (4, 4), (4, 5), (4, 1), (4, 2), (5, 5), (5, 0), (5, 1), (5, 2),
}  # fmt: skip


def _allowed(labels):
  return all(pair in _ALLOWED for pair in zip(labels, labels[1:]))


def _best_by_trying(probabilities):
  log = np.log(np.maximum(probabilities, 1e-6))
  rows = np.arange(len(log))
  return max(
    log[rows, list(labels)].sum()
    for labels in itertools.product(range(6), repeat=len(log))
    if _allowed(labels)
  )


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_equals_trying_every_sequence(total, seed):
  rng = np.random.default_rng(seed)
  probabilities = rng.dirichlet(np.full(6, 0.4), total)
  labels = decoding.viterbi(probabilities)
  assert _allowed(labels.tolist())
  log = np.log(np.maximum(probabilities, 1e-6))
  got = log[np.arange(total), labels].sum()
  assert got == pytest.approx(_best_by_trying(probabilities), abs=1e-9)


def test_one_wrong_snippet_no_longer_breaks_a_run():
  true = [0, 1, 2, 2, 3, 3, 4, 4, 5, 0]
  probabilities = np.full((10, 6), 0.02)
  probabilities[np.arange(10), true] = 0.9
  probabilities[5] = [0.5, 0.0, 0.0, 0.4, 0.05, 0.05]  # Background by a hair.
  assert decoding.decode(probabilities, 'argmax')[5] == 0
  assert decoding.decode(probabilities, 'grammar').tolist() == true


def test_an_allowed_sequence_stays_as_it_is():
  true = np.array([0, 0, 1, 2, 3, 4, 2, 3, 4, 5, 1, 2, 3, 4, 5, 5, 0])
  probabilities = np.eye(6)[true]
  np.testing.assert_array_equal(decoding.viterbi(probabilities), true)


def test_nothing_gives_nothing_and_unknown_names_are_errors():
  assert decoding.viterbi(np.zeros((0, 6))).shape == (0,)
  with pytest.raises(ValueError, match="'argmax', 'grammar'.*got 'best'"):
    decoding.decode(np.zeros((0, 6)), 'best')
