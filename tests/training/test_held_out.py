"""What a run is judged by, against plain counting."""

import dataclasses

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import prediction
from cmsn_jax.data import training_data
from cmsn_jax.evaluation import metrics
from cmsn_jax.files import proposal_files
from cmsn_jax.stages import targets
from cmsn_jax.suppression import calibration
from cmsn_jax.training import held_out

_FPS = 5.0
_SETTINGS = dict(protocol='top_k', ans=(1, 10), best_ans=(1, 10))


def _video(name, rows, duration=20.0):
  segments = np.array(rows, np.float64).reshape(-1, 2)
  return activitynet.Video(
    name, 'validation', duration, segments, ('x',) * len(rows)
  )


class _Source:
  feature_fps = _FPS

  def __init__(self, videos):
    self._videos = videos

  def num_snippets(self, video_id):
    return round(self._videos[video_id].duration_sec * _FPS)


class _Predictor(prediction.Predictor):
  """Says what it was told to."""

  def __init__(self, found):
    self._found = found
    self.asked = []

  def propose(self, source, video_ids, on_error=None):
    for video_id in video_ids:
      self.asked.append(video_id)
      yield video_id, self._found[video_id]


def _data(videos):
  by_id = {v.video_id: v for v in videos}
  return training_data.TrainingData(
    activitynet.Annotations('made', by_id), {}, by_id, _Source(by_id)
  )


def _prediction(segments, scores, probabilities=None):
  return prediction.Prediction(
    proposal_files.Proposals(
      np.array(segments, np.float64).reshape(-1, 2),
      np.array(scores, np.float64),
    ),
    probabilities,
  )


def _judged(videos, found, **settings):
  return held_out.evaluate(
    _data(videos), _Predictor(found), **{**_SETTINGS, **settings}
  )


def test_without_held_out_videos_there_is_nothing():
  found = _judged([], {})
  assert found is held_out.NOTHING and found.metrics == {}


def test_ar_is_that_of_the_metric_and_the_best_its_mean():
  videos = [_video('a', [(2, 6), (10, 12)]), _video('b', [(1, 4)])]
  found = {
    'a': _prediction([(2, 6), (9, 12), (0, 1)], [0.9, 0.5, 0.1]),
    'b': _prediction([(1, 5)], [0.4]),
  }
  result = _judged(videos, found)
  expected = metrics.evaluate(
    {k: (p.proposals.segments, p.proposals.scores) for k, p in found.items()},
    {v.video_id: v.segments for v in videos},
    protocol='top_k',
    ans=(1, 10),
  )
  assert result.metrics['ar_1'] == expected.ar_at_an[1]
  assert result.metrics['ar_10'] == expected.ar_at_an[10]
  assert result.metrics['best_metric'] == pytest.approx(
    (expected.ar_at_an[1] + expected.ar_at_an[10]) / 2
  )
  assert result.metrics['proposals_per_video'] == 2.0
  assert result.example[0].video_id == 'a'


def test_a_chain_without_stages_has_no_accuracy():
  result = _judged([_video('a', [(2, 6)])], {'a': _prediction([(2, 6)], [1.0])})
  assert not any(name.startswith('stage_') for name in result.metrics)
  assert len(result.margins) == 0 and result.metrics['ar_1'] == 1.0


def test_accuracy_by_stage_is_counted():
  video = _video('a', [(6, 12)])
  labels = targets.stage_labels(video.segments, 100, _FPS)
  # Everything right but the Confirm snippets, which are taken for Start.
  told = np.where(labels == 3, 2, labels)
  probabilities = np.full((100, 6), 0.02, np.float32)
  probabilities[np.arange(100), told] = 0.9
  result = _judged([video], {'a': _prediction([(6, 12)], [1.0], probabilities)})
  wrong = int(np.sum(labels == 3))
  assert result.metrics['stage_accuracy'] == pytest.approx(1 - wrong / 100)
  assert result.metrics['stage_recall_confirm'] == 0.0
  assert result.metrics['stage_recall_start'] == 1.0
  # Log odds of the true stage against the best other one.
  right = np.log(0.9) - np.log(0.02)
  np.testing.assert_allclose(result.margins[labels != 3], right, rtol=1e-5)
  np.testing.assert_allclose(result.margins[labels == 3], -right, rtol=1e-5)


def test_the_label_rule_is_that_of_the_run():
  video = _video('a', [(6.1, 12.3)])
  probabilities = np.full((100, 6), 1 / 6, np.float32)
  found = {'a': _prediction([(6, 12)], [1.0], probabilities)}
  labels = targets.stage_labels(video.segments, 100, _FPS, rule='majority')
  background = float(np.mean(labels == 0))
  result = _judged([video], found, label_rule='majority')
  assert result.metrics['stage_accuracy'] == pytest.approx(background)


def test_no_instance_no_recall_and_a_word_about_it(caplog):
  result = _judged(
    [_video('a', [])], {'a': _prediction([(2, 6)], [1.0])}, calibrate=True
  )
  assert 'ar_1' not in result.metrics and 'best_metric' not in result.metrics
  assert 'none of the 1 held-out videos has an instance' in caplog.text


def test_scores_are_calibrated_only_if_asked():
  rng = np.random.default_rng(0)
  videos, found = [], {}
  for k in range(30):
    videos.append(_video(f'v{k}', [(5, 10)]))
    good = rng.uniform() < 0.6
    rows = [(5, 10)] if good else [(0, 2)]
    score = 0.95 if good else rng.choice([0.95, 0.6])
    found[f'v{k}'] = _prediction([*rows, (12, 14)], [score, 0.3])
  assert 'score_slope' not in _judged(videos, found).metrics
  result = _judged(videos, found, calibrate=True)
  expected = calibration.fit(
    (
      found[v.video_id].proposals.scores,
      calibration.gains(found[v.video_id].proposals.segments, v.segments),
    )
    for v in videos
  )
  assert result.metrics['score_slope'] == pytest.approx(expected.slope)
  assert result.metrics['score_offset'] == pytest.approx(expected.offset)


def test_too_few_matches_leave_the_scores_alone(caplog):
  result = _judged(
    [_video('a', [(2, 6)])], {'a': _prediction([(2, 6)], [0.5])}, calibrate=True
  )
  assert 'score_slope' not in result.metrics
  assert 'scores are not calibrated' in caplog.text


def test_fewer_proposals_than_an_an_asks_for_all_count():
  result = _judged(
    [_video('a', [(2, 6)])], {'a': _prediction([(2, 6)], [0.5])},
    protocol='anet', ans=(1, 100), best_ans=(100,),
  )  # fmt: skip
  assert result.metrics['ar_100'] == pytest.approx(result.metrics['ar_1'])


def _with_labels(segments, scores, names, likely):
  plain = _prediction(segments, scores)
  return prediction.labelled(
    plain.proposals, None, prediction.LabelScores(names, np.array(likely))
  )


def _labelled_videos():
  rows = np.array([[2.0, 6.0], [10.0, 12.0]])
  return {
    'a': activitynet.Video('a', 'validation', 20.0, rows, ('run', 'dig')),
    'b': activitynet.Video('b', 'validation', 20.0, rows[:1], ('dig',)),
  }


def test_labels_are_judged_by_hand():
  names = 'dig', 'run'
  found = {
    # Right; close to the second instance, but of the wrong label.
    'a': _with_labels(
      [(2, 6), (10, 12)], [0.9, 0.5], names, [[0.01, 0.99], [0.02, 0.98]]
    ),
    'b': _with_labels([(2, 6)], [0.8], names, [[1.0, 0.0]]),
  }
  measured = held_out.labels_judged(_labelled_videos(), found)
  # run: found first. dig: one of two, by the best of its detections.
  assert measured == {
    'map': pytest.approx(0.75), 'label_accuracy': pytest.approx(2 / 3)
  }  # fmt: skip
  plain = {k: p._replace(labels=None) for k, p in found.items()}
  assert held_out.labels_judged(_labelled_videos(), plain) == {}


def test_ambiguous_instances_are_neither_right_nor_wrong():
  names = 'dig', 'run'
  rows = np.array([[2.0, 6.0], [10.0, 12.0]])
  labels = 'run', 'Ambiguous'
  videos = {'a': activitynet.Video('a', 'validation', 20.0, rows, labels)}
  likely = [[0.0, 1.0], [0.0, 1.0]]
  found = {'a': _with_labels([(2, 6), (10, 12)], [0.5, 0.9], names, likely)}
  assert held_out.labels_judged(videos, found)['map'] == 1
  only = activitynet.Video('a', 'validation', 20.0, rows, ('Ambiguous',) * 2)
  assert held_out.labels_judged({'a': only}, found) == {}


def test_labels_are_calibrated_on_the_closest_proposals():
  names = 'dig', 'run'
  rows = np.stack([np.arange(12) * 10.0, np.arange(12) * 10.0 + 4], axis=1)
  labels = ('dig',) * 9 + ('run',) * 3
  videos = {'a': activitynet.Video('a', 'validation', 130.0, rows, labels)}
  found = {
    'a': _with_labels(rows, np.linspace(1, 0.5, 12), names, [[0.5, 0.5]] * 12)
  }
  slope, dig, run = held_out.fit_label_calibration(videos, found)
  assert slope == pytest.approx(1.0) and dig > 0 > run
  # Too few instances, or none of a label that is known, say nothing.
  few = {'a': found['a'].take(np.arange(5))}
  assert held_out.fit_label_calibration(videos, few) == ()
  other = {
    'a': activitynet.Video('a', 'validation', 130.0, rows, ('sit',) * 12)
  }
  assert held_out.fit_label_calibration(other, found) == ()


def test_where_nobody_looked_counts_neither_for_nor_against():
  video = _video('v', [[2, 4]])
  known = dataclasses.replace(video, ignore=np.array([[10.0, 20.0]]))
  # The best one lies where nobody looked.
  rows, scores = [[12, 14], [2, 4]], [0.9, 0.8]
  probabilities = np.full((100, 6), 0.1)
  probabilities[:, 0] = 0.5  # Background throughout,
  probabilities[50:, 3] = 0.9  # and in the second half an action.
  found = _prediction(rows, scores, probabilities)

  def judge(one):
    return held_out.evaluate(
      _data([one]), _Predictor({'v': found}), **_SETTINGS
    )

  plain, judged = judge(video), judge(known)
  assert plain.metrics['ar_1'] == 0.0 and judged.metrics['ar_1'] == 1.0
  # What launch.compare and launch.ablate measure is the same.
  for one, expected in ((video, 0.0), (known, 1.0)):
    measured = held_out.recall(
      {'v': one}, {'v': found}, protocol='top_k', ans=(1,)
    )
    assert measured.ar_at_an[1] == expected
  labels = targets.stage_labels(video.segments, 100, _FPS)
  assert judged.metrics['stage_accuracy'] == np.mean(labels[:50] == 0)
  assert len(judged.margins) == 50 and len(plain.margins) == 100
  np.testing.assert_array_equal(judged.lists['v'].unknown, [[10, 20]])
  gained = held_out.scores_and_gains(found.proposals, known)
  np.testing.assert_array_equal(gained[0], [0.8])
  np.testing.assert_allclose(gained[1], [1.0])
