import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.chains.bmn import chain, derive
from cmsn_jax.settings import recipes, smoke
from cmsn_jax.training import setup


@given(st.integers(1, 3000), st.integers(2, 64))
def test_durations_are_all_or_few_in_growing_steps(longest, most):
  found = derive.duration_grid(longest, most)
  assert found[0] == 1 and found[-1] == longest
  if longest <= most:
    assert found == tuple(range(1, longest + 1))
  else:
    assert len(found) <= most
    steps = [b - a for a, b in zip(found, found[1:])]
    assert min(steps) >= 1
    # The last step may be cut short.
    assert steps[:-1] == sorted(steps[:-1])


def test_many_long_durations_stay_near_each_other():
  found = derive.duration_grid(128, 32)
  assert found[:6] == tuple(range(1, 7))
  assert max(b / a for a, b in zip(found[5:], found[6:])) < 1.2


def _derived(tmp_path, **changes):
  config = smoke.apply(recipes.of_chain('bmn'), 'smoke')
  config.update_from_flattened_dict(changes)
  return setup.open_run(config, tmp_path)


def test_window_and_durations_follow_from_the_data(tmp_path):
  config, data = _derived(tmp_path, **{'bmn.max_durations': 60})
  lengths = [
    (end - start) * data.source.feature_fps
    for name in data.train
    for start, end in data.grid_segments(name)
  ]
  assert (
    config.bmn.durations[-1] >= min(max(lengths), config.windows.length) - 1e-6
  )
  assert config.windows.length % 32 == 0
  assert config.windows.length <= 128


def test_what_is_given_is_kept(tmp_path):
  config, _ = _derived(
    tmp_path, **{'bmn.durations': (2, 3), 'bmn.max_window': 0}
  )
  assert config.bmn.durations == (2, 3) and config.windows.length == 64


@pytest.mark.parametrize(
  ('changes', 'key'),
  [
    ({'bmn.max_window': 32}, 'config.bmn.max_window'),
    (
      {'bmn.durations': (2, 3), 'windows.length': 32},
      'config.windows.length',
    ),
    ({'bmn.max_window': 0, 'windows.length': 32}, 'config.windows.length'),
  ],
)
def test_the_key_that_holds_longer_instances_is_named(
  tmp_path, caplog, changes, key
):
  # Made-up instances of up to 46 snippets.
  with caplog.at_level('WARNING'):
    _derived(tmp_path, **changes)
  assert f'A larger {key} holds them' in caplog.text


@pytest.mark.parametrize(
  ('key', 'value', 'said'),
  [
    ('nms.method', 'threshold', 'a probability a threshold'),
    ('bmn.durations', (3, 2), 'ascending'),
    ('bmn.durations', (0, 2), 'from 1 on'),
    ('data.input', 'video', 'learns from features'),
  ],
)
def test_what_cannot_be_is_said(key, value, said):
  config = recipes.of_chain('bmn')
  config.update_from_flattened_dict({key: value})
  (found,) = chain.problems(config)
  assert said in found
