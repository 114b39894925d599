import jax
import numpy as np
import pytest

from cmsn_jax import segments
from cmsn_jax.chains import registry, windowed
from cmsn_jax.chains.paper import window_scores
from cmsn_jax.data import windows as windows_lib
from configs import rat_social


class _Source:
  """Random features of a few videos, one of which may be unreadable."""

  feature_fps = 5.0
  snippet_shape = (7,)

  def __init__(self, lengths, broken=()):
    rng = np.random.default_rng(0)
    self._arrays = {
      k: rng.normal(size=(n, 7)).astype(np.float32) for k, n in lengths.items()
    }
    self._broken = broken

  def num_snippets(self, video_id):
    return len(self._arrays[video_id])

  def read(self, video_id, start, stop):
    if video_id in self._broken and stop > 40:
      raise ValueError(f'{video_id} is not finite')
    return self._arrays[video_id][start:stop]


def _predictor(evaluator=True, labels=(), **proposals):
  config = rat_social.get_config('smoke')
  config.windows.length = 32
  config.stages.label_names = labels
  config.proposals.update(proposals)
  predictor = registry.predictor(config, {})
  key = jax.random.key(0)
  params = {'stages': predictor.networks.init_stages(key, 32, (7,))}
  if evaluator:
    params['evaluator'] = predictor.networks.init_evaluator(
      key, config.stages.width
    )
  return predictor.with_params(params)


_LENGTHS = {'a': 1, 'b': 32, 'c': 33, 'd': 100, 'e': 5}


@pytest.mark.parametrize('stitch', ['pool', 'average'])
def test_a_video_gets_the_same_proposals_alone_and_among_others(stitch):
  predictor = _predictor(stitch=stitch)
  source = _Source(_LENGTHS)
  together = dict(predictor.propose(source, _LENGTHS))
  assert list(together) == list(_LENGTHS)
  for video_id in _LENGTHS:
    (name, alone), *rest = predictor.propose(source, [video_id])
    assert name == video_id and not rest
    both = alone.proposals, together[video_id].proposals
    np.testing.assert_array_equal(both[0].segments, both[1].segments)
    np.testing.assert_allclose(both[0].scores, both[1].scores, atol=1e-5)


@pytest.mark.parametrize('evaluator', [True, False])
def test_predictions_are_well_formed(evaluator):
  source = _Source(_LENGTHS)
  for video_id, found in _predictor(evaluator).propose(source, _LENGTHS):
    total = _LENGTHS[video_id]
    assert found.probabilities.shape == (total, 6)
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-4)
    segments, scores = found.proposals.segments, found.proposals.scores
    assert (segments[:, 0] < segments[:, 1]).all()
    assert (segments >= 0).all()
    assert (segments[:, 1] <= total / source.feature_fps + 1e-9).all()
    assert (np.diff(scores) <= 0).all()
    if not evaluator:
      assert len(np.unique(segments, axis=0)) == len(segments)


def test_an_unreadable_video_is_left_out_and_named():
  source = _Source({'a': 20, 'bad': 90, 'c': 50}, broken=('bad',))
  failures = {}
  found = dict(
    _predictor().propose(
      source, ['a', 'bad', 'c'], on_error=failures.__setitem__
    )
  )
  assert list(found) == ['a', 'c']
  assert failures == {'bad': 'bad is not finite'}
  with pytest.raises(ValueError, match='bad is not finite'):
    list(_predictor().propose(source, ['bad']))


def test_stitch_averages_by_hand():
  def window(start, value, length=4):
    return window_scores.WindowScores(
      'v', start, np.full((length, 6), value), np.full((length, 2), 10 * value)
    )

  found = window_scores.stitch([window(0, 1.0), window(2, 3.0)], 6)
  np.testing.assert_array_equal(found.probabilities[:, 0], [1, 1, 2, 2, 3, 3])
  np.testing.assert_array_equal(found.hidden[:, 1], [10, 10, 20, 20, 30, 30])


def test_average_scores_equal_scoring_in_one_piece():
  predictor = _predictor(stitch='average')
  source = _Source({'d': 500})
  stitched = window_scores.stitch(
    list(predictor.stage_windows(source, ['d'])), 500
  )
  rng = np.random.default_rng(1)
  starts = rng.integers(0, 450, 200)
  ends = starts + rng.integers(1, 40, 200)

  class Candidates:
    pass

  candidates = Candidates()
  candidates.starts, candidates.ends = starts, ends
  found = predictor._scores(stitched, candidates)()
  expected = predictor.networks.score(
    predictor.params,
    *(jax.numpy.asarray(x) for x in (stitched.hidden, starts, ends)),
  )
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_windows_are_read_once_and_in_order():
  source = _Source({'d': 100})
  places = [
    windows_lib.Window('d', start, min(32, 100 - start))
    for start in windows_lib.window_starts(100, 32, 16)
  ]
  found = list(_predictor().score_windows(source, places))
  assert [w.start for w in found] == [w.start for w in places]
  assert [len(w.hidden) for w in found] == [w.length for w in places]


def test_large_windows_are_computed_alone():
  assert windowed.batch_size((4096, 1024)) == 8
  assert windowed.batch_size((8, 32, 40, 3)) == 8
  assert windowed.batch_size((40, 32, 40, 3)) == 5
  assert windowed.batch_size((128, 32, 40, 3)) == 1  # the demo's
  assert windowed.batch_size((768, 112, 112, 3)) == 1  # the paper's


def test_mixed_lengths_compile_a_handful_of_programs():
  # Scores were once cut on the device: a program for each number of proposals.
  compiled = []

  def listen(name, seconds, **unused):
    del seconds
    if name.endswith('backend_compile_duration'):
      compiled.append(name)

  lengths = {f'v{n}': n for n in (1, 7, 31, 32, 50, 90, 130, 200, 333, 500)}
  predictor, source = _predictor(), _Source(lengths)
  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    list(predictor.propose(source, lengths))
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  assert 1 <= len(compiled) <= 6


def test_only_the_best_candidates_are_evaluated_if_asked():
  probabilities = np.eye(6)[[0, 1, 2, 2, 3, 3, 4, 4, 5, 0]]
  every = _predictor().candidates(probabilities)
  best = _predictor(max_candidates=3).candidates(probabilities)
  assert len(every.starts) > 3
  for few, all_ in zip(best, every, strict=True):
    np.testing.assert_array_equal(few, all_[:3])


@pytest.mark.parametrize('evaluator', [True, False])
def test_overlapping_windows_give_each_segment_once(evaluator):
  predictor = _predictor(evaluator)
  [(_, found)] = predictor.propose(_Source({'v': 150}), ['v'])
  segments = found.proposals.segments
  assert len(segments) and len(np.unique(segments, axis=0)) == len(segments)


@pytest.mark.parametrize('stitch', ['pool', 'average'])
def test_labels_are_the_mean_of_the_snippets_inside(stitch):
  names = 'dig', 'run', 'sit'
  predictor = _predictor(labels=names, stitch=stitch)
  source = _Source({'d': 100})
  ((_, found),) = predictor.propose(source, ['d'])
  windows = list(predictor.stage_windows(source, ['d']))
  assert all(w.actions.shape == (len(w.probabilities), 3) for w in windows)
  mean = window_scores.stitch(windows, 100).actions
  places = np.rint(found.proposals.segments * 5).astype(int)
  assert len(places) > 0 and found.labels.names == names
  for (start, end), likely in zip(places, found.labels.probabilities):
    inside = mean[start:end].mean(axis=0)
    np.testing.assert_allclose(likely, inside / inside.sum(), atol=1e-4)
  best = found.labels.probabilities.argmax(axis=1)
  assert found.proposals.labels == tuple(names[k] for k in best)


def test_without_labels_nothing_is_said_of_them():
  ((_, found),) = _predictor().propose(_Source({'b': 32}), ['b'])
  assert found.labels is None and found.proposals.labels is None


@pytest.mark.parametrize('stitch', ['pool', 'average'])
def test_what_steps_hand_on_is_told(stitch):
  seen = {}
  predictor = _predictor(stitch=stitch, max_candidates=3)
  watched = predictor.watched(
    lambda video, step, spans: seen.setdefault((video, step), []).append(spans)
  )
  [(_, found)] = watched.propose(_Source({'v': 100}), ['v'])
  [(_, plain)] = predictor.propose(_Source({'v': 100}), ['v'])
  np.testing.assert_array_equal(
    found.proposals.segments, plain.proposals.segments
  )
  assert list(seen) == [('v', 'candidates'), ('v', 'scored')]
  every = {
    tuple(row) for part in seen['v', 'candidates'] for row in part.tolist()
  }
  [scored] = seen['v', 'scored']
  # The limit comes between them.
  assert len(every) > len(scored)
  assert {tuple(row) for row in scored.tolist()} <= every


def test_the_ceiling_is_what_true_stages_give():
  instances = np.array([[2.0, 5.0], [10.0, 14.0]])
  [(step, spans)] = _predictor().ceilings(_Source({'v': 100}), 'v', instances)
  assert step == 'perfect_stages'
  # Snippets of .2 s: each border is on one.
  assert segments.tiou(instances, spans).max(axis=1) == pytest.approx(1)
