import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.data import feature_checks, feature_timing
from cmsn_jax.files import feature_files, feature_rates

ERROR = feature_files.FeatureFileError


def timing(rate=5.0, **changes):
  return feature_timing.Timing(feature_rates.Grid(rate), **changes)


@pytest.fixture
def store(tmp_path):
  def make(**shapes):
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
      np.save(tmp_path / f'{name}.npy', rng.normal(size=shape))
    return feature_files.open_features(tmp_path)

  return make


def test_every_problem_is_named_at_once(store):
  found = store(a=(50, 2), b=(20, 2), c=(50, 3))
  assert feature_checks.check(found, {'a': 10.2}, timing()).num_rows == {
    'a': 50
  }
  with pytest.raises(ERROR) as caught:
    feature_checks.check(found, dict.fromkeys('abcd', 10.0), timing())
  message = str(caught.value)
  assert '3 problems found in 4 videos' in message
  for words in ('b: found 20 snippets', 'c has 3-dim', "of video 'd'"):
    assert words in message


def test_fits_is_said_of_values_that_were_read(store, tmp_path):
  found = store(a=(50, 2))
  read = feature_checks.check(found, {'a': 10.1}, timing(), values=True)
  assert 'lengths fit' in read.lines()[0] and len(read.lines()) == 1
  bad = np.load(tmp_path / 'a.npy')
  bad[7, 1] = np.nan
  np.save(tmp_path / 'a.npy', bad)
  found = feature_files.open_features(tmp_path)
  with pytest.raises(ERROR, match='found nan in row 7, column 1'):
    feature_checks.check(found, {'a': 10.1}, timing(), values=True)


def test_durations_computed_from_rows_check_nothing(store):
  found = store(a=(50, 2), b=(50, 2))
  durations = {'a': 50 / 7, 'b': 50 / 7}
  lines = feature_checks.check(found, durations, timing(7)).lines()
  assert 'fit' not in lines[0]
  assert 'nothing was checked' in lines[1]
  assert 'exactly 50 rows' in lines[2] and '[D, T]' in lines[2]


def test_constant_features_are_counted(tmp_path):
  array = np.random.default_rng(0).normal(size=(30, 3))
  array[:, 1] = 1e-9
  np.save(tmp_path / 'a.npy', array)
  found = feature_checks.check(
    feature_files.open_features(tmp_path), {'a': 6.1}, timing(), values=True
  )
  assert found.constant == (1,)
  # Small numbers are numbers.
  np.save(tmp_path / 'a.npy', array * 1e-9)
  found = feature_checks.check(
    feature_files.open_features(tmp_path), {'a': 6.1}, timing(), values=True
  )
  assert found.constant == (1,)


@pytest.mark.parametrize(
  ('shapes', 'seconds', 'words', 'not_words'),
  [
    # [D, T] where T fits.
    ({'a': (40, 100), 'b': (40, 100)}, (20, 20), r'\[D, T\]', 'would fit;'),
    ({'a': (80, 3), 'b': (80, 3)}, (20, 41), 'rescaled', 'rate that'),
    # Windows of 16 frames every 4 of 30 a second.
    ({'a': (109, 3), 'b': (197, 3)}, (451 / 30, 803 / 30), 'feature_window',
     'would fit'),
    ({'a': (375, 3), 'b': (450, 3)}, (60, 60), 'several rates: 6.25 .1: a., 7.5',
     'would fit'),
    ({'a': (375, 3), 'b': (376, 3)}, (60, 60), '6.25 would fit', 'several'),
  ],
)  # fmt: skip
def test_the_cause_is_found(store, shapes, seconds, words, not_words):
  durations = dict(zip(shapes, seconds))
  rate = 5.0 if shapes['a'][0] < 100 else 7.5
  with pytest.raises(ERROR, match=words) as caught:
    feature_checks.check(store(**shapes), durations, timing(rate))
  assert not_words not in str(caught.value)


def video(name, duration, fps=None, feature_fps=None):
  return activitynet.Video(
    name, 'training', duration, np.zeros((0, 2)), (), fps, feature_fps
  )


def resolve(videos, sidecar=None, default=None, **stated):
  return feature_timing.resolve(
    feature_timing.Stated(**stated),
    sidecar,
    {v.video_id: v for v in videos},
    default,
  )


def test_one_rate_from_anywhere():
  a, five = video('a', 10), video('a', 10, feature_fps=5.0)
  assert resolve([a], default=3.125).grid.feature_fps == 3.125
  assert resolve([a], feature_fps=7).grid.feature_fps == 7
  assert resolve([a], {'feature_fps': 6}).grid.feature_fps == 6
  assert resolve([five]).grid.feature_fps == 5
  assert resolve([five], feature_fps=5.001).grid.feature_fps == 5.001
  with pytest.raises(ValueError, match='--feature_fps says 7, the annotations'):
    resolve([five], feature_fps=7)
  with pytest.raises(ValueError, match='features.json says 6'):
    resolve([five], {'feature_fps': 6})
  with pytest.raises(ValueError, match='rate of the features is unknown'):
    resolve([a])


def test_several_rates_are_brought_to_the_commonest_or_the_stated():
  videos = [
    video('a', 9, feature_fps=7.5),
    video('b', 9, feature_fps=6.25),
    video('c', 9, feature_fps=6.25),
  ]
  found = resolve(videos)
  assert found.grid.feature_fps == 6.25 and found.rates == {'a': 7.5}
  assert 'resampled to 6.25' in found.line()
  found = resolve(videos, feature_fps=5)
  assert found.grid.feature_fps == 5 and len(found.rates) == 3
  beside = resolve(
    [video('a', 9), video('b', 9)], {'feature_fps': {'a': 3, 'b': 4}}
  )
  assert beside.grid.feature_fps == 3 and beside.of('b').feature_fps == 4
  with pytest.raises(ValueError, match='said of 3 of 4 recordings'):
    resolve([*videos, video('d', 9)])


def test_windows_and_strides():
  thirty = video('a', 451 / 30, fps=30)
  found = resolve([thirty], window=16, stride=4)
  assert found.grid.feature_fps == 7.5
  assert found.grid.offset_sec == pytest.approx(6 / 30)
  assert 'row 0 is centred at 0.2667 s' in found.line()
  # The stride follows from rate and frames a second.
  assert resolve([thirty], window=16, feature_fps=7.5).windows == (16, 4, 0)
  beside = {'feature_window': 16, 'feature_stride': 4, 'feature_fps': 7.5}
  assert resolve([video('a', 9)], beside).grid == found.grid
  with pytest.raises(ValueError, match='needs feature_stride'):
    resolve([video('a', 9)], window=16, feature_fps=7.5)
  with pytest.raises(ValueError, match='disagree'):
    resolve([video('a', 9, fps=30, feature_fps=5)], stride=4)


def test_rescaled_features_have_no_rate():
  assert resolve([video('a', 9)], rescaled=True).rescaled
  assert resolve([video('a', 9)], {'rescaled': True}).rescaled
  with pytest.raises(ValueError, match='neither rate nor window'):
    resolve([video('a', 9)], rescaled=True, feature_fps=5)
