"""What the frozen stage network says of the windows, kept on disk."""

import jax
import numpy as np
import pytest

from cmsn_jax import segments
from cmsn_jax.chains import registry
from cmsn_jax.chains.paper import hidden_cache
from cmsn_jax.data import opening, training_data
from cmsn_jax.scoring import targets
from cmsn_jax.settings import default, smoke


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """(data, predictor, windows, cache)."""
  config = smoke.apply(default.get_config(), 'smoke')
  config.data.annotations = 'generated:4x40'
  config.windows.length = 32
  config.stages.loss = 'softmax'
  data = opening.open_data(config, tmp_path_factory.mktemp('data'))
  predictor = registry.predictor(config, {})
  params = predictor.networks.init_stages(
    jax.random.key(0), 32, data.source.snippet_shape
  )
  predictor = predictor.with_params({'stages': params})
  windows = training_data.training_windows(data, 32, 16, True)
  cache = hidden_cache.build(
    tmp_path_factory.mktemp('cache') / 'c',
    predictor,
    data.source,
    windows,
    {name: video.segments for name, video in data.train.items()},
    dict.fromkeys(data.train, segments.empty()),
    32,
    quiet=True,
  )
  return data, predictor, windows, cache


def test_an_entry_is_what_the_network_says_of_its_window(made):
  data, predictor, windows, cache = made
  for index in (0, 1, len(windows) - 1):
    (scores,) = predictor.score_windows(data.source, [windows[index]])
    entry = cache.entry(index)
    np.testing.assert_allclose(
      entry.hidden[: windows[index].length], scores.hidden, atol=1e-5
    )
    assert not entry.hidden[windows[index].length :].any()
    candidates = predictor.candidates(scores.probabilities)
    np.testing.assert_array_equal(entry.starts, candidates.starts)
    np.testing.assert_array_equal(entry.ends, candidates.ends)


def test_targets_are_the_best_tiou_with_the_instances(made):
  data, _, windows, cache = made
  for index, window in enumerate(windows):
    entry = cache.entry(index)
    proposals = segments.snippets_to_sec(
      entry.starts + window.start,
      entry.ends + window.start,
      data.source.feature_fps,
    )
    expected = targets.best_tiou(
      proposals, data.train[window.video_id].segments
    )
    np.testing.assert_allclose(entry.tiou, expected, atol=1e-6)


def test_counts_are_over_all_windows(made):
  _, _, windows, cache = made
  tiou = np.concatenate([cache.entry(k).tiou for k in range(len(windows))])
  edges = np.array([0, 0.2, 0.6, 1.0001])
  expected = [
    int(np.sum((tiou >= low) & (tiou < high)))
    for low, high in zip(edges, edges[1:])
  ]
  assert cache.tiou_counts(edges).tolist() == expected
  assert cache.channels == 32


def test_what_was_there_is_replaced(made, tmp_path):
  data, predictor, windows, _ = made
  folder = tmp_path / 'cache'
  folder.mkdir()
  (folder / 'of_an_older_run').write_text('x')
  truth = {name: video.segments for name, video in data.train.items()}
  found = hidden_cache.build(
    folder, predictor, data.source, windows[:2], truth,
    dict.fromkeys(truth, segments.empty()), 32, quiet=True,
  )  # fmt: skip
  assert not (folder / 'of_an_older_run').exists()
  assert len(found.entry(1).hidden) == 32


def test_candidates_where_nobody_looked_are_left_out(made, tmp_path):
  data, predictor, windows, cache = made
  span = np.array([[0.0, 12.0]])
  partly = hidden_cache.build(
    tmp_path / 'c',
    predictor,
    data.source,
    windows,
    {name: video.segments for name, video in data.train.items()},
    dict.fromkeys(data.train, span),
    32,
    quiet=True,
  )
  left_out = 0
  for index, window in enumerate(windows):
    every, kept = cache.entry(index), partly.entry(index)
    proposals = segments.snippets_to_sec(
      every.starts + window.start,
      every.ends + window.start,
      data.source.feature_fps,
    )
    start, end = proposals.T
    # At most half of it before second 12.
    outside = np.minimum(end, 12) - np.minimum(start, 12) <= (end - start) / 2
    np.testing.assert_array_equal(kept.starts, every.starts[outside])
    np.testing.assert_array_equal(kept.tiou, every.tiou[outside])
    np.testing.assert_array_equal(kept.hidden, every.hidden)
    left_out += (~outside).sum()
  assert left_out
