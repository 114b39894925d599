import json
import warnings

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet, imported, importers
from cmsn_jax.annotations import lengths as video_lengths
from cmsn_jax.files import csv_tables, feature_files

Length = video_lengths.Length


@pytest.fixture
def thumos(tmp_path):
  """A small THUMOS14 folder; the frame count tables may be changed."""
  validation = tmp_path / 'data' / 'validation' / 'annotation'
  test = tmp_path / 'data' / 'test'
  validation.mkdir(parents=True)
  test.mkdir(parents=True)
  (validation / 'Diving_val.txt').write_text(
    'video_validation_1  1.0 2.5\nvideo_validation_2 0.5 1.5 \n\n'
  )
  (validation / 'Ambiguous_val.txt').write_text('video_validation_1  5 6.0\n')
  (test / 'GolfSwing_test.txt').write_text('video_test_1  3.0 4.0\r\n')
  (test / 'readme.txt').write_text('anything')
  (tmp_path / 'data' / 'frm_num.json').write_text('{"video_test_1": 250}')
  (tmp_path / 'data' / 'movie_fps.json').write_text('{"video_test_1": 25.0}')
  (tmp_path / 'data' / 'thumos_frames_info.json').write_text(
    '{"video_validation_1": 300, "video_validation_2": 240, "video_test_1": 9}'
  )
  return tmp_path / 'data'


def read_thumos(folder, **kwargs):
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    read = importers.thumos14(folder, **kwargs)
  return read, [str(w.message) for w in caught]


def test_thumos14(thumos):
  read, told = read_thumos(thumos)
  assert list(read.videos) == [
    'video_test_1', 'video_validation_1', 'video_validation_2',
  ]  # fmt: skip
  first = read.videos['video_validation_1']
  assert (first.subset, first.duration_sec, first.fps) == ('training', 10, 30)
  assert first.labels == ('Ambiguous', 'Diving')
  np.testing.assert_array_equal(first.segments, [[5, 6], [1, 2.5]])
  test = read.videos['video_test_1']
  assert (test.subset, test.duration_sec, test.fps) == ('testing', 10, 25)
  assert len(told) == 1 and 'frame rate of 2 videos' in told[0]


def test_thumos14_takes_given_lengths_first(thumos):
  lengths = {
    'video_validation_1': Length(11.0, 24.0),
    'video_validation_2': Length(12.0),
    'another': Length(1.0),
  }
  read, told = read_thumos(thumos, lengths=lengths)
  assert read.videos['video_validation_1'].duration_sec == 11
  assert read.videos['video_validation_1'].fps == 24
  assert read.videos['video_validation_2'].fps is None
  assert read.videos['video_test_1'].duration_sec == 10
  assert not told


def test_thumos14_assumes_the_next_rate_where_30_does_not_fit(thumos):
  (thumos / 'thumos_frames_info.json').write_text(
    '{"video_validation_1": 170, "video_validation_2": 240}'
  )
  read, told = read_thumos(thumos)
  # 170 / 30 = 5.67 s end before the instance at 6 s; 170 / 25 = 6.8 s.
  assert read.videos['video_validation_1'].duration_sec == 170 / 25
  assert '30 for 1 videos (video_validation_2); 25 for 1 videos' in told[0]


@pytest.mark.parametrize('past_end', ['keep', 'drop'])
def test_thumos14_instances_past_the_end(thumos, past_end):
  (thumos / 'test' / 'Shotput_test.txt').write_text(
    'video_test_1 9.5 11\nvideo_test_1 12 13\nvideo_test_1 20 22\n'
  )
  lengths = {f'video_validation_{k}': Length(10.0) for k in (1, 2)}
  read, told = read_thumos(thumos, lengths=lengths, past_end=past_end)
  behind = [[12, 13], [20, 22]] if past_end == 'keep' else []
  np.testing.assert_array_equal(
    read.videos['video_test_1'].segments, [[3, 4], [9.5, 10], *behind]
  )
  (message,) = told
  assert '1 instances end after their video and were clipped' in message
  assert '2 instances begin after the end' in message
  assert ('kept' if past_end == 'keep' else 'dropped') in message


def test_thumos14_result_can_be_written_and_read(thumos, tmp_path):
  (thumos / 'test' / 'Shotput_test.txt').write_text('video_test_1 12 13\n')
  read, _ = read_thumos(thumos)
  activitynet.write(tmp_path / 'a.json', read)
  again = activitynet.read(tmp_path / 'a.json')
  for video_id, video in read.videos.items():
    np.testing.assert_array_equal(
      again.videos[video_id].segments, video.segments
    )


@pytest.mark.parametrize(
  ('line', 'words'),
  [
    ('video_test_1 3.0', 'line 1: found .* expected "video start end"'),
    ('video_test_1 3.0 4.0 5.0', 'line 1: found'),
    ('video_test_1 nan 4.0', 'line 1: found'),
    ('video_test_1 1e3 4.0', 'line 1: found'),
    ('video_test_1 1_0 20', 'line 1: found'),
    ('video_test_1 4.0 3.0', r'Diving_test.txt line 1: found \[4, 3\]'),
    ('video_test_1 -1 3.0', 'Diving_test.txt line 1: .*before 0'),
    ('../video 1 3.0', 'line 1: video id has a path separator'),
    ('video_validation_1 1 2', 'both the validation and the test'),
    ('video_test_9 1 2', 'no duration of 1 of 4 videos .video_test_9.'),
    (b'\xff\xfe', 'not a text file'),
    ('x' * 10**6, 'line 1: found'),
  ],
)
def test_thumos14_bad_lines(thumos, line, words):
  line = line if isinstance(line, bytes) else line.encode()
  (thumos / 'test' / 'Diving_test.txt').write_bytes(line + b'\n')
  with pytest.raises(activitynet.AnnotationError, match=words) as caught:
    read_thumos(thumos)
  assert len(str(caught.value)) < 1000


def test_thumos14_all_bad_lines_at_once(thumos):
  (thumos / 'test' / 'Diving_test.txt').write_text('a\nb\n')
  (thumos / 'test' / 'Shotput_test.txt').write_text('c\n')
  with pytest.raises(activitynet.AnnotationError) as caught:
    read_thumos(thumos)
  assert len(caught.value.problems) == 3


def test_thumos14_other_folders(thumos, tmp_path):
  with pytest.raises(FileNotFoundError):
    importers.thumos14(tmp_path / 'absent')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(activitynet.AnnotationError, match='no annotation files'):
    importers.thumos14(tmp_path / 'empty')
  with pytest.raises(ValueError, match='past_end'):
    importers.thumos14(thumos, past_end='x')
  copy = thumos / 'copy'
  copy.mkdir()
  (copy / 'Diving_val.txt').write_text('video_validation_1 1 2\n')
  with pytest.raises(activitynet.AnnotationError, match='keep one'):
    importers.thumos14(thumos)


@pytest.mark.parametrize(
  'text', ['[]', '{"video_test_1": "x"}', '{"a": 0}', '{']
)
def test_thumos14_bad_tables(thumos, text):
  (thumos / 'movie_fps.json').write_text(text)
  with pytest.raises(activitynet.AnnotationError, match='movie_fps.json'):
    importers.thumos14(thumos)


def test_real_thumos14(real_data):
  read, told = read_thumos(real_data('thumos14'))
  counts = {}
  for subset in ('training', 'testing'):
    videos = read.subset(subset).values()
    ambiguous = sum(video.labels.count('Ambiguous') for video in videos)
    instances = sum(len(video.segments) for video in videos)
    counts[subset] = len(videos), instances - ambiguous, ambiguous
  assert counts == {'training': (200, 3007, 89), 'testing': (213, 3358, 99)}
  assert len(read.labels) == 21
  assert len(told) == 2
  assert (
    '26 instances begin after the end of their video and were kept' in (told[1])
  )
  # The rates that the distributed tables state for the test videos.
  rates = [round(v.fps, 2) for v in read.subset('testing').values()]
  assert {rate: rates.count(rate) for rate in set(rates)} == {
    30: 196, 29.97: 11, 25: 5, 24: 1,
  }  # fmt: skip


@pytest.fixture
def table(tmp_path):
  def write(text):
    path = tmp_path / 'labels.csv'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path

  return write


def read_csv(path, lengths=None, policy=None, **options):
  return importers.convert(
    path,
    format='csv',
    lengths=lengths,
    options=imported.Options(**options),
    policy=policy,
  ).annotations


def test_csv(table):
  read = read_csv(
    table(
      'video,start,end,label,subset,duration,fps\n'
      'a,1,2.5,run,training,10,25\n'
      'b,,,,val,20,\n'
      'a,3,4,"jump, high",,,\n'
    )
  )
  assert list(read.videos) == ['a', 'b']
  video = read.videos['a']
  np.testing.assert_array_equal(video.segments, [[1, 2.5], [3, 4]])
  assert video.labels == ('run', 'jump, high')
  assert (video.subset, video.duration_sec, video.fps) == ('training', 10, 25)
  empty = read.videos['b']
  assert (empty.subset, empty.duration_sec, empty.fps) == (
    'validation',
    20,
    None,
  )
  assert empty.segments.shape == (0, 2)


@pytest.mark.parametrize(
  'text',
  [
    'video,start,end,label\na,1,2,run\n',
    '\ufeffVideo;Start;End;Label\r\na;1;2;run\r\n',
    'video-name\tt-init\tt-end\tclass\na\t1\t2\trun\n',
    'Label,"End (s)",start_time, Video ID ,note\nrun, 2 ,1.0,a,x\n',
    'id,begin,stop,action\n\na,1,2e0,run',
  ],
)
def test_csv_header_variants(table, text):
  read = read_csv(table(text), lengths={'a': Length(9.0, 30.0)})
  video = read.videos['a']
  np.testing.assert_array_equal(video.segments, [[1, 2]])
  assert video.labels == ('run',)
  assert (video.subset, video.duration_sec, video.fps) == ('training', 9, 30)


def test_csv_subset_for_those_that_state_none(table):
  path = table('video,start,end,label,duration\na,1,2,run,9\n')
  assert read_csv(path, subset='testing').videos['a'].subset == 'testing'
  with pytest.raises(ValueError, match='subset must be'):
    read_csv(path, subset='test')


def test_csv_video_suffixes_are_no_part_of_the_id(table):
  path = table('video,start,end,label,duration\na.MP4,1,2,run,9\n')
  read = importers.convert(path)
  assert list(read.annotations.videos) == ['a']
  assert any('suffix' in note and 'a.MP4' in note for note in read.notes)


HEADER = 'video,start,end,label,duration,subset\n'


@pytest.mark.parametrize(
  ('text', 'words'),
  [
    ('a,x,2,run,9,', "row 2: found start 'x'"),
    ('a,nan,2,run,9,', "row 2: found start 'nan'"),
    ('a,"1,5",2.5,run,9,', "both '1,5' and '2.5': .*--decimal"),
    ('a,"1,500",2,run,9,', "'1,500': with a decimal comma, or .*--decimal"),
    ('a,0:61:05,2,run,9,', 'row 2: .*clock time'),
    ('a,1_0,12,run,29,', "row 2: found start '1_0'"),
    ('a,2,1,run,9,', r'a, row 2: found \[2, 1\]'),
    ('\na,-1,1,run,9,', 'a, row 3: .*before 0'),
    ('a,1,,run,9,', 'row 2: expected both start and end'),
    ('a,NA,NA,run,9,', "row 2: found neither start nor end of 'run'"),
    ('a,1,2,,9,', 'row 2: no label'),
    ('a,1,2,run,,', 'a: no duration; add a column'),
    ('a,1,2,run,-9,', 'duration -9'),
    ('a,1,2,run,9,\na,3,4,run,8,', 'row 3: found duration 8.0, earlier rows'),
    ('a,1,2,run,9,tset', "row 2: found subset 'tset'"),
    ('a,1,2,run,9,train\na,3,4,run,9,test', 'row 3: found subset testing'),
    ('a,100,250,run,9,', 'row 2: .*in frames'),
    ('..,1,2,run,9,', 'row 2: video id .* names a folder'),
    (',1,2,run,9,', 'row 2: video id .* is empty'),
    ('a\x00b,1,2,run,9,', 'control character'),
  ],
)
def test_csv_bad_rows(table, text, words):
  with pytest.raises(ValueError, match=words) as caught:
    read_csv(table(HEADER + text + '\n'))
  assert 'labels.csv' in str(caught.value)


def test_csv_all_bad_rows_at_once(table):
  text = HEADER + 'a,x,2,run,9,\nb,1,y,run,9,\nc,1,2,run,,\n'
  with pytest.raises(activitynet.AnnotationError) as caught:
    read_csv(table(text))
  assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
  ('text', 'words'),
  [
    ('', 'found the columns .none.'),
    ('a,1,2,run\n', 'is there no header row'),
    ('video,start,end,lable\na,1,2,x\n', "is 'lable' the label"),
    ('video,start,end,label\n', 'no rows'),
    ('video,start,end,label\n"a,1,2,x\n', 'not a CSV file'),
    ('video,start,end,label\n' + 'a' * 200_000 + ',1,2,x\n', 'not a CSV'),
    (b'\xff\xfe,start\x00', 'not a text file|control'),
    (b'\x81\x8d', 'not a text file'),
  ],
)
def test_csv_that_is_no_table(table, text, words):
  with pytest.raises(csv_tables.TableError, match=words):
    read_csv(table(text))


def test_lengths_of_json(tmp_path):
  path = tmp_path / 'd.json'
  path.write_text('{"a": 10, "b": {"duration": 2.5, "fps": 30}}')
  assert video_lengths.read(path) == {'a': Length(10), 'b': Length(2.5, 30)}
  path.write_text('{"database": {"a": {"duration": 3, "subset": "x"}}}')
  assert video_lengths.read(path) == {'a': Length(3)}
  for bad in ('[]', '{}', '{"a": 0}', '{"a": "x"}', '{"a": {}}'):
    path.write_text(bad)
    with pytest.raises(ValueError, match='d.json'):
      video_lengths.read(path)
  with pytest.raises(FileNotFoundError):
    video_lengths.read(tmp_path / 'absent')


def test_lengths_of_csv(tmp_path):
  path = tmp_path / 'd.csv'
  path.write_text('Video,Duration,FPS\na,10,25\na,10,25\nb,2.5,\n')
  assert video_lengths.read(path) == {'a': Length(10, 25), 'b': Length(2.5)}
  path.write_text('video,duration\na,10\na,11\nb,0\n..,1\n')
  with pytest.raises(ValueError) as caught:
    video_lengths.read(path)
  assert len(caught.value.problems) == 3


def test_lengths_of_features(tmp_path):
  np.save(tmp_path / 'a.npy', np.zeros((25, 2)))
  with pytest.warns(feature_files.FeatureFileWarning, match='not measured'):
    assert video_lengths.read(tmp_path, 5) == {'a': Length(5.0)}
  with pytest.raises(ValueError, match='rate of the features is needed'):
    video_lengths.read(tmp_path)
  for rate in (10, {'a': 10}):
    (tmp_path / 'features.json').write_text(json.dumps({'feature_fps': rate}))
    with pytest.warns(feature_files.FeatureFileWarning, match='not measured'):
      assert video_lengths.read(tmp_path) == {'a': Length(2.5)}
  (tmp_path / 'features.json').write_text(json.dumps({'rescaled': True}))
  with pytest.raises(ValueError, match='say no duration'):
    video_lengths.read(tmp_path)


def test_lengths_of_videos(real_data, tmp_path):
  pytest.importorskip('av')
  (tmp_path / 'demo.mp4').symlink_to(real_data('clips') / 'demo.mp4')
  (length,) = video_lengths.read(tmp_path).values()
  assert 5 < length.duration_sec < 20 and 20 < length.fps < 61


def test_csv_durations_that_contradict_the_files_are_errors(tmp_path):
  path = tmp_path / 'labels.csv'
  path.write_text('video,start,end,label,duration\na,1,2,x,20\nb,1,2,x,30\n')
  lengths = {
    'a': video_lengths.Length(8.0),
    'b': video_lengths.Length(30.3),
  }
  with pytest.raises(ValueError, match='a: the table says 20 s.*say 8 s') as e:
    read_csv(path, lengths=lengths)
  assert 'b: the table' not in str(e.value)


@pytest.mark.parametrize('head', ['start %,end %', 'Start[%],End[%]'])
def test_shares_of_a_recording_are_no_seconds(tmp_path, head):
  path = tmp_path / 'a.csv'
  path.write_text(f'video,{head},label\nv1,1.5,4,run\n')
  with pytest.raises(ValueError, match='is a share of the recording'):
    importers.convert(path)


@pytest.mark.parametrize(
  ('text', 'line'),
  [
    ('Experiment 12, coder AB\n\nvideo,start,end,label\nv1,1,2,a\n', 3),
    ('#video,start,end,label\nv1,1,2,a\nv1,3,4,a\n', 1),
  ],
)
def test_a_header_below_titles_is_pointed_at(tmp_path, text, line):
  path = tmp_path / 'a.csv'
  path.write_text(text)
  with pytest.raises(ValueError, match=f'line {line} looks like one'):
    importers.convert(path)
