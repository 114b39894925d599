"""Every folder of the shared cases' features gives what it should."""

import json
import re

import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.data import feature_checks, feature_timing
from cmsn_jax.files import feature_concat, feature_files

pytestmark = pytest.mark.filterwarnings(
  'ignore::cmsn_jax.files.feature_files.FeatureFileWarning'
)


def checked(features, annotations, sidecar=None, **stated):
  videos = activitynet.read(annotations).videos
  store = feature_concat.open_features(str(features))
  timing = feature_timing.resolve(
    feature_timing.Stated(**stated), sidecar or store.sidecar, videos, 3.125
  )
  durations = {k: v.duration_sec for k, v in videos.items()}
  found = feature_checks.check(store, durations, timing, values=True)
  return found, '\n'.join([*found.lines(), timing.line()])


@pytest.mark.parametrize(
  ('name', 'dim', 'words'),
  [
    ('csv_semicolon', 4, None),
    ('csv_index', 4, None),
    ('plus_table', 4, None),
    ('csv_dlc', 0, 'launch.pose_features'),
    ('h5_dlc', 0, 'DeepLabCut.*launch.pose_features'),
    ('h5_sleap', 0, 'SLEAP.*launch.pose_features'),
    ('nan', 0, 'found nan in row 0, column 0'),
    ('npz_arr01', 0, 'arr_0 .300, 2., arr_1 .300, 4.*--feature_key'),
  ],
)
def test_one_recording(name, dim, words, cases):
  features = cases(f'features/feats_{name}')
  truth = cases('annotations/feats_truth.json')
  if words is None:
    found, _ = checked(features, truth, feature_fps=5.0)
    assert (found.num_rows, found.dim) == ({'rat_01': 300}, dim)
    return
  with pytest.raises(feature_files.FeatureFileError, match=words):
    checked(features, truth, feature_fps=5.0)


def test_what_was_left_out_is_said(cases):
  for name, words in (
    ('csv_index', 'numbers the rows'), ('plus_table', 'labels.csv'),
  ):  # fmt: skip
    with pytest.warns(feature_files.FeatureFileWarning, match=words):
      store = feature_files.open_features(cases(f'features/feats_{name}'))
      assert store.ids == ('rat_01',) and store.dim == 4


def test_the_key_decides(cases):
  store = feature_files.open_features(
    cases('features/feats_npz_arr01'), key='arr_1'
  )
  assert store.dim == 4


def test_windows(cases):
  features = cases('features/feats_win16s4')
  truth = cases('annotations/o_win16s4.json')
  with pytest.raises(
    ValueError, match='window of 3.8 to 4.8 strides'
  ) as caught:
    checked(features, truth, feature_fps=7.5)
  assert 'would fit' not in str(caught.value)
  _, text = checked(features, truth, window=16, stride=4)
  assert 'lengths fit' in text and 'centred at 0.2667 s' in text


def test_two_rates(cases):
  features = cases('features/feats_two_rates')
  with pytest.raises(ValueError, match='several rates: 6.25 .1: cam25., 7.5'):
    checked(features, cases('annotations/p_two_rates.json'), feature_fps=7.5)
  _, text = checked(features, cases('annotations/p_two_rates_stated.json'))
  assert 'resampled to 6.25' in text


def test_rescaled(cases):
  folder = cases('features/rescaled_to_100_rows')
  with pytest.raises(
    ValueError, match='All 12 recordings have 100 rows.*rescaled'
  ):
    checked(folder / 'features', folder / 'labels.json', feature_fps=1.0)
  for labels in ('labels.json', 'labels_fps.json'):
    _, text = checked(folder / 'features', folder / labels, rescaled=True)
    assert 'a row lasts duration / rows' in text and 'lengths fit' not in text


def test_constant_features(cases):
  folder = cases('features/constant_features')
  _, text = checked(folder / 'features', folder / 'labels.json')
  assert '8 of 8 features never change' in text


@pytest.mark.parametrize(
  ('features', 'rows'), [('feats_25fps', 1500), ('feats_transposed', 400)]
)
def test_durations_that_came_from_the_rate(features, rows, cases, tmp_path):
  folder = cases(f'features/{features}')
  store = feature_files.open_features(folder)
  entry = {'subset': 'training', 'duration': rows / 5, 'annotations': []}
  (tmp_path / 'a.json').write_text(
    json.dumps({'database': dict.fromkeys(store.ids, entry)})
  )
  _, text = checked(folder, tmp_path / 'a.json', feature_fps=5.0)
  assert 'lengths fit' not in text and 'nothing was checked' in text
  assert re.search(rf'exactly {rows} rows.*\[D, T\]', text)
