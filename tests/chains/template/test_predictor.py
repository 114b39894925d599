import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax import segments
from cmsn_jax.candidates import template
from cmsn_jax.chains import registry
from cmsn_jax.chains.template import chain, networks
from cmsn_jax.chains.template import predictor as predictor_lib
from cmsn_jax.data import sources
from cmsn_jax.proposing import inputs
from cmsn_jax.settings import default
from cmsn_jax.suppression import keep as keep_lib

LENGTHS = {'a': 1, 'b': 40, 'c': 300, 'd': 90}


class Source:
  """Random features of a few videos, one of which may be unreadable."""

  feature_fps = 5.0
  snippet_shape = (7,)

  def __init__(self, broken=()):
    rng = np.random.default_rng(0)
    self._arrays = {
      k: rng.normal(size=(n, 7)).astype(np.float32) for k, n in LENGTHS.items()
    }
    self._broken = broken

  def num_snippets(self, video_id):
    return len(self._arrays[video_id])

  def read(self, video_id, start=0, stop=None):
    if video_id in self._broken:
      raise ValueError(f'{video_id} is not finite')
    return self._arrays[video_id][start:stop]


@pytest.fixture(scope='module')
def predictor():
  config = default.get_config()
  config.chain = 'template'
  config.nms.method = 'threshold'
  config.template.update(
    width=8, dilations=(1, 2), pooled_width=4, hidden=8, members=2,
    durations=(3.0, 8.0, 20.0), typical_duration=8.0, per_snippet=2.0,
    different_per_snippet=2.0, mend_per_snippet=0.4,
  )  # fmt: skip
  empty = registry.predictor(config, {})
  params = networks.init_members(
    empty.networks.model, jax.random.key(0), 2, 32, 7
  )
  return empty.with_params({'joint': params})


def test_proposals_lie_in_the_video_best_first(predictor):
  found = dict(predictor.propose(Source(), LENGTHS))
  assert list(found) == list(LENGTHS)
  for video_id, prediction in found.items():
    duration = LENGTHS[video_id] / 5.0
    segments, scores = (
      prediction.proposals.segments, prediction.proposals.scores
    )  # fmt: skip
    assert len(scores) > 0
    assert segments.min() >= 0 and segments.max() <= duration + 1e-9
    assert np.all(segments[:, 1] > segments[:, 0])
    assert np.all(np.diff(scores) <= 1e-12)
    assert prediction.probabilities.shape == (LENGTHS[video_id], 6)
    np.testing.assert_allclose(
      prediction.probabilities.sum(axis=1), 1, atol=1e-5
    )


def _changed(predictor, **changes):
  config = predictor.config.copy_and_resolve_references()
  config.template.update(changes)
  return registry.predictor(config, {}).with_params(predictor.params)


@pytest.mark.parametrize('video_id', LENGTHS)
@pytest.mark.parametrize('slowness', [1, 1.01, 1.5, 4])
def test_networks_see_slower_snippets(predictor, video_id, slowness):
  source = Source()
  rows = source.read(video_id)
  small = predictor_lib.Predictor(
    predictor.config, predictor.networks, predictor.params, piece=100
  )
  # Snippet k of the slowed video is centred on (k + 1/2) / 3/2 of its own.
  own = np.arange(len(rows)) + 0.5
  at = (np.arange(int(np.ceil(slowness * len(rows)))) + 0.5) / slowness
  played = np.stack([np.interp(at, own, x) for x in rows.T], axis=1)
  whole = np.asarray(
    predictor.networks.encode(
      predictor.params,
      jnp.asarray(played[None], np.float32),
      jnp.ones((1, len(at)), bool),
    )
  )[:, 0]
  expected = [[np.interp(own, at, y) for y in x.T] for x in whole]
  for each in (predictor, small):
    found = each.encode(source, video_id, [slowness, 1])
    assert set(found) == {slowness, 1}
    np.testing.assert_allclose(
      found[slowness], np.swapaxes(expected, 1, 2), atol=1e-4
    )


@pytest.mark.parametrize('stages', [1, 1.5])
@pytest.mark.parametrize('features', [1, 1.5, 2])
def test_stages_and_features_are_as_slow_as_each_is_told(
  predictor, stages, features, monkeypatch
):
  source = Source()
  found = predictor.encode(source, 'c', {stages, features})
  reads, scored = [], []
  read = source.read
  monkeypatch.setattr(
    source, 'read', lambda *args: reads.append(args) or read(*args)
  )
  slow = _changed(predictor, slow_stages=stages, slow_features=features)
  score = slow._mended_and_scored
  monkeypatch.setattr(
    slow,
    '_mended_and_scored',
    lambda pooled, segments: scored.append(pooled) or score(pooled, segments),
  )
  probabilities = slow.video(source, 'c').probabilities
  np.testing.assert_array_equal(
    probabilities, found[stages][:, :, -6:].mean(axis=0)
  )
  np.testing.assert_array_equal(scored[0], found[features])
  assert len(reads) == 1


@pytest.mark.parametrize('features', [1.0, 1.5])
def test_the_slow_are_the_same_however_a_video_is_cut(predictor, features):
  slow = _changed(predictor, slow_stages=1.5, slow_features=features)
  source = Source()
  whole = slow.video(source, 'c').probabilities
  # As a look of a stream: from every other snippet on.
  source._arrays['c'] = source._arrays['c'][14:]
  part = slow.video(source, 'c')
  np.testing.assert_allclose(part.probabilities[20:], whole[34:], atol=1e-5)
  pieces = predictor_lib.Predictor(
    slow.config, slow.networks, slow.params, piece=64
  )
  found = pieces.video(source, 'c')
  np.testing.assert_allclose(found.probabilities, part.probabilities, atol=1e-5)
  np.testing.assert_allclose(
    found.proposals.scores, part.proposals.scores, atol=1e-4
  )


def test_whoever_follows_the_reading_changes_nothing(predictor):
  seen = []
  followed = inputs.Followed(
    Source(), None, lambda *reached: seen.append(reached)
  )
  assert isinstance(followed, sources.Source)
  ((_, found),) = predictor.propose(followed, ['c'])
  ((_, plain),) = predictor.propose(Source(), ['c'])
  np.testing.assert_array_equal(
    found.proposals.segments, plain.proposals.segments
  )
  assert {video_id for video_id, _ in seen} == {'c'}


def test_candidates_differ_as_the_config_says(predictor, monkeypatch):
  asked = []
  generate = template.generate

  def keep(*args, **options):
    found = generate(*args, **options)
    asked.append((options, len(found.scores)))
    return found

  monkeypatch.setattr(template, 'generate', keep)
  ((_, found),) = predictor.propose(Source(), ['d'])
  ((options, count),) = asked
  assert options['different_per_snippet'] == 2.0
  assert options['per_snippet'] == 2.0
  assert options['clear_weight'] == 0.5
  # All of them reach the NMS, and so do those with mended borders.
  seen = []
  select = keep_lib.select
  monkeypatch.setattr(
    keep_lib, 'select',
    lambda segments, *rest: seen.append(len(segments)) or select(segments, *rest),
  )  # fmt: skip
  list(predictor.propose(Source(), ['d']))
  assert seen[0] > count


def test_regions_hold_each_segment_once_in_its_order():
  starts = np.random.default_rng(0).uniform(0, 9000, 500)
  starts[3] = 4096.0  # the first snippet of a region
  segments = np.stack([starts, starts + 5], axis=1)
  found = list(predictor_lib._regions(segments))
  assert [number for number, _ in found] == list(range(9))
  for number, members in found:
    expected = [k for k, start in enumerate(starts) if start // 1024 == number]
    assert members.tolist() == expected
  assert not list(predictor_lib._regions(segments[:0]))


def test_the_nms_gets_what_is_left_after_doubt(predictor, monkeypatch):
  seen = []
  select = keep_lib.select
  monkeypatch.setattr(
    keep_lib, 'select',
    lambda *given: seen.append(given[:2]) or select(*given),
  )  # fmt: skip
  for doubt, temper in ((0.0, 1.0), (10.0, 0.0), (10.0, 0.7)):
    config = predictor.config.copy_and_resolve_references()
    with config.unlocked():
      config.template.update(doubt_snippets=doubt, temper=temper)
      config.template.clear_weight = 0.0
    other = predictor_lib.Predictor(
      config, predictor.networks, predictor.params
    )
    list(other.propose(Source(), ['d']))
  segments, plain = seen[0]
  duration = np.diff(segments, axis=1)
  # A temper of 0 was never derived: it counts as 1.
  for (_, given), temper in zip(seen[1:], (1.0, 0.7)):
    np.testing.assert_allclose(given, plain ** (temper + 10 / duration))


def test_a_video_gets_the_same_proposals_alone_and_among_others(predictor):
  together = dict(predictor.propose(Source(), LENGTHS))
  ((_, alone),) = predictor.propose(Source(), ['d'])
  np.testing.assert_array_equal(
    alone.proposals.segments, together['d'].proposals.segments
  )


def test_pieces_give_what_the_whole_gives(predictor):
  whole = predictor.encode(Source(), 'c')[1]
  small = predictor_lib.Predictor(
    predictor.config, predictor.networks, predictor.params, piece=64
  )
  pieces = small.encode(Source(), 'c')[1]
  assert whole.shape == (2, 300, 10)
  np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_regions_and_call_sizes_do_not_matter(predictor, monkeypatch):
  pooled = predictor.encode(Source(), 'c')[1]
  rng = np.random.default_rng(0)
  start = rng.uniform(0, 250, 300)
  segments = np.stack([start, start + rng.uniform(2, 40, 300)], axis=1)
  whole = predictor._evaluate_region(pooled, segments)
  monkeypatch.setattr(predictor_lib, '_MAX_CANDIDATES', 128)
  parts = predictor._evaluate_region(pooled, segments)
  alone = predictor._evaluate_region(pooled, segments[7:8])
  for one, other, single in zip(whole, parts, alone):
    np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(one[7:8], single, atol=1e-3)


def test_regions_share_their_programs(predictor, monkeypatch):
  # A size of its own for the last region of each cost eight videos 7 s of 21.
  monkeypatch.setattr(predictor_lib, '_REGION', 64)
  monkeypatch.setattr(predictor_lib, '_MIN_CANDIDATES', 16)
  sizes, score = set(), predictor._score

  def recorded(params, stretch, proposals):
    sizes.add(stretch.shape[1])
    return score(params, stretch, proposals)

  monkeypatch.setattr(predictor, '_score', recorded)
  found = dict(predictor.propose(Source(), ['c', 'd']))
  assert len(found) == 2
  # 300 snippets end with a region of 44, 90 with one of 26.
  assert sizes == {128}


@pytest.mark.parametrize('method', ['soft', 'greedy'])
def test_other_nms(predictor, method):
  config = predictor.config.copy_and_resolve_references()
  config.nms.method = method
  config.nms.max_proposals = 7
  other = registry.predictor(config, predictor.params)
  found = other.video(Source(), 'd').proposals
  assert len(found.scores) == 7
  assert np.all(np.diff(found.scores) <= 0)
  config.nms.method = 'none'
  assert any('nms.method' in problem for problem in chain.problems(config))


@pytest.mark.parametrize(
  ('most', 'per_snippet', 'at_least', 'expected'),
  [(0, 0.2, 100, 100), (0, 0.5, 100, 150), (7, 0.5, 100, 7), (0, 0.0, 0, 420)],
)
def test_the_most_that_is_kept_of_a_video(
  predictor, most, per_snippet, at_least, expected
):
  # It was 0.2 a snippet or 400, whatever the config said.
  config = predictor.config.copy_and_resolve_references()
  config.nms.method = 'soft'
  config.nms.max_proposals = most
  config.template.most_per_snippet = per_snippet
  config.template.most_at_least = at_least
  config.template.keep_per_snippet = 1.4
  other = registry.predictor(config, predictor.params)
  found = other.video(Source(), 'c').proposals
  # 300 snippets; without a limit all that reach the NMS are kept.
  assert len(found.scores) == expected


def test_unreadable_video_is_reported_and_left_out(predictor):
  told = []
  found = dict(
    predictor.propose(
      Source(broken=('b',)), ['a', 'b'], lambda *what: told.append(what)
    )
  )
  assert list(found) == ['a']
  assert told == [('b', 'b is not finite')]
  with pytest.raises(ValueError, match='not finite'):
    list(predictor.propose(Source(broken=('b',)), ['b']))


@pytest.fixture(scope='module')
def labelled(predictor):
  config = predictor.config.copy_and_resolve_references()
  config.template.num_actions = 3
  config.template.label_names = ('dig', 'run', 'sit')
  empty = registry.predictor(config, {})
  params = networks.init_members(
    empty.networks.model, jax.random.key(0), 2, 32, 7
  )
  return empty.with_params({'joint': params})


def test_every_proposal_has_its_likeliest_label(labelled):
  for video_id, found in labelled.propose(Source(), ['a', 'd']):
    likely = found.labels.probabilities
    assert found.labels.names == ('dig', 'run', 'sit'), video_id
    assert likely.shape == (len(found.proposals.scores), 3)
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-5)
    assert found.proposals.labels == tuple(
      found.labels.names[k] for k in likely.argmax(axis=1)
    )
    np.testing.assert_array_equal(
      found.proposals.label_scores, likely.max(axis=1)
    )


def test_labels_are_those_of_the_segments_as_they_are_kept(labelled):
  ((_, found),) = labelled.propose(Source(), ['c'])
  pooled = labelled.encode(Source(), 'c')[1]
  segments = found.proposals.segments * Source.feature_fps
  alone = labelled.networks.label(
    labelled.params,
    jnp.asarray(pooled),
    jnp.asarray(segments, jnp.float32),
  )
  np.testing.assert_allclose(found.labels.probabilities, alone, atol=1e-4)


def test_labels_change_no_proposal(labelled):
  # The classifier's parameters left out: a run of before there were labels.
  config = labelled.config.copy_and_resolve_references()
  config.template.label_weight = 0.0
  without = registry.predictor(config, {})
  params = {k: v for k, v in labelled.params['joint'].items() if k != 'labels'}
  without = without.with_params({'joint': params})
  assert without.label_names == ()
  ((_, plain),) = without.propose(Source(), ['d'])
  ((_, found),) = labelled.propose(Source(), ['d'])
  assert plain.labels is None and plain.proposals.labels is None
  for one, other in zip(plain.proposals, found.proposals):
    np.testing.assert_array_equal(one, other)


def test_labels_are_calibrated_as_the_config_says(labelled):
  config = labelled.config.copy_and_resolve_references()
  config.calibration.labels = (1.0, 0.0, 2.0, 0.0)
  other = registry.predictor(config, labelled.params)
  ((_, before),) = labelled.propose(Source(), ['d'])
  ((_, after),) = other.propose(Source(), ['d'])
  odds = [
    np.log(x.labels.probabilities[:, 1] / x.labels.probabilities[:, 0])
    for x in (before, after)
  ]
  np.testing.assert_allclose(odds[1] - odds[0], 2.0, atol=1e-3)


def _watched(predictor, video_id='c'):
  seen = {}
  watched = predictor.watched(
    lambda video, step, spans: seen.setdefault((video, step), []).append(spans)
  )
  [(_, found)] = watched.propose(Source(), [video_id])
  return found, {key: np.concatenate(parts) for key, parts in seen.items()}


def test_what_steps_hand_on_is_told_in_seconds_and_changes_nothing(predictor):
  [(_, plain)] = predictor.propose(Source(), ['c'])
  found, seen = _watched(predictor)
  assert list(seen) == [('c', 'candidates'), ('c', 'scored')]
  np.testing.assert_array_equal(
    found.proposals.segments, plain.proposals.segments
  )
  duration = LENGTHS['c'] / 5.0
  # Two a snippet, of three durations in snippets at 5 a second.
  candidates = seen['c', 'candidates']
  assert len(candidates) == 2 * LENGTHS['c']
  np.testing.assert_allclose(
    np.unique((candidates[:, 1] - candidates[:, 0]).round(9)), [0.6, 1.6, 4.0]
  )
  scored = seen['c', 'scored']
  assert 0 <= scored.min() and scored.max() <= duration + 1e-9
  # What is kept was handed on, and no candidate is lost where all are kept.
  rows = {tuple(row) for row in scored.round(9).tolist()}
  kept = found.proposals.segments.round(9).tolist()
  assert {tuple(row) for row in kept} <= rows


def test_ceilings_are_the_grid_and_the_candidates_of_true_stages(predictor):
  instances = np.array([[6.0, 10.0], [30.0, 31.6]])
  pieces = {}
  for step, spans in predictor.ceilings(Source(), 'c', instances):
    pieces.setdefault(step, []).append(spans)
  assert list(pieces) == ['durations', 'perfect_stages']
  # Regions of 256 snippets: 300 make two.
  assert len(pieces['durations']) == 2
  grid = np.concatenate(pieces['durations'])
  assert len(np.unique(grid, axis=0)) == len(grid)
  [perfect] = pieces['perfect_stages']
  assert {tuple(row) for row in perfect.round(9).tolist()} <= {
    tuple(row) for row in grid.round(9).tolist()
  }
  # Both instances have a duration of the grid and begin on a snippet.
  assert segments.tiou(instances, perfect).max(axis=1) == pytest.approx(1)
