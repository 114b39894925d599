import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax import sharding


@given(
  st.dictionaries(st.text('abcdef', min_size=1), st.floats(0.1, 1000.0)),
  st.integers(1, 5),
)
def test_shares_are_disjoint_complete_and_balanced(seconds, count):
  parts = [sharding.share(seconds, i, count) for i in range(count)]
  assert sorted(sum(parts, [])) == sorted(seconds)
  loads = [sum(seconds[v] for v in part) for part in parts]
  # Longest first: no part exceeds another by more than one video.
  if seconds:
    assert max(loads) - min(loads) <= max(seconds.values()) + 1e-6


def test_the_longest_go_first():
  seconds = {'a': 1.0, 'b': 2.0, 'c': 3.0, 'd': 6.0}
  assert sharding.share(seconds, 0, 2) == ['d']
  assert sharding.share(seconds, 1, 2) == ['a', 'b', 'c']


def test_flag():
  assert sharding.parse('0/1') == (0, 1)
  assert sharding.parse('11/12') == (11, 12)


@pytest.mark.parametrize(
  'text', ['', '1', '2/2', '-1/2', '0/0', '1/2/3', 'a/b']
)
def test_wrong_flags_are_refused(text):
  with pytest.raises(ValueError, match='--shard must be i/n'):
    sharding.parse(text)
