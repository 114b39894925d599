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
