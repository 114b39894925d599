"""Grouped folds: who is in which, and whole small runs of them."""

import dataclasses
import json
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import prediction
from cmsn_jax.files import proposal_files
from cmsn_jax.runs import config_record, judged_lists, trained
from cmsn_jax.suppression import final_list
from cmsn_jax.training import (
  cross_validation,
  final_choices,
  fold_table,
  loop,
  setup,
)
from tests.chains.toy import recipe


def test_what_the_brackets_match_is_the_group():
  ids = ['m1_day1', 'm1_day2', 'm12_day1']
  groups = cross_validation.groups_of
  assert list(groups(ids, r'^(m\d+)_').values()) == ['m1', 'm1', 'm12']
  assert list(groups(ids, r'day\d').values()) == ['day1', 'day2', 'day1']
  assert groups(ids, r'(m\d+)_day(\d)')['m1_day2'] == 'm1-2'
  assert list(groups(ids, '').values()) == ids
  with pytest.raises(
    ValueError, match=r'matches 2 rec.* not 1: m12_day1; each'
  ):
    groups(ids, r'^m1_')
  with pytest.raises(ValueError, match='is no regular expression'):
    groups(ids, '(')


def test_groups_may_stand_in_a_table(tmp_path):
  path = tmp_path / 'groups.csv'
  path.write_text('video,animal\na,m1\nb,m2\nc,m1\nc,m1\n')
  groups = cross_validation.groups_of
  assert groups(['c', 'a'], f'{path}:animal') == {'c': 'm1', 'a': 'm1'}
  with pytest.raises(
    ValueError, match="no column 'cage', it has video, animal"
  ):
    groups(['a'], f'{path}:cage')
  with pytest.raises(ValueError, match="has no 'animal' of 1 recordings: d"):
    groups(['a', 'd'], f'{path}:animal')
  path.write_text('video,animal\na,m1\na,m2\n')
  with pytest.raises(ValueError, match="a in two groups, 'm1' and 'm2'"):
    groups(['a'], f'{path}:animal')


def test_folds_are_about_equally_long():
  groups = {'a1': 'a', 'a2': 'a', 'b': 'b', 'c': 'c', 'd': 'd'}
  seconds = {'a1': 50.0, 'a2': 50.0, 'b': 60.0, 'c': 30.0, 'd': 10.0}
  # a has 100 s, and so have the others together.
  assert cross_validation.deal(groups, seconds, 2) == (('a',), ('b', 'c', 'd'))
  for count in (1, 5):
    with pytest.raises(
      ValueError, match=f'--folds={count}: there are 4 groups'
    ):
      cross_validation.deal(groups, seconds, count)


@given(st.lists(st.integers(0, 9), min_size=10, max_size=30), st.integers(2, 5))
def test_every_group_is_in_one_fold_and_no_fold_is_empty(numbers, count):
  groups = {f'v{k}': f'g{n}' for k, n in enumerate(numbers)}
  names = set(groups.values())
  if len(names) < count:
    return
  folds = cross_validation.deal(groups, dict.fromkeys(groups, 10.0), count)
  assert sorted(g for fold in folds for g in fold) == sorted(names)
  assert all(folds) and len(folds) == count


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """Two folds over six recordings in three groups, and the final run."""
  workdir = tmp_path_factory.mktemp('folds')
  config = recipe.get_config()
  config.data.annotations = 'generated:8x60'
  config.calibration.fit = True
  chosen = cross_validation.plan(config, workdir, 2, r'_00[0-9]')
  folds = [
    cross_validation.run_fold(chosen, k, workdir, quiet=True) for k in range(2)
  ]
  whole = cross_validation.finish(chosen, folds, workdir, quiet=True)
  return workdir, chosen, folds, whole


def test_no_run_learned_from_what_it_proposes_for(done):
  workdir, chosen, folds, _ = done
  assert not set(folds[0].groups) & set(folds[1].groups)
  for fold in folds:
    own = workdir / f'fold_{fold.number}'
    document = json.loads((own / 'annotations.json').read_text())
    subsets = {k: v['subset'] for k, v in document['database'].items()}
    learned = {k for k, name in subsets.items() if name == 'training'}
    assert learned and not learned & set(fold.videos)
    assert learned | set(fold.videos) == set(chosen.videos)
    # Nor were its best parameters chosen on them: the last ones are kept.
    text = (own / 'metrics.jsonl').read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert not any('held_out' in key for line in lines for key in line)
    # Its statistics are of the training recordings alone.
    config = config_record.from_json(
      json.loads((own / 'config.json').read_text())
    )
    _, data = setup.open_run(config, own)
    assert set(data.train) == learned
    np.testing.assert_array_equal(
      trained.load(own).statistics.mean, data.source.statistics.mean
    )


def test_all_recordings_are_in_one_file_and_in_the_table(done):
  workdir, chosen, folds, whole = done
  found = proposal_files.read(workdir / 'proposals.json')
  assert list(found) == list(chosen.videos)
  text = fold_table.table(chosen.config, folds, whole)
  rows = [line.split('|')[1:-1] for line in text.splitlines()[3:]]
  assert [row[0].strip() for row in rows] == ['0', '1', 'mean', 'all']
  at = list(chosen.config.evaluation.ans).index(10)
  values = [fold.ar_at_an[10] for fold in folds]
  if None not in values:
    assert f'{np.mean(values):.3f} ±{np.std(values):.3f}' in rows[2][4 + at]


def test_the_final_run_has_learned_from_all_and_is_calibrated_on_them(done):
  workdir, chosen, folds, _ = done
  final = trained.load(workdir / 'final')
  document = json.loads((workdir / 'final' / 'annotations.json').read_text())
  assert {v['subset'] for v in document['database'].values()} == {'training'}
  kind, lists = judged_lists.read(workdir / 'final' / final.phase, final.step)
  assert kind == 'out-of-fold' and list(lists) == list(chosen.videos)
  given_ = tuple(final.config.calibration.given)
  raw = folds[0].found
  joined = proposal_files.read(workdir / 'proposals.json')
  for video_id, one in raw.items():
    scores = one.proposals.scores
    if given_:
      log_odds = np.log(scores / (1 - scores)) * given_[0] + given_[1]
      scores = 1 / (1 + np.exp(-log_odds))
    np.testing.assert_allclose(joined[video_id].scores, scores, atol=1e-9)
  point, where = final_choices.least_score(
    workdir / 'final', final, final_list.NO_LIMITS,
    stored=True, tiou=0.3,
  )  # fmt: skip
  assert where == f'{len(chosen.videos)} out-of-fold videos'
  assert 0 < point.f1 <= 1


def test_what_is_done_is_not_done_again(done, monkeypatch):
  workdir, chosen, folds, whole = done
  monkeypatch.setattr(cross_validation.held_out, 'predictions', None)
  again = [
    cross_validation.run_fold(chosen, k, workdir, quiet=True) for k in range(2)
  ]
  assert [f.ar_at_an for f in again] == [f.ar_at_an for f in folds]
  monkeypatch.setattr(loop.phase_run.PhaseRun, '_steps', None)
  assert cross_validation.finish(chosen, again, workdir, quiet=True) == whole


def test_folds_of_another_grouping_are_refused(done):
  workdir, chosen, _, _ = done
  other = chosen._replace(folds=(chosen.folds[0] + chosen.folds[1][:1], ()))
  with pytest.raises(ValueError, match='has other recordings .* old --folds'):
    cross_validation.read_fold(other, 0, workdir)
  assert cross_validation.read_fold(chosen, 7, workdir) is None


def test_bytes_that_a_spreadsheet_adds_and_capitals_are_no_matter(tmp_path):
  path = tmp_path / 'GROUPS.CSV'
  path.write_bytes('video,cage\r\na,1\r\nb,2\r\n'.encode('utf-8-sig'))
  groups = cross_validation.groups_of
  assert groups(['b', 'a'], f'{path}:cage') == {'b': '2', 'a': '1'}
  path.write_text('name,cage\na,1\n')
  with pytest.raises(ValueError, match="no column 'video', it has name, cage"):
    groups(['a'], f'{path}:cage')


def test_an_empty_cell_is_no_group(tmp_path):
  path = tmp_path / 'groups.csv'
  path.write_text('video,cage\na,1\nb,\n')
  with pytest.raises(ValueError, match="has no 'cage' of 1 recordings: b"):
    cross_validation.groups_of(['a', 'b'], f'{path}:cage')


def test_brackets_that_match_nothing_are_empty_in_the_group():
  found = cross_validation.groups_of(['m1', 'm2x'], r'(m\d)(x)?')
  assert found == {'m1': 'm1-', 'm2x': 'm2-x'}


def test_of_recordings_without_a_group_five_are_named():
  ids = [f'v{k}' for k in range(7)]
  with pytest.raises(ValueError) as error:
    cross_validation.groups_of(['m1', *reversed(ids)], r'^m')
  assert str(error.value) == (
    '--group=^m matches 1 recordings, but not 7: v0, v1, v2, v3, v4; each must '
    'be in a group'
  )


def test_too_many_folds_name_the_groups_that_there_are():
  few = {name: name for name in 'abc'}
  with pytest.raises(ValueError) as error:
    cross_validation.deal(few, dict.fromkeys(few, 1.0), 4)
  assert str(error.value) == (
    '--folds=4: there are 3 groups (a, b, c); give 2 to as many folds'
  )
  many = {name: name for name in 'abcdefg'}
  with pytest.raises(ValueError, match=r'7 groups \(a, b, c, d, e, \.\.\.\)'):
    cross_validation.deal(many, dict.fromkeys(many, 1.0), 8)


@given(
  st.lists(st.integers(1, 100), min_size=4, max_size=12), st.integers(2, 4)
)
def test_no_fold_is_longer_than_another_by_more_than_a_group(lengths, count):
  groups = {f'v{k}': f'g{k}' for k in range(len(lengths))}
  seconds = {f'v{k}': float(s) for k, s in enumerate(lengths)}
  folds = cross_validation.deal(groups, seconds, count)
  totals = [sum(seconds[f'v{g[1:]}'] for g in fold) for fold in folds]
  assert sum(totals) == sum(lengths)
  assert max(totals) - min(totals) <= max(lengths)


def _fold(number, groups, counts, ar):
  videos = {
    f'{number}_{k}': activitynet.Video(
      f'{number}_{k}', 'training', 60.0,
      np.stack([np.arange(n), np.arange(n) + 1.0], 1) * 1.0, ('x',) * n,
    )
    for k, n in enumerate(counts)
  }  # fmt: skip
  return cross_validation.Fold(number, groups, videos, {}, ar)


def _table_config():
  config = recipe.get_config()
  config.evaluation.protocol = 'thumos'
  config.evaluation.ans = (10, 50)
  return config


def test_the_table_by_hand():
  folds = [
    _fold(0, ('a', 'b'), (2, 1), {10: 0.2, 50: 0.5}),
    _fold(1, ('c',), (4,), {10: 0.4, 50: None}),
  ]
  text = fold_table.table(_table_config(), folds, {10: 0.3, 50: 0.45})
  assert text.splitlines() == [
    'thumos, out of fold (±: standard deviation over the folds)',
    '| fold | groups | recordings | instances | AR@10 | AR@50 |',
    '|---|---|---|---|---|---|',
    '| 0 | 2 | 2 | 3 | 0.200 | 0.500 |',
    '| 1 | 1 | 1 | 4 | 0.400 | - |',
    # A fold that has none is not a fold of zero.
    '| mean |  |  |  | 0.300 ±0.100 | 0.500 ±0.000 |',
    '| all |  |  |  | 0.300 | 0.450 |',
  ]


def test_of_one_fold_there_is_no_mean_and_of_no_instance_no_number():
  fold = _fold(3, ('a',), (0,), {})
  lines = fold_table.table(_table_config(), [fold]).splitlines()
  assert lines[3:] == ['| 3 | 1 | 1 | 0 | - | - |']
  both = fold_table.table(_table_config(), [fold, fold]).splitlines()
  assert both[-1] == '| mean |  |  |  | - | - |'


def test_labels_have_columns_of_their_own_where_there_are_any():
  fold = _fold(0, ('a',), (2,), {10: 0.2, 50: 0.5})
  with_labels = fold._replace(labels={'map': 0.25, 'label_accuracy': 0.5})
  lines = fold_table.table(_table_config(), [with_labels, fold]).splitlines()
  assert lines[1].endswith('| AR@50 | mAP | label accuracy |')
  assert lines[3].endswith('| 0.500 | 0.250 | 0.500 |')
  assert lines[4].endswith('| 0.500 | - | - |')


def test_a_plan_deals_all_recordings_and_trains_nothing(tmp_path):
  config = recipe.get_config()
  before = config.to_json()
  chosen = cross_validation.plan(config, tmp_path, 2, '')
  assert config.to_json() == before
  # What the config holds out takes part too.
  assert list(chosen.videos) == sorted(chosen.videos)
  assert chosen.groups == {name: name for name in chosen.videos}
  assert sorted(g for fold in chosen.folds for g in fold) == list(chosen.videos)
  subsets = {video.subset for video in chosen.videos.values()}
  assert len(subsets) > 1
  assert not list(tmp_path.glob('fold_*'))
  assert cross_validation.read_fold(chosen, 0, tmp_path) is None


def test_a_fold_that_holds_all_instances_is_named_before_any_is_trained(
  tmp_path,
):
  config = recipe.get_config()
  chosen = cross_validation.plan(config, tmp_path, 2, '')
  kept = min(chosen.videos)
  config.data.annotations = str(tmp_path / 'one.json')
  config.data.features = str(tmp_path / 'generated' / 'features')
  videos = {
    k: v
    if k == kept
    else dataclasses.replace(v, segments=np.zeros((0, 2)), labels=())
    for k, v in chosen.videos.items()
  }
  videos[kept] = dataclasses.replace(videos[kept], subset='training')
  activitynet.write(
    config.data.annotations, activitynet.Annotations('', videos)
  )
  with pytest.raises(ValueError, match=rf'of fold \d \(groups {kept}\)'):
    cross_validation.plan(config, tmp_path, 2, '')
  assert not list(tmp_path.glob('fold_*'))


def test_a_fold_is_judged_by_its_own_recordings_alone(tmp_path):
  chosen = cross_validation.plan(recipe.get_config(), tmp_path, 2, '')
  judged = [k for k, g in chosen.groups.items() if g in chosen.folds[0]]
  found = {
    k: proposal_files.Proposals(
      chosen.videos[k].segments, np.linspace(1, 0.5, len(v.segments))
    )
    for k, v in chosen.videos.items()
    if k in judged
  }
  path = tmp_path / 'fold_0' / 'proposals.json'
  proposal_files.write(path, found)
  fold = cross_validation.read_fold(chosen, 0, tmp_path)
  assert set(fold.videos) == set(judged) and fold.groups == chosen.folds[0]
  # The truth itself finds all of it, where as many may be proposed.
  most = max(len(v.segments) for v in fold.videos.values())
  enough = [an for an in chosen.config.evaluation.ans if an >= most]
  assert enough and all(
    fold.ar_at_an[an] == pytest.approx(1.0) for an in enough
  )
  # Without instances there is nothing to measure.
  none = {
    k: dataclasses.replace(v, segments=np.zeros((0, 2)), labels=())
    for k, v in chosen.videos.items()
  }
  bare = cross_validation.read_fold(chosen._replace(videos=none), 0, tmp_path)
  assert bare.ar_at_an == {}


def test_the_config_of_a_fold_names_what_it_holds_out(tmp_path):
  chosen = cross_validation.plan(recipe.get_config(), tmp_path, 2, '')
  judged = set(chosen.folds[1])
  config = cross_validation._config_of(chosen, tmp_path / 'fold_1', judged)
  assert (config.data.train_subset, config.data.eval_subset) == (
    'training', 'validation',
  )  # fmt: skip
  read = activitynet.read(config.data.annotations)
  assert {k for k, v in read.videos.items() if v.subset == 'validation'} == (
    judged
  )
  for name, video in read.videos.items():
    np.testing.assert_allclose(video.segments, chosen.videos[name].segments)
  # The final run holds out nothing.
  final = cross_validation._config_of(chosen, tmp_path / 'final', set())
  assert final.data.eval_subset == '' and final.data.holdout == 0.0


def test_labels_of_all_are_measured_before_they_are_calibrated(
  tmp_path, monkeypatch
):
  chosen = cross_validation.plan(recipe.get_config(), tmp_path, 2, '')
  names = sorted({x for v in chosen.videos.values() for x in v.labels})

  def wrong(video, sure):
    likely = np.full((len(video.labels), len(names) + 1), (1 - sure) / 9)
    likely[:, -1] = sure
    scores = np.linspace(1, 0.5, len(video.labels))
    return prediction.labelled(
      proposal_files.Proposals(video.segments, scores), None,
      prediction.LabelScores((*names, 'wrong'), likely),
    )  # fmt: skip

  def right(found, videos):
    labels = {k: np.array(v.labels, object) for k, v in videos.items()}
    return {
      k: prediction.labelled(
        p.proposals, None,
        prediction.LabelScores(
          tuple(names), np.stack([labels[k] == x for x in names], 1) * 1.0
        ),
      )
      for k, p in found.items()
    }, {}  # fmt: skip

  monkeypatch.setattr(cross_validation.fold_labels, 'calibrated', right)
  monkeypatch.setattr(
    cross_validation.setup, 'open_run', lambda config, own: (config, None)
  )
  monkeypatch.setattr(
    cross_validation.loop, 'train_and_evaluate', lambda *_, **__: None
  )
  kept = types.SimpleNamespace(meta={'phase': 'joint'}, step=1)
  monkeypatch.setattr(cross_validation.folder, 'read_best', lambda own: kept)
  monkeypatch.setattr(cross_validation.judged_lists, 'write', lambda *_: None)
  fold = cross_validation.Fold(
    0, (), chosen.videos,
    {k: wrong(v, 0.9) for k, v in chosen.videos.items()}, {}, {},
  )  # fmt: skip
  with chosen.config.unlocked():
    chosen.config.calibration.fit = True
  whole = cross_validation.finish(chosen, [fold], tmp_path)
  assert whole['label_accuracy'] == 0
