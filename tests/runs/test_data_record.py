"""Data that changed under the same path, and data that only moved."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from cmsn_jax.runs import config_record, data_record, folder
from cmsn_jax.training import setup
from tests.chains.toy import recipe


@pytest.fixture
def given(tmp_path):
  """(a config of features and annotations in a folder, that folder)."""
  place = tmp_path / 'data'
  _, _ = setup.open_run(recipe.get_config(), tmp_path / 'make')
  shutil.copytree(tmp_path / 'make' / 'generated', place)
  return _config(place), place


def _config(place):
  config = recipe.get_config()
  config.data.annotations = str(place / 'annotations.json')
  config.data.features = str(place / 'features')
  return config


def _change(place, change):
  path = place / 'annotations.json'
  document = json.loads(path.read_text())
  change(document['database'])
  path.write_text(json.dumps(document))


def _training(database):
  return next(k for k, v in database.items() if v['subset'] == 'training')


def test_the_same_data_go_on(given, tmp_path):
  config, _ = given
  first = setup.run(config, tmp_path / 'run', quiet=True)
  again = setup.run(config, tmp_path / 'run', quiet=True)
  assert again.metrics == first.metrics


def test_data_that_only_moved_go_on(given, tmp_path):
  config, place = given
  setup.run(config, tmp_path / 'run', quiet=True)
  moved = place.rename(tmp_path / 'elsewhere')
  with pytest.warns(config_record.ConfigChangedWarning, match='elsewhere'):
    setup.run(_config(moved), tmp_path / 'run', quiet=True)


def test_other_labels_are_named_with_what_can_be_done(given, tmp_path):
  config, place = given
  setup.run(config, tmp_path / 'run', quiet=True)

  def change(database):
    name = _training(database)
    database[name]['annotations'][0]['segment'][1] += 0.5

  _change(place, change)
  with pytest.raises(config_record.RunFolderError) as error:
    setup.run(config, tmp_path / 'run', quiet=True)
  text = str(error.value)
  assert '1 training recordings with other annotations (video_0' in text
  assert '--init_from=' in text and 'another --workdir' in text
  # What was trained is still there.
  assert folder.read_best(tmp_path / 'run').step > 0


def test_new_and_missing_recordings_are_counted(given, tmp_path):
  config, place = given
  setup.run(config, tmp_path / 'run', quiet=True)

  def change(database):
    name = _training(database)
    database['new_one'] = database.pop(name)
    features = place / 'features'
    (features / f'{name}.npy').rename(features / 'new_one.npy')

  _change(place, change)
  with pytest.raises(config_record.RunFolderError) as error:
    setup.run(config, tmp_path / 'run', quiet=True)
  assert '1 training recordings new (new_one)' in str(error.value)
  assert '1 training recordings missing (video_0' in str(error.value)


def test_a_run_that_never_began_takes_any_data(given, tmp_path):
  config, place = given
  done, data = setup.open_run(config, tmp_path)
  assert data_record.claim(tmp_path, data) is False

  def change(database):
    database[_training(database)]['annotations'].pop()

  _change(place, change)
  _, other = setup.open_run(config, tmp_path)
  assert data_record.claim(tmp_path, other) is False


def test_a_run_from_before_it_was_kept_goes_on(given, tmp_path):
  config, _ = given
  setup.run(config, tmp_path / 'run', quiet=True)
  (tmp_path / 'run' / 'data.json').unlink()
  setup.run(config, tmp_path / 'run', quiet=True)
  assert (tmp_path / 'run' / 'data.json').is_file()


def test_differences_by_hand(given, tmp_path):
  config, _ = given
  _, data = setup.open_run(config, tmp_path)
  one = data_record.describe(data)
  assert data_record.differences(one, one) == []
  other = json.loads(json.dumps(one))
  other['feature_fps'] = 10.0
  other['snippet_shape'] = [3]
  name = next(iter(other['held_out']))
  other['held_out'][name][1] += 1
  assert data_record.differences(one, other) == [
    f'snippets a second: {one["feature_fps"]} -> 10.0',
    f'numbers a snippet: {one["snippet_shape"][0]} -> 3',
    f'1 held-out recordings of another length ({name})',
  ]


def test_the_hash_is_of_segments_and_labels(given, tmp_path):
  config, _ = given
  _, data = setup.open_run(config, tmp_path)
  name = next(iter(data.train))
  for changes in (
    {'labels': tuple('other' for _ in data.train[name].labels)},
    {'segments': data.train[name].segments + np.array([0.0, 0.01])},
  ):
    video = dataclasses.replace(data.train[name], **changes)
    other = dataclasses.replace(data, train={**data.train, name: video})
    (found,) = data_record.differences(
      data_record.describe(data), data_record.describe(other)
    )
    assert found.endswith(f'with other annotations ({name})')
