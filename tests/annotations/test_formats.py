"""Every format, read from files made here; what is told of the choice."""

import json

import numpy as np
import pytest

from cmsn_jax.annotations import finishing, imported, importers
from cmsn_jax.annotations import lengths as video_lengths
from cmsn_jax.files import event_formats
from tests.annotations import made_files

Length = video_lengths.Length


def convert(folder, made, **options):
  path = folder / made.name
  path.write_text(made.content, encoding='utf-8')
  known = {
    name: Length(30.0) for name in ('v1', *made_files.RECORDINGS.values())
  }
  return importers.convert(
    path,
    lengths=known if 'duration' not in made.content else None,
    options=imported.Options(**(made.options | options)),
    policy=finishing.Policy(unannotated='drop'),
  )


def write(folder, name, text):
  path = folder / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


@pytest.mark.parametrize('name', made_files.FILES)
def test_is_recognised_and_read(tmp_path, name):
  made = made_files.FILES[name]
  path = write(tmp_path, made.name, made.content)
  options = imported.Options(**made.options)
  plain = importers.readers()[name.partition(',')[0]]
  found = plain.read(importers.sample_lib.Sample(path), options)
  stated = any(
    r.duration_sec or r.num_frames for r in found.recordings.values()
  )
  video_id = made_files.RECORDINGS.get(name, 'v1')
  read = importers.convert(
    path,
    lengths=None if stated else {video_id: Length(30.0)},
    options=options,
  )
  assert read.format == name.partition(',')[0]
  video = read.annotations.videos[video_id]
  assert video.labels[0] == made.label
  np.testing.assert_allclose(video.segments[0], made.segment, atol=1e-9)
  assert made.name in read.notes[0] and 'read as' in read.notes[0]


def test_every_format_has_a_made_file():
  made = {name.partition(',')[0] for name in made_files.FILES}
  assert made == set(importers.readers())


def test_boris_cuts_an_event_at_the_end_of_a_file(tmp_path):
  made = made_files.FILES['boris']
  content = made.content.replace('21.500,24.500', '18.000,23.000')
  read = importers.convert(write(tmp_path, made.name, content))
  videos = read.annotations.videos
  assert videos['v0'].segments.tolist() == [[18, 20]]
  assert videos['v1'].segments.tolist() == [[0, 3]]
  assert videos['v0'].duration_sec == 20 and videos['v1'].duration_sec == 30
  assert any('cut there' in note for note in read.notes)


def test_boris_without_the_durations_of_several_files(tmp_path):
  made = made_files.FILES['boris']
  content = made.content.replace('20.000;30.000', 'NA')
  with pytest.raises(ValueError, match='2 media files, whose durations'):
    importers.convert(write(tmp_path, made.name, content))


@pytest.mark.parametrize('name', ['boris, log', 'observer, without durations'])
def test_a_start_without_a_stop(tmp_path, name):
  made = made_files.FILES[name]
  lines = made.content.splitlines()
  lines = [x for x in lines if not ('STOP' in x or 'State stop' in x)]
  path = write(tmp_path, made.name, '\n'.join(lines) + '\n')
  known = {'v0': Length(20.0), 'v1': Length(30.0)}
  with pytest.raises(ValueError, match="start of 'groom' at .*no stop"):
    importers.convert(path, lengths=known)
  read = importers.convert(
    path, lengths=known, policy=finishing.Policy(bad='drop')
  )
  assert not len(read.annotations.videos['v1'].segments)
  assert any('1 unreadable' in note for note in read.notes)


def test_boris_in_a_spreadsheet(tmp_path):
  pytest.importorskip('python_calamine')
  openpyxl = pytest.importorskip('openpyxl')
  book = openpyxl.Workbook()
  for line in made_files.FILES['boris, log'].content.splitlines():
    cells = [
      float(c) if c.replace('.', '', 1).isdigit() else c
      for c in line.split(',')
    ]
    book.active.append(cells)
  book.save(tmp_path / 'b.xlsx')
  read = importers.convert(tmp_path / 'b.xlsx')
  assert read.format == 'boris'
  assert read.annotations.videos['v1'].segments.tolist() == [[1.5, 4.5]]


def test_a_folder_of_files_of_one_format(tmp_path):
  for name, label in (('a', 'groom'), ('b', 'rear')):
    write(tmp_path, f'{name}.txt', f'1.0\t2.0\t{label}\n')
  write(tmp_path, 'notes.md', '# Notes\n')
  read = importers.convert(
    tmp_path, lengths={'a': Length(9.0), 'b': Length(9.0)}
  )
  assert read.format == 'audacity'
  assert [v.labels for v in read.annotations.videos.values()] == [
    ('groom',), ('rear',),
  ]  # fmt: skip
  assert any('1 other files not read: notes.md' in n for n in read.notes)
  write(tmp_path, 'c.csv', 'video,start,end,label\nc,1,2,x\n')
  with pytest.raises(ValueError, match='several formats: .*--format='):
    importers.convert(tmp_path)


def test_elan_tiers(tmp_path):
  made = made_files.FILES['elan']
  known = {'v1': Length(30.0)}
  path = write(tmp_path, made.name, made.content)
  options = imported.Options(labels_from=('tier', 'value'))
  read = importers.convert(path, lengths=known, options=options)
  assert read.annotations.videos['v1'].labels == ('what+groom',)
  options = imported.Options(where={'tier': ('absent',)})
  with pytest.raises(ValueError, match='the tiers are empty, what'):
    importers.convert(path, lengths=known, options=options)


def test_entities_in_xml_are_refused(tmp_path):
  entities = ''.join(
    f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10)
  )
  text = (
    f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{entities}]>'
    '<ANNOTATION_DOCUMENT>&a9;</ANNOTATION_DOCUMENT>'
  )
  path = write(tmp_path, 'v1.eaf', text)
  with pytest.raises(ValueError, match='document type'):
    importers.convert(path, lengths={'v1': Length(30.0)})


def test_frames_need_a_rate_and_take_that_of_the_video(tmp_path):
  made = made_files.FILES['frames, lines']
  path = write(tmp_path, made.name, made.content)
  with pytest.raises(ValueError, match='--fps=25'):
    importers.convert(path)
  read = importers.convert(path, lengths={'v1': Length(6.0, 10.0)})
  assert read.annotations.videos['v1'].segments.tolist() == [[1.5, 4.5]]
  assert any('frame numbers at 10 a second' in note for note in read.notes)


def test_frames_of_several_recordings_in_one_table(tmp_path):
  rows = [(v, k, int(k in (2, 3))) for v in 'ab' for k in range(6)]
  text = 'video,frame,groom\n' + ''.join(f'{v},{k},{x}\n' for v, k, x in rows)
  read = importers.convert(
    write(tmp_path, 'x.csv', text), options=imported.Options(fps=2.0)
  )
  for video_id in 'ab':
    assert read.annotations.videos[video_id].segments.tolist() == [[1, 2]]
    assert read.annotations.videos[video_id].duration_sec == 3


def test_frames_that_are_not_labelled(tmp_path):
  text = ',groom\n' + ''.join(f'{k},{(-1, 0, 1)[k % 3]}\n' for k in range(6))
  read = importers.convert(
    write(tmp_path, 'x.csv', text), options=imported.Options(fps=2.0)
  )
  (warning,) = read.warnings
  assert '2 of 6 rows are -1' in warning


def test_soccernet_moments_are_dropped_and_counted(tmp_path):
  made = made_files.FILES['soccernet']
  read = importers.convert(
    write(tmp_path, made.name, made.content), lengths={'v_1': Length(30.0)}
  )
  assert not len(read.annotations.videos['v_1'].segments)
  assert any('1 events without duration' in note for note in read.notes)


@pytest.mark.parametrize(
  ('name', 'text', 'words'),
  [
    ('a.txt', 'hello\n', 'not of a known annotation format'),
    ('a.csv', 'x,y\n1,2\n', "found the columns 'x', 'y', and know no"),
    ('a.json', '{"results": {"a": []}}', 'a proposals file'),
    ('a.json', '{', 'not valid JSON'),
    ('a.bin', b'\x00\x01\x02\x03', 'control character'),
    ('a.xlsx', b'PK\x03\x04 no archive', 'spreadsheet'),
  ],
)
def test_what_is_no_annotation_file(tmp_path, name, text, words):
  path = write(tmp_path, name, text)
  with pytest.raises(ValueError, match=words) as caught:
    importers.convert(path)
  assert str(path) in str(caught.value)


def test_an_unknown_format_and_an_empty_folder(tmp_path):
  path = write(tmp_path, 'a.csv', 'x,y\n1,2\n')
  with pytest.raises(ValueError, match='format must be one of auto, '):
    importers.convert(path, format='anvil')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='it is empty'):
    importers.convert(tmp_path / 'empty')


def test_thumos14_in_all_its_forms(real_data, tmp_path):
  folder = real_data('thumos14')
  with pytest.warns(UserWarning):
    original = importers.convert(folder).annotations

  def instances(annotations, subset='testing', without=()):
    return sorted(
      (video_id, *row, label)
      for video_id, video in annotations.subset(subset).items()
      for row, label in zip(np.round(video.segments, 3).tolist(), video.labels)
      if label not in without
    )

  test = instances(original)
  assert len(test) == 3457
  table = importers.convert(folder / 'thumos14_test_groundtruth.csv')
  assert table.format == 'thumos14'
  # Its durations differ by a frame, where the last instance is cut.
  found = instances(table.annotations)
  assert [(v, start, label) for v, start, _, label in found] == [
    (v, start, label) for v, start, _, label in test
  ]
  np.testing.assert_allclose(
    [end for _, _, end, _ in found], [end for _, _, end, _ in test], atol=0.1
  )
  # ActionFormer's and OpenTAD's JSON, without Ambiguous.
  database = {}
  for video_id, video in original.videos.items():
    subset = 'Test' if 'test' in video_id else 'Validation'
    database[video_id] = {
      'subset': subset,
      'duration': video.duration_sec,
      'fps': video.fps,
      'annotations': [
        {
          'segment': row,
          'segment(frames)': [x * video.fps for x in row],
          'label': label,
          'label_id': 0,
        }
        for row, label in zip(video.segments.tolist(), video.labels)
        if label != 'Ambiguous'
      ],
    }
  path = tmp_path / 'thumos14.json'
  path.write_text(json.dumps({'version': '30fps', 'database': database}))
  read = importers.convert(path).annotations
  assert instances(read) == instances(original, without=('Ambiguous',))
  assert len(instances(read)) == 3358
  # The table of AFSD, G-TAD and others: seconds beside frames, names in "type".
  lines = ['video,type,type_idx,start,end,startFrame,endFrame']
  for video_id, video in original.subset('testing').items():
    for (start, end), label in zip(video.segments, video.labels):
      frames = f'{start * video.fps:.0f},{end * video.fps:.0f}'
      lines.append(f'{video_id},{label},1,{start},{end},{frames}')
  path = tmp_path / 'test_Annotation.csv'
  path.write_text('\n'.join(lines) + '\n')
  known = {
    name: Length(video.duration_sec, video.fps)
    for name, video in original.subset('testing').items()
  }
  read = importers.convert(path, lengths=known)
  assert instances(read.annotations) == test
  assert any('startFrame is about' in note for note in read.notes)


@pytest.mark.parametrize(
  ('kind', 'name', 'within'),
  [
    ('csv', 'p.csv', 1e-3), ('boris', 'p.boris', 1e-3),
    ('boris', 'p.tsv', 1e-3), ('elan', 'elan', 1e-3),
    ('audacity', 'audacity', 1e-3), ('via', 'via', 1e-3),
    ('deepethogram', 'frames', 0.04),
  ],
)  # fmt: skip
def test_what_is_written_for_other_programs_is_read_back(
  tmp_path, kind, name, within
):
  events = {
    'v1': [(1.5, 4.2504, 'groom', 0.9), (3.0, 8.125, 'rear', 0.5)],
    'v2': [(0.0, 59.96, 'groom', 0.7)],
  }
  event_formats.write(
    str(tmp_path / name),
    kind,
    {k: [event_formats.Event(*e) for e in v] for k, v in events.items()},
    {k: event_formats.About(60.0, 25.0, f'{k}.mp4') for k in events},
  )
  read = importers.convert(
    tmp_path / name,
    lengths={k: Length(60.0, 25.0) for k in events},
    options=imported.Options(fps=25.0 if kind == 'deepethogram' else None),
  )
  for video_id, expected in events.items():
    video = read.annotations.videos[video_id]
    assert video.labels == tuple(label for _, _, label, _ in expected)
    rows = [[start, end] for start, end, _, _ in expected]
    np.testing.assert_allclose(video.segments, rows, atol=within)


def test_every_fifth_frame_is_labelled(tmp_path):
  lines = [f'{5 * k},{int(10 <= k < 20)}' for k in range(60)]
  path = write(tmp_path, 'rat_1.csv', '\n'.join(['frame,groom', *lines]))
  found = importers.convert(path, options=imported.Options(fps=25))
  video = found.annotations.videos['rat_1']
  np.testing.assert_allclose(video.segments, [[2.0, 4.0]])
  assert video.duration_sec == pytest.approx(12.0)
  assert any('5 frames apart' in note for note in found.notes)


def test_gaps_between_frames_are_told(tmp_path):
  lines = [f'{k},1' for k in (*range(10), *range(20, 30))]
  path = write(tmp_path, 'rat_1.csv', '\n'.join(['frame,groom', *lines]))
  found = importers.convert(path, options=imported.Options(fps=10))
  segments = found.annotations.videos['rat_1'].segments
  np.testing.assert_allclose(segments, [[0.0, 1.0], [2.0, 3.0]])
  assert any(note.startswith('1 gaps') for note in found.notes)


def test_classes_by_number_stay_different(tmp_path):
  items = [
    {'segment': [k, k + 0.5], 'label_id': number}
    for k, number in enumerate((3, '4'))
  ]
  entry = {'subset': 'training', 'duration': 9.0, 'annotations': items}
  path = write(tmp_path, 'a.json', json.dumps({'database': {'v1': entry}}))
  found = importers.convert(path)
  assert found.annotations.videos['v1'].labels == ('3', '4')


_BORIS_7 = (
  'Observation id;Media file;Total length;FPS;Subject;Behavior;Behavior type;'
  'Start (s);Stop (s)'
)


def test_boris_7_with_decimal_commas_in_times_only(tmp_path):
  rows = [
    _BORIS_7,
    'o1;rat_1.mp4;120.0;25;r;groom;STATE;3,5;7,25',
    'o1;rat_1.mp4;120.0;25;r;jump;POINT;9,5;9,5',
  ]
  found = importers.convert(write(tmp_path, 'a.csv', '\n'.join(rows)))
  assert found.format == 'boris'
  video = found.annotations.videos['rat_1']
  assert video.duration_sec == 120
  np.testing.assert_allclose(video.segments, [[3.5, 7.25]])
  assert any('1 events without duration' in note for note in found.notes)


def test_a_table_a_recording_named_by_its_file(tmp_path):
  for k in (1, 2):
    write(tmp_path, f'rat_{k}.csv', f'start,end,label\n{k}.5,4.25,groom\n')
  lengths = {f'rat_{k}': Length(9.0) for k in (1, 2)}
  found = importers.convert(tmp_path, lengths=lengths)
  for k in (1, 2):
    segments = found.annotations.videos[f'rat_{k}'].segments
    np.testing.assert_allclose(segments, [[k + 0.5, 4.25]])
  assert any('the name of the file' in note for note in found.notes)


def test_another_text_column_may_name_the_recording(tmp_path):
  path = write(tmp_path, 'a.csv', 'start,end,label,tape\n1,2.5,groom,t7\n')
  with pytest.raises(ValueError, match='video=tape, or --recording=NAME'):
    importers.convert(path, lengths={'a': Length(9.0)})


def test_a_json_list_of_events(tmp_path):
  events = [
    {'video': 'a.mp4', 'start': 3.5, 'end': 7.5, 'label': 'x', 'duration': 4},
    {'video': 'b.mp4', 'start': 5, 'end': 7.5, 'label': 'y', 'duration': 2.5},
  ]
  path = write(tmp_path, 'a.json', json.dumps(events))
  # The duration is the event's: it says nothing of the recording's.
  with pytest.raises(ValueError) as raised:
    importers.convert(path)
  assert any('no duration' in text for text in raised.value.problems)
  lengths = {name: Length(9.0) for name in 'ab'}
  found = importers.convert(path, lengths=lengths).annotations.videos
  np.testing.assert_allclose(found['a'].segments, [[3.5, 7.5]])
  assert found['b'].labels == ('y',)


def test_times_of_day(tmp_path):
  text = 'video,start,end,label\na,14:03:05,14:03:09,x\na,14:04:05,14:04:09,x\n'
  path = write(tmp_path, 'a.csv', text)
  with pytest.raises(ValueError) as raised:
    importers.convert(path, lengths={'a': Length(120.0)})
  assert all('times of day' in text for text in raised.value.problems)


def test_a_table_without_rows(tmp_path):
  path = write(tmp_path, 'a.csv', 'video,start,end,label\n')
  with pytest.raises(ValueError, match='a header but no rows'):
    importers.convert(path)


def test_clock_times_beside_frames(tmp_path):
  text = (
    'video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb\n'
    'P01,00:00:00.14,00:00:03.37,8,202,open\n'
  )
  path = write(tmp_path, 'a.csv', text)
  found = importers.convert(path, lengths={'P01': Length(9.0)})
  segments = found.annotations.videos['P01'].segments
  np.testing.assert_allclose(segments, [[0.14, 3.37]])
