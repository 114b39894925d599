import dataclasses
import logging

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.data import opening, training_data
from cmsn_jax.settings import default


def known(**subsets):
  """Annotations of videos in subsets, one instance each."""
  videos = {
    name: annotations_lib.Video(
      video_id=name,
      subset=subset,
      duration_sec=20.0,
      segments=np.array([[2.0, 6.0]]),
      labels=('x',),
    )
    for name, subset in subsets.items()
  }
  return annotations_lib.Annotations('', videos)


TRAINING_ONLY = known(a='training', b='training', c='training')


def test_without_a_holdout_all_videos_train_and_a_line_says_so(caplog):
  with caplog.at_level(logging.INFO, logger='absl'):
    train, held_out = training_data.split(
      TRAINING_ONLY, 'training', 'validation', 0.0
    )
  assert (sorted(train), held_out) == (['a', 'b', 'c'], {})
  assert 'nothing is held out: all 3' in caplog.text


def test_a_holdout_takes_training_videos(caplog):
  with caplog.at_level(logging.INFO, logger='absl'):
    train, held_out = training_data.split(
      TRAINING_ONLY, 'training', 'validation', 0.34
    )
  # Every third, beginning in the middle of the first three.
  assert (sorted(train), list(held_out)) == (['a', 'c'], ['b'])
  assert 'nothing is held out' not in caplog.text


@pytest.mark.parametrize(
  ('train', 'evaluated', 'message'),
  [
    (
      'training',
      'validaton',
      "data.eval_subset.*mean 'validation'.*3 training",
    ),
    ('training', 'testing', "data.eval_subset: no video in subset 'testing'"),
    ('trainig', 'validation', "data.train_subset.*did you mean 'training'"),
  ],
)
def test_a_subset_without_videos_is_named_with_its_key(
  train, evaluated, message
):
  with pytest.raises(ValueError, match=message):
    training_data.split(TRAINING_ONLY, train, evaluated, 0.2)


def test_names_that_nearly_match_those_of_the_features_are_pointed_out(
  tmp_path,
):
  annotations = known(Rat_1='training')
  np.save(tmp_path / 'rat_01.npy', np.zeros((100, 4), np.float32))
  annotations_lib.write(tmp_path / 'a.json', annotations)
  config = default.get_config()
  config.data.annotations = str(tmp_path / 'a.json')
  config.data.features = str(tmp_path)
  config.data.feature_fps = 5.0
  with pytest.raises(
    ValueError, match='Rat_1 looks like rat_01.*--match=loose'
  ):
    opening.open_data(config, tmp_path)


def _with_features(tmp_path, **data):
  """A config of four recordings of 20 s at 5 rows a second, with gaps."""
  (tmp_path / 'features').mkdir()
  rng = np.random.default_rng(0)
  for name in 'abcd':
    rows = rng.normal(size=(100, 3)).astype(np.float32)
    if name == 'b':
      rows[10:12, 0] = rows[50:75, :2] = np.nan
    np.save(tmp_path / 'features' / f'{name}.npy', rows)
  path = tmp_path / 'annotations.json'
  annotations_lib.write(path, known(**dict.fromkeys('abcd', 'training')))
  config = default.get_config()
  config.data.annotations = str(path)
  config.data.features = str(tmp_path / 'features')
  config.data.update({'feature_fps': 5.0, 'holdout': 0.0, **data})
  return config


def test_gaps_in_training_features_are_said_once_and_teach_nothing(
  tmp_path, caplog
):
  config = _with_features(tmp_path, fill_gaps_sec=0.5)
  with caplog.at_level(logging.WARNING, logger='absl'):
    data = opening.open_data(config, tmp_path)
  assert caplog.text.count('gaps (NaN) of up to 0.5 s') == 1
  assert 'b: column 0: 1 (up to 5 s), column 1: 1 (up to 5 s)' in caplog.text
  assert np.isfinite(data.source.read('b')).all()
  # Two of three features are missing from row 50 to 75.
  np.testing.assert_allclose(data.grid_unknown('b'), [[10, 15]])
  assert data.unknown_snippets('b').nonzero()[0].tolist() == [*range(50, 75)]
  assert not data.unknown_snippets('a').any()


def test_gaps_are_an_error_without_the_setting(tmp_path):
  with pytest.raises(ValueError, match='b: found nan in row 10, column 0'):
    opening.open_data(_with_features(tmp_path), tmp_path)


def test_ignored_spans_in_the_time_of_the_grid(tmp_path):
  config = _with_features(tmp_path, fill_gaps_sec=0.5)
  read = annotations_lib.read(config.data.annotations)
  videos = {
    # The instance at 2 to 6 s counts, and was looked at.
    'a': dataclasses.replace(read.videos['a'], ignore=np.array([[5.0, 9.0]])),
    'b': dataclasses.replace(read.videos['b'], ignore=np.array([[14.0, 20.0]])),
  }
  annotations_lib.write(
    config.data.annotations,
    dataclasses.replace(read, videos={**read.videos, **videos}),
  )
  data = opening.open_data(config, tmp_path)
  np.testing.assert_allclose(data.grid_unknown('a'), [[6, 9]])
  # Missing features and ignored spans together.
  np.testing.assert_allclose(data.grid_unknown('b'), [[10, 20]])
  windows = training_data.training_windows(data, 10, 10, False)
  starts = [w.start for w in windows if w.video_id == 'b']
  assert starts == [0, 10, 20, 30, 40]


def test_a_share_is_of_instances_in_whole_videos():
  videos = {
    name: annotations_lib.Video(
      video_id=name,
      subset='training',
      duration_sec=100.0,
      segments=np.tile([[2.0, 6.0]], (number, 1)),
      labels=('x',) * number,
    )
    for name, number in {'d': 10, 'c': 0, 'b': 20, 'a': 30, 'e': 40}.items()
  }
  assert training_data.share_of(videos, 1.0, 0) is videos
  kept = set()
  for seed in range(8):
    found = training_data.share_of(videos, 0.4, seed)
    names = list(found)
    assert names == [name for name in videos if name in found]
    held = sum(len(video.segments) for video in found.values())
    assert 40 <= held
    # Without the one drawn last there were too few.
    assert any(held - len(v.segments) < 40 for v in found.values())
    backwards = dict(reversed(videos.items()))
    assert set(training_data.share_of(backwards, 0.4, seed)) == set(found)
    kept.add(tuple(names))
    one = training_data.share_of(videos, 0.0, seed)
    assert sum(len(video.segments) for video in one.values()) > 0
  assert len(kept) > 2
