"""What is chosen of a finished run: NMS, calibration, least score."""

import json
import shutil

import numpy as np
import pytest

from cmsn_jax.files import proposal_files
from cmsn_jax.runs import folder, judged_lists, trained
from cmsn_jax.suppression import final_list
from cmsn_jax.training import final_choices, setup
from configs import custom, rat_social
from tests.chains.toy import recipe


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Trained, its lists of held-out videos kept."""
  workdir = tmp_path_factory.mktemp('run')
  config = recipe.get_config()
  config.data.annotations = 'generated:6x60'
  setup.run(config, workdir, quiet=True)
  return workdir


def test_settings_of_the_nms_are_parsed():
  config = rat_social.get_config()
  changes = final_choices.nms_changes
  assert changes('', config) == {}
  assert changes('greedy:greedy_tiou=.5,max_proposals=9', config) == {
    'nms.method': 'greedy', 'nms.greedy_tiou': 0.5, 'nms.max_proposals': 9,
  }  # fmt: skip
  for text, message in (
    ('gredy', 'nms.method must be one of'),
    ('greedy:tiou=.5', "no setting 'tiou'; there are .*greedy_tiou"),
    ('soft:sigma=x', "sigma must be a number, got 'x'"),
    ('soft:sigma=0', 'nms.sigma must be above 0'),
    ('threshold', "needs config.chain 'template'"),
  ):
    with pytest.raises(ValueError, match=message):
      changes(text, config)
  assert config.nms.method == 'soft'
  with pytest.raises(ValueError, match='this run has no NMS; --non_over'):
    changes('soft', recipe.get_config())


def test_the_kept_lists_are_what_the_run_proposes(run):
  found = final_choices.load(run)
  kind, kept = judged_lists.read(run / found.phase, found.step)
  _, data = setup.open_run(found.config, run)
  assert kind == 'held-out' and set(kept) == set(data.held_out)
  for video_id, prediction in found.predictor.propose(data.source, kept):
    np.testing.assert_allclose(
      kept[video_id].proposals.segments, prediction.proposals.segments
    )
    np.testing.assert_allclose(
      kept[video_id].proposals.scores, prediction.proposals.scores, atol=1e-6
    )
    np.testing.assert_array_equal(
      kept[video_id].instances, data.held_out[video_id].segments
    )


def test_the_least_score_is_the_same_from_lists_and_from_the_data(run):
  found = final_choices.load(run)
  for settings in (final_list.NO_LIMITS, final_list.Settings(None, True, 3.0)):
    of_lists, where = final_choices.least_score(
      run, found, settings, stored=True, tiou=0.3
    )
    of_data, _ = final_choices.least_score(
      run, found, settings, stored=False, tiou=0.3
    )
    assert 'held-out videos' in where
    assert of_lists == pytest.approx(of_data, abs=1e-6)
    assert 0 < of_lists.f1 <= 1


def test_without_videos_to_choose_on_it_says_what_to_do(run, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(run, workdir)
  found = trained.load(workdir)
  path = workdir / found.phase / 'held_out.json'
  document = json.loads(path.read_text())
  for video in document['videos'].values():
    video['instances'] = []
  path.write_text(json.dumps(document))
  with pytest.raises(ValueError, match=r'no proposal reaches tIoU 0\.5'):
    final_choices.least_score(workdir, found, final_list.NO_LIMITS, stored=True)
  config = found.config.copy_and_resolve_references()
  config.data.annotations = str(tmp_path / 'gone.json')
  with pytest.raises(
    ValueError, match='data cannot be read again .*is empty; give'
  ):
    final_choices.least_score(
      workdir,
      found._replace(config=config.lock()),
      final_list.NO_LIMITS,
      stored=False,
    )
  config.data.annotations = 'generated:6x60'
  config.data.holdout, config.data.eval_subset = 0.0, ''
  with pytest.raises(ValueError, match='no held-out videos, on which a score'):
    final_choices.least_score(
      workdir,
      found._replace(config=config.lock()),
      final_list.NO_LIMITS,
      stored=False,
    )


@pytest.mark.slow
def test_another_nms_on_a_finished_run_has_an_effect(tmp_path):
  config = custom.get_config('smoke')
  config.data.holdout = 0.4
  config.template.steps = 60
  setup.run(config, tmp_path, quiet=True)
  plain = final_choices.load(tmp_path)
  other = final_choices.load(tmp_path, nms='greedy:greedy_tiou=.1')
  assert other.identity != plain.identity
  _, data = setup.open_run(plain.config, tmp_path)
  counts = [
    sum(
      len(found.proposals.scores)
      for _, found in one.predictor.propose(data.source, data.held_out)
    )
    for one in (plain, other)
  ]
  assert 0 < counts[1] < counts[0] / 2
  # What was calibrated is calibrated again, for the lists as they are now.
  if 'score_slope' in folder.read_best(tmp_path).meta['metrics']:
    assert plain.config.calibration.given
    assert other.config.calibration.given != plain.config.calibration.given


def test_values_become_what_the_config_holds():
  config = rat_social.get_config()
  found = final_choices.nms_changes('soft:sigma=1,max_proposals=7,', config)
  assert found == {
    'nms.method': 'soft', 'nms.sigma': 1.0, 'nms.max_proposals': 7,
  }  # fmt: skip
  assert type(found['nms.sigma']) is float
  assert type(found['nms.max_proposals']) is int
  with pytest.raises(ValueError, match='max_proposals must be a number, got'):
    final_choices.nms_changes('soft:max_proposals=7.5', config)
  with pytest.raises(ValueError, match="no setting 'method'; there are"):
    final_choices.nms_changes('soft:method=greedy', config)


def test_without_another_nms_the_run_is_as_it_was(run):
  assert final_choices.load(run).identity == trained.load(run).identity
  assert final_choices.load(run, 'only').phase == 'only'
  with pytest.raises(ValueError, match="chain 'tests.chains.toy.chain' of "):
    final_choices.load(run, nms='soft')


def _lists(workdir, *videos):
  """Keeps lists of (segments, scores, instances) in videos of a minute."""
  judged_lists.write(
    workdir / 'only', 4, 'held-out',
    {
      f'v{k}': judged_lists.Judged(
        proposal_files.Proposals(
          np.array(segments, np.float64).reshape(-1, 2),
          np.array(scores, np.float64),
        ),
        np.array(instances, np.float64).reshape(-1, 2),
        60.0,
      )
      for k, (segments, scores, instances) in enumerate(videos)
    },
  )  # fmt: skip
  return trained.Trained(None, None, {}, None, 'x', 'only', 4)


def test_the_least_score_by_hand(tmp_path):
  # Best first over both: right, right, wrong, right (a second on 0-10: wrong).
  kept = _lists(
    tmp_path,
    ([[0, 10], [40, 50], [1, 10]], [0.9, 0.5, 0.2], [[0, 10]]),
    ([[20, 30]], [0.8], [[20, 31]]),
  )
  point, where = final_choices.least_score(
    tmp_path, kept, final_list.NO_LIMITS, stored=True
  )
  assert where == '2 held-out videos'
  assert point.min_score == pytest.approx((0.8 + 0.5) / 2)
  assert (point.precision, point.recall, point.f1) == (1.0, 1.0, 1.0)
  assert (point.kept, point.instances, point.tiou) == (2, 2, 0.5)
  # With tIoU 10/11 out of reach one of two is right.
  point, _ = final_choices.least_score(
    tmp_path, kept, final_list.NO_LIMITS, stored=True, tiou=0.95
  )
  assert (point.kept, point.recall) == (1, 0.5)
  assert point.f1 == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_other_limits_of_the_list_count_in_the_choice(tmp_path):
  # The wrong one, better, overlaps the right one.
  kept = _lists(tmp_path, ([[0, 30], [0, 10]], [0.9, 0.6], [[0, 10]]))
  point, _ = final_choices.least_score(
    tmp_path, kept, final_list.NO_LIMITS, stored=True
  )
  assert (point.kept, point.recall) == (2, 1.0)
  with pytest.raises(ValueError, match='or a lower --best_tiou'):
    final_choices.least_score(
      tmp_path, kept, final_list.Settings(non_overlapping=True), stored=True
    )
  # One a minute is the better one, too.
  with pytest.raises(ValueError, match='no proposal reaches'):
    final_choices.least_score(
      tmp_path, kept, final_list.Settings(max_per_minute=1.0), stored=True
    )


def test_a_run_that_judged_no_video_says_what_holds_some_out(tmp_path):
  kept = _lists(tmp_path)
  with pytest.raises(ValueError) as error:
    final_choices.least_score(tmp_path, kept, final_list.NO_LIMITS, stored=True)
  for remedy in ('--min_score', 'data.holdout=0.2', 'launch.cross_validate'):
    assert remedy in str(error.value)


def test_what_is_proposed_where_nobody_looked_is_not_wrong(tmp_path):
  rows = np.array([[30.0, 40], [0, 10]]), np.array([0.9, 0.6])
  video = judged_lists.Judged(
    proposal_files.Proposals(*rows), np.array([[0.0, 10]]), 60.0
  )
  run = trained.Trained(None, None, {}, None, 'x', 'only', 4)

  def precision(**changes):
    judged_lists.write(
      tmp_path / 'only', 4, 'held-out', {'v': video._replace(**changes)}
    )
    point, _ = final_choices.least_score(
      tmp_path, run, final_list.NO_LIMITS, stored=True
    )
    return point.precision

  assert precision() == 0.5
  assert precision(unknown=np.array([[20.0, 60]])) == 1.0
