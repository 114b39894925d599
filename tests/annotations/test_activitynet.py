import copy
import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmsn_jax.annotations import activitynet


def good():
  return {
    'version': 'v1',
    'database': {
      'a': {
        'subset': 'training',
        'duration': 10.0,
        'fps': 25,
        'annotations': [
          {'segment': [1, 2.5], 'label': 'run'},
          {'segment': [3.0, 4.0], 'label': 'jump'},
        ],
      },
      'b': {
        'subset': 'testing',
        'duration': 20,
        'feature_fps': 5.0,
        'annotations': [],
      },
    },
  }


@pytest.fixture
def write(tmp_path):
  def to_file(document):
    path = tmp_path / 'a.json'
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding='utf-8')
    return path

  return to_file


def problems_of(path):
  with pytest.raises(activitynet.AnnotationError) as caught:
    activitynet.read(path)
  assert str(path) in str(caught.value)
  return caught.value.problems


def test_reads_what_the_file_says(write):
  read = activitynet.read(write(good()))
  assert read.version == 'v1'
  assert list(read.videos) == ['a', 'b']
  video = read.videos['a']
  np.testing.assert_array_equal(video.segments, [[1, 2.5], [3, 4]])
  assert video.segments.dtype == np.float64
  assert video.labels == ('run', 'jump')
  assert (video.duration_sec, video.fps, video.feature_fps) == (10, 25, None)
  other = read.videos['b']
  assert other.segments.shape == (0, 2)
  assert (other.subset, other.feature_fps, other.fps) == ('testing', 5, None)
  assert read.labels == ('jump', 'run')


def test_a_byte_order_mark_and_extra_keys_are_fine(tmp_path):
  document = good() | {'taxonomy': []}
  document['database']['a']['url'] = 'https://example.org'
  path = tmp_path / 'a.json'
  path.write_bytes(b'\xef\xbb\xbf' + json.dumps(document).encode())
  assert len(activitynet.read(path).videos) == 2


# Each case damages video "a"; the message must hold the words given.
CASES = {
  'unknown subset': (
    lambda v: v.update(subset='validaton'),
    ["'validaton'", "'validation'", 'testing'],
  ),
  'no subset': (lambda v: v.pop('subset'), ['no "subset"']),
  'subset of another type': (lambda v: v.update(subset=1), ['subset 1']),
  'no duration': (lambda v: v.pop('duration'), ['no "duration"', 'seconds']),
  'zero duration': (lambda v: v.update(duration=0), ['duration 0']),
  'text duration': (
    lambda v: v.update(duration='10 s'),
    ["duration '10 s'"],
  ),
  'true duration': (lambda v: v.update(duration=True), ['duration True']),
  'null duration': (lambda v: v.update(duration=None), ['duration None']),
  'endless duration': (
    lambda v: v.update(duration=1e300),
    ['1e+300', 'another unit'],
  ),
  'huge integer': (lambda v: v.update(duration=10**400), ['beyond 1e18']),
  'negative fps': (lambda v: v.update(fps=-1), ['fps -1']),
  'text feature_fps': (
    lambda v: v.update(feature_fps='x'),
    ["feature_fps 'x'"],
  ),
  'no annotations': (
    lambda v: v.update(annotation=v.pop('annotations')),
    ['no "annotations"', "'annotation'"],
  ),
  'annotations of another type': (
    lambda v: v.update(annotations={}),
    ['expected a list'],
  ),
  'entry of another type': (
    lambda v: v['annotations'].append([1, 2]),
    ['entry 3', '[1, 2]'],
  ),
  'reversed': (
    lambda v: v['annotations'][1].update(segment=[4, 3]),
    ['entry 2', '[4, 3]', 'start before the end'],
  ),
  'of no length': (
    lambda v: v['annotations'][1].update(segment=[4, 4]),
    ['entry 2', '[4, 4]'],
  ),
  'negative': (
    lambda v: v['annotations'][1].update(segment=[-1, 4]),
    ['entry 2', 'before 0'],
  ),
  'three numbers': (
    lambda v: v['annotations'][1].update(segment=[1, 2, 3]),
    ['entry 2', '[1, 2, 3]'],
  ),
  'text in a segment': (
    lambda v: v['annotations'][1].update(segment=['one', 2]),
    ['entry 2', "['one', 2]"],
  ),
  'overflowing number': (
    lambda v: v['annotations'][1].update(segment=[0, 10**400]),
    ['entry 2'],
  ),
  'no segment': (
    lambda v: v['annotations'][1].pop('segment'),
    ['entry 2', 'no "segment"'],
  ),
  'empty label': (
    lambda v: v['annotations'][1].update(label=' '),
    ['entry 2', 'label'],
  ),
  'number as label': (
    lambda v: v['annotations'][1].update(label=3),
    ['entry 2', 'label 3'],
  ),
  'after the end': (
    lambda v: v['annotations'][1].update(segment=[10.1, 10.2]),
    ['entry 2', 'video of 10 s'],
  ),
  'frames': (
    lambda v: v['annotations'][1].update(segment=[150, 250]),
    ['entry 2', 'in frames'],
  ),
  'milliseconds': (
    lambda v: v['annotations'][1].update(segment=[3000, 9000]),
    ['entry 2', 'in milliseconds'],
  ),
}


@pytest.mark.parametrize('case', CASES)
def test_one_error_that_names_video_entry_and_value(write, case):
  damage, words = CASES[case]
  document = good()
  damage(document['database']['a'])
  (problem,) = problems_of(write(document))
  assert problem.startswith('a')
  for word in words:
    assert word in problem, problem


def test_all_problems_come_at_once(write):
  document = good()
  del document['database']['a']['duration']
  document['database']['a']['annotations'][0]['segment'] = [2, 1]
  document['database']['a']['annotations'][1]['label'] = None
  document['database']['b']['subset'] = 'tset'
  document['database']['../c'] = {}
  found = problems_of(write(document))
  assert len(found) == 5
  assert sum(problem.startswith('a, entry') for problem in found) == 2


def test_a_missing_duration_suggests_no_key_that_means_something_else(write):
  document = good()
  del document['database']['a']['duration']
  assert problems_of(write(document)) == (
    'a: no "duration", expected the seconds of the video',
  )
  document['database']['a']['durration'] = 10
  (problem,) = problems_of(write(document))
  assert 'no "duration" (did you mean \'durration\'?)' in problem


def test_an_unknown_subset_is_answered_with_those_there_are(write):
  read = activitynet.read(write(good()))
  with pytest.raises(ValueError, match='the file has 1 training, 1 testing'):
    read.subset('test')


def test_an_empty_database_is_called_so(write):
  (problem,) = problems_of(write({'database': {}}))
  assert 'found an empty object as "database"' in problem


def test_a_message_does_not_grow_without_end(write):
  document = good()
  document['database']['a']['annotations'] = [{}] * 5000
  with pytest.raises(activitynet.AnnotationError, match='and 4999 more') as e:
    activitynet.read(write(document))
  assert len(e.value.problems) == 5000
  assert len(str(e.value)) < 2000


@pytest.mark.parametrize(
  'video_id',
  ['', '.', '..', 'a/b', '../a', 'a\\b', 'a\nb', '\x00', 'x' * 300, ' a',
   '\ud800', 'a\x1b[2J', 'a\u2028b'],
)  # fmt: skip
def test_ids_that_are_no_file_names_are_errors(write, video_id):
  document = good()
  document['database'][video_id] = document['database']['a']
  (problem,) = problems_of(write(document))
  assert 'video id' in problem
  assert problem.isprintable() and len(problem) < 200


@pytest.mark.parametrize('video_id', ['-abc_DEF', '視頻 1', 'a.b', 'v.mp4'])
def test_ordinary_ids_pass(write, video_id):
  document = good()
  document['database'][video_id] = document['database']['a']
  assert video_id in activitynet.read(write(document)).videos


@pytest.mark.parametrize(
  ('text', 'words'),
  [
    ('', 'line 1'),
    ('{"database": {', 'not valid JSON, line 1'),
    ('[]', 'expected {"database"'),
    ('{"database": {}}', 'an empty object'),
    ('{"database": 3}', 'found 3'),
    ('{"results": {}}', 'a proposals file'),
    ('{"video1": {}}', 'no "database"'),
    ('{"database": {"a": NaN}}', 'NaN'),
    ('{"database": {"a": {"duration": -Infinity}}}', '-Infinity'),
    ('{"database": {"a": {}, "a": {}}}', "key 'a' appears twice"),
    ('[' * 100_000, 'nested too deeply'),
    ('{"a":' * 100_000, 'nested too deeply'),
    ('{"database": ' + '9' * 10_000 + '}', 'not valid JSON'),
  ],
)
def test_documents_that_are_no_annotations(write, text, words):
  (problem,) = problems_of(write(text))
  assert words in problem
  assert len(problem) < 400


def test_bytes_that_are_not_text(tmp_path):
  path = tmp_path / 'a.json'
  path.write_bytes(b'\xff\xfe\x00{')
  assert 'UTF-8' in problems_of(path)[0]


def test_folders_and_absent_files(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such file'):
    activitynet.read(tmp_path / 'absent.json')
  with pytest.raises(activitynet.AnnotationError, match='found a folder'):
    activitynet.read(tmp_path)


def test_infinite_by_exponent_is_no_number(write):
  text = json.dumps(good()).replace('2.5', '1e999')
  (problem,) = problems_of(write(text))
  assert 'entry 1' in problem


@pytest.mark.parametrize(('fps', 'end'), [(None, 10.5), (1.0, 11.0)])
def test_an_end_just_past_the_video_is_clipped(write, fps, end):
  document = good()
  document['database']['a']['fps'] = fps
  document['database']['a']['annotations'][1]['segment'] = [9.0, end]
  with pytest.warns(activitynet.AnnotationWarning, match='clipped.*a, entry 2'):
    read = activitynet.read(write(document))
  np.testing.assert_array_equal(read.videos['a'].segments[1], [9, 10])


def test_an_end_further_past_the_video_is_an_error(write):
  document = good()
  document['database']['a']['annotations'][1]['segment'] = [9.0, 10.51]
  assert 'is the duration right?' in problems_of(write(document))[0]


def test_exact_duplicates_are_kept_once(write):
  document = good()
  items = document['database']['a']['annotations']
  items += copy.deepcopy(items) + [{'segment': [1, 2.5], 'label': 'other'}]
  with pytest.warns(activitynet.AnnotationWarning, match=r'duplicates.*\(2\)'):
    read = activitynet.read(write(document))
  assert read.videos['a'].labels == ('run', 'jump', 'other')


def test_a_missing_label_has_a_name(write):
  document = good()
  del document['database']['a']['annotations'][0]['label']
  with pytest.warns(activitynet.AnnotationWarning, match='no label'):
    read = activitynet.read(write(document))
  assert read.videos['a'].labels == ('action', 'jump')


def test_labels_that_differ_in_blanks_are_one(write):
  document = good()
  rows = document['database']['a']['annotations']
  rows[0]['label'], rows[1]['label'] = ' rear up\n', 'rear up'
  with pytest.warns(
    activitynet.AnnotationWarning, match='blanks around labels'
  ):
    read = activitynet.read(write(document))
  assert read.videos['a'].labels == ('rear up', 'rear up')
  rows[0]['label'] = ' '
  with pytest.raises(ValueError, match='a text that is not empty'):
    activitynet.read(write(document))


@pytest.mark.parametrize('other', ['Rear up', 'rear  up', 'ｒear up'])
def test_labels_that_people_read_as_one_are_told_of(write, other):
  document = good()
  rows = document['database']['a']['annotations']
  rows[0]['label'], rows[1]['label'] = 'rear up', other
  with pytest.warns(
    activitynet.AnnotationWarning, match=rf"'rear up' \(1\), '{other}' \(1\)"
  ):
    read = activitynet.read(write(document))
  assert read.videos['a'].labels == ('rear up', other)


def test_marked_instances_behind_the_end_stay(write, tmp_path):
  document = good()
  document['database']['a']['annotations'].append(
    {'segment': [30, 40], 'label': 'run', 'past_end': True}
  )
  read = activitynet.read(write(document))
  np.testing.assert_array_equal(read.videos['a'].segments[2], [30, 40])
  activitynet.write(tmp_path / 'again.json', read)
  again = activitynet.read(tmp_path / 'again.json')
  np.testing.assert_array_equal(again.videos['a'].segments[2], [30, 40])


def test_testing_videos_may_leave_annotations_out(write):
  document = good()
  del document['database']['b']['annotations']
  assert len(activitynet.read(write(document)).videos['b'].segments) == 0


def test_subset(write):
  read = activitynet.read(write(good()))
  assert list(read.subset('testing')) == ['b']
  with pytest.raises(ValueError, match='1 training, 1 testing'):
    read.subset('validation')
  with pytest.raises(ValueError, match="did you mean 'training'"):
    read.subset('trainin')


def test_without_labels(write):
  read = activitynet.read(write(good()))
  rest = read.without_labels(['run'])
  assert rest.videos['a'].labels == ('jump',)
  np.testing.assert_array_equal(rest.videos['a'].segments, [[3, 4]])
  assert len(read.videos['a'].labels) == 2
  assert list(rest.videos) == ['a', 'b']
  with pytest.raises(ValueError, match="unknown label 'rum'.*'run'.*jump, run"):
    read.without_labels(['rum'])


def test_a_failed_write_leaves_the_old_file(write, tmp_path):
  path = write(good())
  read = activitynet.read(path)
  bad = activitynet.Annotations(
    'x',
    {
      'a': activitynet.Video(
        'a', 'training', float('nan'), np.zeros((0, 2)), ()
      )
    },
  )
  before = path.read_bytes()
  with pytest.raises(ValueError):
    activitynet.write(path, bad)
  assert path.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ['a.json']
  activitynet.write(tmp_path / 'new' / 'folder' / 'b.json', read)
  assert (tmp_path / 'new' / 'folder' / 'b.json').exists()


segment = st.tuples(
  st.floats(0, 1e4, allow_subnormal=False), st.floats(1e-3, 1e3)
).map(lambda pair: (pair[0], pair[0] + pair[1]))
video = st.tuples(
  st.sampled_from(activitynet.SUBSETS),
  st.lists(st.tuples(segment, st.sampled_from('xyz')), unique=True, max_size=5),
)


@settings(
  max_examples=50,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.sampled_from('abcdef'), video, min_size=1))
def test_what_is_written_is_read_back_exactly(tmp_path, videos):
  made = {}
  for name, (subset, instances) in videos.items():
    rows = np.array([row for row, _ in instances], np.float64).reshape(-1, 2)
    labels = tuple(label for _, label in instances)
    made[name] = activitynet.Video(name, subset, 1e5 / 3, rows, labels, 29.97)
  path = tmp_path / 'round.json'
  activitynet.write(path, activitynet.Annotations('r', made))
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    read = activitynet.read(path)
  assert list(read.videos) == list(made)
  for name, video in made.items():
    back = read.videos[name]
    np.testing.assert_array_equal(back.segments, video.segments)
    assert back.labels == video.labels
    assert (back.subset, back.duration_sec, back.fps) == (
      video.subset, video.duration_sec, video.fps,
    )  # fmt: skip


@pytest.mark.parametrize(
  ('folder', 'videos', 'instances'),
  [('rat_social', 40, 1363), ('gestures', 52, 572)],
)
def test_real_annotations(real_data, folder, videos, instances):
  read = activitynet.read(real_data(folder) / 'annotations.json')
  assert len(read.videos) == videos
  assert sum(len(v.segments) for v in read.videos.values()) == instances


def _ignoring(*spans, segments=((1.0, 2.5), (3.0, 4.0))):
  document = good()
  document['database']['a']['ignore'] = [list(span) for span in spans]
  document['database']['a']['annotations'] = [
    {'segment': list(segment), 'label': 'run'} for segment in segments
  ]
  return document


def test_ignored_spans_are_read_and_written_again(write, tmp_path):
  read = activitynet.read(write(_ignoring((5, 7.5), (9, 10))))
  np.testing.assert_array_equal(read.videos['a'].ignore, [[5, 7.5], [9, 10]])
  assert read.videos['b'].ignore.shape == (0, 2)
  activitynet.write(tmp_path / 'again.json', read)
  again = activitynet.read(tmp_path / 'again.json')
  np.testing.assert_array_equal(again.videos['a'].ignore, [[5, 7.5], [9, 10]])
  document = json.loads((tmp_path / 'again.json').read_text())
  assert 'ignore' not in document['database']['b']


def test_instances_mostly_in_ignored_spans_do_not_count(write):
  # 3 to 4 wholly, 1 to 2.5 by a third, 6 to 8 by half, 8.5 to 9.5 by .6.
  path = write(
    _ignoring(
      (2, 5), (7, 8), (8.9, 10),
      segments=[(1, 2.5), (3, 4), (6, 8), (8.5, 9.5)],
    )
  )  # fmt: skip
  with pytest.warns(activitynet.AnnotationWarning, match='a: 2'):
    read = activitynet.read(path)
  # Kept by whoever reads and writes, left out by whoever trains or measures.
  assert len(read.videos['a'].segments) == 4
  video = read.subset('training')['a']
  np.testing.assert_array_equal(video.segments, [[1, 2.5], [6, 8]])
  assert video.labels == ('run', 'run')
  # What such an instance covers was looked at, whatever the span says.
  np.testing.assert_array_equal(video.unknown, [[2.5, 5], [8.9, 10]])
  assert read.subset('testing')['b'] is read.videos['b']
  assert activitynet.unknown(read.videos).keys() == {'a'}


@pytest.mark.parametrize(
  ('spans', 'words'),
  [
    ([[3, 2]], ('a, ignore 1', 'found [3, 2]', 'start before the end')),
    ([[1, 2], [4, 4]], ('a, ignore 2', 'found [4, 4]')),
    ([[-1, 2]], ('a, ignore 1', 'before 0')),
    ([[8, 12]], ('a, ignore 1', 'video of 10 s')),
    ([[1]], ('a, ignore 1', '[start, end]')),
    ([[1, 'x']], ('a, ignore 1', '[start, end]')),
    ({'1': 2}, ('a: found ignore', 'list')),
  ],
)
def test_ignored_spans_that_cannot_be(write, spans, words):
  document = good()
  document['database']['a']['ignore'] = spans
  (problem,) = problems_of(write(document))
  for word in words:
    assert word in problem


@pytest.mark.parametrize('key', ['ignored', 'Ignore', 'ignores', 'ignor'])
def test_a_misspelt_ignore_is_an_error(write, key):
  document = good()
  document['database']['a'][key] = [[1, 2]]
  (problem,) = problems_of(write(document))
  assert f'{key!r}, did you mean "ignore"?' in problem


def test_an_ignored_span_may_end_just_past_the_video(write):
  with pytest.warns(activitynet.AnnotationWarning, match='clipped'):
    read = activitynet.read(write(_ignoring((9, 10.3))))
  np.testing.assert_array_equal(read.videos['a'].ignore, [[9, 10]])
