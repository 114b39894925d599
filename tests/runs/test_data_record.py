"""Data that changed under the same path, and data that only moved."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given as given_
from hypothesis import strategies as st

from cmsn_jax.annotations import activitynet
from cmsn_jax.data import training_data
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


def _record(fps=5.0, shape=(3,), train=None, held_out=None):
  """What `describe` gives, written by hand."""
  return {
    'feature_fps': fps,
    'snippet_shape': list(shape),
    'train': train or {},
    'held_out': held_out or {},
  }


def test_of_many_recordings_three_are_shown_and_the_rest_counted():
  many = {f'v{k}': ['aa', 9] for k in (4, 2, 0, 3, 1)}
  assert data_record.differences(_record(), _record(train=many)) == [
    '5 training recordings new (v0, v1, v2 and 2 more)'
  ]
  three = {name: many[name] for name in ('v2', 'v1', 'v0')}
  assert data_record.differences(_record(held_out=three), _record()) == [
    '3 held-out recordings missing (v0, v1, v2)'
  ]


@pytest.mark.parametrize(
  ('factor', 'added', 'named'),
  [(1.0, 0.0, ''), (1.0, 1e-4, ''), (1000.0, 0.0, '0, 1'), (1.0, 0.5, '0')],
)
def test_features_that_were_computed_anew_are_named(factor, added, named):
  # 1,000,000 is a feature far from zero: half a deviation of it is rounding.
  mean, std = np.array([[2.0, 1e6], [0.5, 4.0]])
  before = _record() | {'values': [mean.tolist(), std.tolist()]}
  now = [(factor * mean + added * std).tolist(), (factor * std).tolist()]
  found = data_record.differences(before, _record() | {'values': now})
  count = len(named.split(','))
  assert found == (
    [f'{count} of 2 features have other values (columns {named} from 0)']
    if named
    else []
  )
  # Of a run from before they were kept nothing is known.
  assert data_record.differences(_record(), before) == []


def test_new_recordings_are_not_taken_for_other_values():
  old = _record(train={'a': ['x', 8]}) | {'values': [[0.0], [1.0]]}
  new = _record(train={'a': ['x', 8], 'b': ['x', 8]})
  (found,) = data_record.differences(old, new | {'values': [[9.0], [1.0]]})
  assert found == '1 training recordings new (b)'


def test_another_beginning_of_the_first_snippet_is_named():
  old, new = ({**_record(), 'offset_sec': x} for x in (0.0, 0.32))
  assert data_record.differences(old, new) == [
    'seconds before the first snippet: 0 -> 0.32'
  ]


def test_a_recording_that_changed_sides_is_gone_here_and_new_there():
  one = {'a': ['aa', 9]}
  assert data_record.differences(_record(train=one), _record(held_out=one)) == [
    '1 training recordings missing (a)',
    '1 held-out recordings new (a)',
  ]


def test_labels_and_length_of_one_recording_are_two_changes():
  assert data_record.differences(
    _record(train={'a': ['aa', 9]}), _record(train={'a': ['bb', 8]})
  ) == [
    '1 training recordings with other annotations (a)',
    '1 training recordings of another length (a)',
  ]


def test_runs_of_frames_are_named_by_all_their_sides():
  assert data_record.differences(
    _record(shape=(16, 112, 112, 3)), _record(shape=(8, 112, 112, 3))
  ) == ['numbers a snippet: 16 x 112 x 112 x 3 -> 8 x 112 x 112 x 3']


_VIDEOS = st.dictionaries(
  st.sampled_from('abcdef'),
  st.tuples(st.sampled_from(['aa', 'bb']), st.integers(1, 3)).map(list),
)


@given_(_VIDEOS, _VIDEOS)
def test_each_recording_that_differs_is_counted(before, after):
  found = data_record.differences(_record(train=before), _record(train=after))
  counts = {
    'new': len(after.keys() - before.keys()),
    'missing': len(before.keys() - after.keys()),
    'with other annotations': sum(
      before[k][0] != after[k][0] for k in before.keys() & after.keys()
    ),
    'of another length': sum(
      before[k][1] != after[k][1] for k in before.keys() & after.keys()
    ),
  }
  assert [line.partition(' (')[0] for line in found] == [
    f'{count} training recordings {what}'
    for what, count in counts.items()
    if count
  ]
  assert (found == []) == (before == after)


class _Source:
  feature_fps = 4.0
  snippet_shape = (2,)

  def num_snippets(self, video_id):
    return {'b': 40, 'a': 8}[video_id]


def _data(names):
  videos = {
    name: activitynet.Video(
      name, 'training', 10.0, np.array([[1.0, 2.5]]), ('dig',)
    )
    for name in names
  }
  return training_data.TrainingData(
    activitynet.Annotations('', videos), videos, {}, _Source()
  )


def test_the_description_is_plain_and_in_the_order_of_the_names():
  digest = hashlib.sha256(b'[[[1.0, 2.5]], ["dig"]]').hexdigest()[:12]
  found = data_record.describe(_data(['b', 'a']))
  assert found == {
    'feature_fps': 4.0,
    'snippet_shape': [2],
    'offset_sec': 0.0,
    'train': {'a': [digest, 8], 'b': [digest, 40]},
    'held_out': {},
  }
  assert list(found['train']) == ['a', 'b']
  # As it is read again.
  assert json.loads(json.dumps(found)) == found
  assert data_record.describe(_data(['a', 'b'])) == found


def test_a_refused_claim_leaves_the_record_of_the_run(tmp_path):
  assert data_record.claim(tmp_path, _data(['a', 'b'])) is False
  before = (tmp_path / 'data.json').read_bytes()
  (tmp_path / 'only' / 'resume' / '4').mkdir(parents=True)
  # In another order they are the same.
  assert data_record.claim(tmp_path, _data(['b', 'a'])) is True
  with pytest.raises(config_record.RunFolderError, match=r'missing \(b\)'):
    data_record.claim(tmp_path, _data(['a']))
  assert (tmp_path / 'data.json').read_bytes() == before
