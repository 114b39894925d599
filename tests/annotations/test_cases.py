"""Every annotation file of the shared cases gives what their README says."""

import warnings

import numpy as np
import pytest

from cmsn_jax.annotations import finishing, imported, importers
from cmsn_jax.annotations import lengths as video_lengths
from cmsn_jax.files import feature_files

Length = video_lengths.Length


@pytest.fixture
def convert(cases):
  """Converts a case; `durations` is another case, or seconds for all."""

  def run(name, durations=None, feature_fps=None, policy=None, **options):
    path = cases(f'annotations/{name}')
    lengths = durations
    if isinstance(durations, str):
      with warnings.catch_warnings():
        warnings.simplefilter('ignore', feature_files.FeatureFileWarning)
        lengths = video_lengths.read(cases(durations), feature_fps)
    return importers.convert(
      path,
      lengths=lengths,
      options=imported.Options(**options),
      policy=finishing.Policy(**(policy or {})),
    )

  return run


def segments(converted, video_id='rat_01'):
  return converted.annotations.videos[video_id].segments.tolist()


def labels(converted, video_id='rat_01'):
  return converted.annotations.videos[video_id].labels


def ids(converted):
  return list(converted.annotations.videos)


def said(converted, *words):
  text = '\n'.join((*converted.notes, *converted.warnings))
  return all(word in text for word in words)


@pytest.mark.parametrize(
  'name',
  [
    'k_decimal_comma.csv', 'k_sep_line.csv', 'k_cp1252.csv', 'k_path.csv',
    'k_pipe.csv', 'v_unit.csv', 'k_bom_crlf.csv', 'k_cr_only.csv',
    'k_space_cols.csv', 'd_event_label.csv', 'e3_bout_and_video_duration.csv',
    'a_row_id.csv',
  ],
)  # fmt: skip
def test_plain_tables_in_any_writing(convert, name):
  read = convert(name)
  video = read.annotations.videos['rat_01']
  assert video.segments[0].tolist() == [1, 3] and video.duration_sec == 60
  assert video.labels[0].startswith(('groom', 'toilettage é'))
  assert said(read, 'columns: recording ← ')


def test_labels_of_another_case_are_told_of(convert):
  with pytest.warns(
    UserWarning, match=r"case or blanks.*'groom' \(1\), 'Groom' \(1\)"
  ):
    read = convert('u_label_case.csv')
  labels = read.annotations.videos['rat_01'].labels
  assert labels == ('groom', 'Groom', 'groom_')


def test_a_row_number_is_not_the_recording(convert):
  read = convert('a_row_id.csv')
  assert ids(read) == ['rat_01', 'rat_02']
  assert said(read, 'recording ← video', 'video names the recording, not id')


def test_a_stated_unit_wins(convert):
  read = convert('a2_frames_and_seconds.csv')
  assert segments(read) == [[1, 3], [8, 10]]
  assert said(read, 'start_sec, end_sec (seconds, stated), not start, end')


def test_two_columns_that_may_name_the_recording(convert):
  words = "'file' and 'ID' may both be the recording.*--columns=video=ID"
  with pytest.raises(ValueError, match=words):
    convert('a3_file_before_id.csv')
  read = convert('a3_file_before_id.csv', columns={'video': 'ID'})
  assert ids(read) == ['rat_01']
  assert said(read, '2 people annotated', '--where=Experimenter=anna')
  read = convert(
    'a3_file_before_id.csv',
    columns={'video': 'ID'},
    where={'Experimenter': ('ben',)},
  )
  assert segments(read) == [[1.1, 3.1]]


def test_numbers_are_no_label(convert):
  read = convert('d_event_label.csv')
  assert labels(read) == ('groom', 'rear')
  assert said(read, 'label ← label', 'event: numbers, not the label')


def test_the_duration_of_the_event(convert):
  with pytest.raises(ValueError, match='no duration.*end - start in every row'):
    convert('e_duration_is_bout.csv')
  known = {'rat_01': Length(60), 'rat_02': Length(70)}
  read = convert('e_duration_is_bout.csv', known)
  assert [v.duration_sec for v in read.annotations.videos.values()] == [60, 70]
  read = convert('e2_boris_like.tsv', known)
  assert segments(read) == [[10, 14]] and ids(read) == ['rat_01', 'rat_02']
  read = convert('e3_bout_and_video_duration.csv')
  assert said(read, 'duration ← video_duration')


def test_what_stands_twice(convert):
  with pytest.raises(ValueError, match="'start' and 'start'.*rename one"):
    convert('k_dup_col.csv')
  with pytest.raises(ValueError, match="both 'a.mp4' and 'a.avi'"):
    convert('s_two_suffixes.csv')


def test_recordings_without_events_are_kept(convert):
  known = {f'vid_{k}': Length(60) for k in range(4)}
  read = convert('m_no_events.csv', known)
  assert ids(read) == list(known)
  assert said(read, '2 recordings have no events', 'vid_2, vid_3')
  read = convert('m_no_events.csv', known, policy={'unannotated': 'drop'})
  assert ids(read) == ['vid_0', 'vid_1']
  read = convert('k_nan.csv')
  assert [len(v.segments) for v in read.annotations.videos.values()] == [
    1,
    0,
    0,
  ]


@pytest.mark.parametrize('name', ['g_frames_early.csv', 'n_datavyu_early.csv'])
def test_whole_numbers_may_be_another_unit(convert, name):
  read = convert(name)
  (warning,) = read.warnings
  assert 'times are whole numbers' in warning
  assert '% of its recording' in warning and '--unit=frames' in warning
  assert not convert(name, unit='seconds').warnings


def test_frames_to_seconds(convert):
  read = convert('g_frames_early.csv', unit='frames', fps=30.0)
  assert segments(read) == [[1, 3], [8, 10]]
  read = convert('n_datavyu_early.csv', unit='milliseconds')
  assert segments(read, 'kid_01') == [[0.05, 0.09], [0.4, 0.59]]


@pytest.mark.parametrize(
  ('name', 'features', 'rate'),
  [
    ('t_rate_circular.csv', 'features/feats_25fps', 25.0),
    ('l_transposed.csv', 'features/feats_transposed', 5.0),
  ],
)
def test_durations_out_of_the_rate_are_said_to_be(cases, name, features, rate):
  with pytest.warns(
    feature_files.FeatureFileWarning, match='not measured.*transposed'
  ):
    lengths = video_lengths.read(cases(features), rate)
  assert importers.convert(cases(f'annotations/{name}'), lengths=lengths)


def test_names_that_nearly_match(convert):
  with pytest.raises(ValueError, match="1: no recording.*'001'.*--match=loose"):
    convert('k_leading0.csv', 'features/feats_lead0', 5.0)
  loose = {'match': 'loose'}
  read = convert('k_leading0.csv', 'features/feats_lead0', 5.0, loose)
  assert ids(read) == ['001', '002'] and said(read, '1 → 001')
  with pytest.raises(ValueError, match="did you mean 'rat_01'"):
    convert('k_case.csv', 'features/feats_rat', 5.0)
  read = convert('k_case.csv', 'features/feats_rat', 5.0, loose)
  assert segments(read) == [[1, 3]]
  read = convert('k_ext_mpg.csv', 'features/feats_rat', 5.0)
  assert segments(read) == [[1, 3]] and said(read, 'rat_01.mpg')
  read = convert('k_ext.csv', 'annotations/k_len_ext.csv')
  assert segments(read) == [[1, 3]]


@pytest.mark.parametrize(
  ('name', 'dropped', 'clipped'),
  [
    ('z_one_bad_of_many.json', [[1, 3]], [[1, 3], [55, 60]]),
    ('k_neg.csv', [[5, 9]], [[0, 2], [5, 9]]),
    ('k_point.csv', [[5, 9]], [[5, 9]]),
  ],
)
def test_bad_entries(convert, name, dropped, clipped):
  with pytest.raises(ValueError, match='--bad=drop.*--bad=clip'):
    convert(name)
  read = convert(name, policy={'bad': 'drop'})
  assert segments(read) == dropped and said(read, 'dropped; first: rat_01')
  assert segments(convert(name, policy={'bad': 'clip'})) == clipped


def test_events_without_duration(convert):
  read = convert('k_point.csv', point_events=1.0)
  assert segments(read) == [[0.5, 1.5], [5, 9]]
  read = convert('k_point.csv', point_events='drop')
  assert segments(read) == [[5, 9]] and said(read, 'zero length, dropped')


def test_numbers_and_times_as_people_write_them(convert):
  assert segments(convert('k_clock.csv')) == [[1.5, 3]]
  assert segments(convert('k_thousands.csv')) == [[1201.5, 1203]]


def test_odd_labels_stay(convert):
  read = convert('k_label_newline.csv')
  assert labels(read) == ('groom\nself', 'a,b; c', 'Groom', 'grøøm🐀')


def test_subsets(convert):
  with pytest.raises(ValueError, match="found subset 'fold1'"):
    convert('k_subset.csv')
  read = convert('z_json_subset_case.json')
  subsets = [v.subset for v in read.annotations.videos.values()]
  assert subsets == ['training', 'validation', 'testing']
  assert segments(read, 'rat_03') == [[1, 3]]


def test_our_own_proposals(convert):
  read = convert('x_own_csv.csv', {'rat_01': Length(60)})
  assert labels(read) == ('action',) and said(read, 'score was not used')


@pytest.mark.parametrize(
  ('name', 'video_id', 'subset', 'segment'),
  [
    ('actionformer_thumos14', 'video_test_0000004', 'testing', [0.2, 1.1]),
    ('mmaction2_anet_anno_train', 'v_example_0001', 'training', [4.25, 51.5]),
    ('subset_train_val', 'a', 'training', [1, 5]),
  ],
)
def test_other_tools_json(convert, name, video_id, subset, segment):
  read = convert(f'foreign_annotations/{name}.json')
  video = read.annotations.videos[video_id]
  assert video.subset == subset and video.segments.tolist() == [segment]


@pytest.mark.parametrize(
  ('name', 'video_id', 'segment'),
  [
    ('boris/aggregated_v8.csv', 'tr00', [4.12, 9.44]),
    ('boris/tabular_events.csv', 'tr00', [4.12, 9.44]),
    ('boris8_aggregated.tsv', 'rat_01', [1.5, 4.5]),
    ('boris8_tabular.tsv', 'rat_01', [1.5, 4.5]),
  ],
)
def test_boris(convert, name, video_id, segment):
  read = convert(name)
  assert read.format == 'boris'
  video = read.annotations.videos[video_id]
  assert video.segments[0].tolist() == segment and video.duration_sec == 60


def test_boris_points_and_subjects(convert):
  read = convert('boris/aggregated_v8.csv')
  assert said(read, '1 events without duration', '2 subjects (rat1, rat2)')
  read = convert(
    'boris/aggregated_v8.csv',
    point_events=0.5,
    labels_from=('Behavior', 'Subject'),
  )
  assert segments(read, 'tr00')[2] == [19.75, 20.25]
  assert labels(read, 'tr00')[1] == 'sniffing+rat2'


@pytest.mark.parametrize(
  ('name', 'video_id', 'found'),
  [
    ('deepethogram.csv', 'deepethogram', [[0.1, 0.3]]),
    ('boris/deg_labels.csv', 'deg', [[0.1, 0.3]]),
    ('simba.csv', 'simba', [[0.1, 0.3]]),
    ('S1_Tea_C1.txt', 'S1_Tea_C1', [[0.2, 0.4], [0.4, 0.5]]),
  ],
)
def test_a_label_a_frame(convert, name, video_id, found):
  with pytest.raises(ValueError, match='--fps=25'):
    convert(name)
  read = convert(name, fps=10.0)
  np.testing.assert_allclose(segments(read, video_id), found)


def test_a_label_a_frame_with_times(convert):
  read = convert('solomon.csv')
  np.testing.assert_allclose(segments(read, 'solomon'), [[0.04, 0.12]])
  assert said(read, '25 rows a second', 'labels ← Behaviour')


@pytest.mark.parametrize(
  ('name', 'video_id', 'format', 'segment', 'label'),
  [
    ('elan_export.txt', 'rat_01', 'elan', [1.5, 3], 'groom'),
    ('audacity.txt', 'audacity', 'audacity', [1, 3], 'groom'),
    ('via.csv', 'rat_01', 'via', [1.5, 4.25], 'groom'),
    ('ava.csv', 'abc', 'ava', [901.5, 902.5], '12'),
  ],
)
def test_other_programs(convert, name, video_id, format, segment, label):
  read = convert(name, {video_id: Length(1000)})
  assert read.format == format and ids(read) == [video_id]
  assert segments(read, video_id)[0] == segment
  assert labels(read, video_id)[0] == label


def test_two_annotators(cases):
  path = cases('two_annotators/labels.csv')
  read = importers.convert(path)
  assert sum(len(v.segments) for v in read.annotations.videos.values()) == 140
  (warning,) = read.warnings
  assert 'AB 70, CD 70' in warning and '--where=annotator=AB' in warning
  options = imported.Options(where={'annotator': ('CD',)})
  read = importers.convert(path, options=options)
  assert sum(len(v.segments) for v in read.annotations.videos.values()) == 70
  assert not read.warnings


@pytest.mark.parametrize(
  'name', ['p_two_rates_stated.json', 'p_two_rates.json', 'o_win16s4.json',
           'feats_truth.json'],
)  # fmt: skip
def test_our_own_json(convert, name):
  assert convert(name).format == 'activitynet'
