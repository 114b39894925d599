"""What columns are taken to mean, by their names and values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.annotations import column_names, columns
from cmsn_jax.files import csv_tables


def table(text):
  lines = [tuple(line.split(',')) for line in text.splitlines()]
  rows = tuple(
    csv_tables.Row(k + 2, cells) for k, cells in enumerate(lines[1:])
  )
  return csv_tables.Table('t.csv', lines[0], rows)


def chosen(text, **kwargs):
  found = columns.choose(table(text), **kwargs)
  return {role: column.name for role, column in found.chosen.items()}


@pytest.mark.parametrize(
  ('name', 'role', 'unit'),
  [
    ('Start (s)', 'start', 'seconds'), ('t-init', 'start', None),
    ('f-init', 'start', 'frames'), ('startFrame', 'start', 'frames'),
    ('Begin Time - ss.msec', 'start', 'seconds'),
    ('Begin Time - hh:mm:ss.ms', 'start', 'clock'),
    ('onset_ms', 'start', 'milliseconds'), ('StartTime', 'start', None),
    ('starttime', 'start', None), ('look.offset', 'end', 'milliseconds'),
    ('Stop (s)', 'end', 'seconds'), ('End [min]', 'end', 'minutes'),
    ('Media file name', 'video', None), ('video-name', 'video', None),
    ('Media duration (s)', 'duration', 'seconds'),
    ('video_duration', 'duration', None),
    ('Duration (s)', 'some_duration', 'seconds'),
    ('bout_duration_s', 'bout_duration', 'seconds'),
    ('FPS (frame/s)', 'fps', None), ('frame-rate', 'fps', None),
    ('Time offset (s)', '', None), ('Behavior type', '', None),
    ('Comportement', 'label', None), ('type_idx', 'label', None),
    ('Experimenter', 'annotator', None), ('', '', None), ('視頻', '', None),
  ],
)  # fmt: skip
def test_what_a_name_says(name, role, unit):
  found = column_names.understand(0, name)
  assert (found.role, found.unit) == (role, unit)


@settings(max_examples=300)
@given(st.text(max_size=30))
def test_any_name(name):
  assert column_names.understand(3, name).index == 3


def test_units_and_row_numbers_decide():
  assert chosen('id,video,start,end,label\n1,a,1,2,x\n2,a,3,4,x')['video'] == (
    'video'
  )
  text = 'video,start_frame,end_frame,start_sec,end_sec,label\na,25,50,1,2,x'
  assert chosen(text)['start'] == 'start_sec'
  text = 'video,start,end,startFrame,endFrame,type\na,1.5,2,45,60,x'
  assert chosen(text)['start'] == 'start'
  text = 'video,start,end,startFrame,endFrame,type\na,45,60,45,60,x'
  with pytest.raises(csv_tables.TableError, match='may both be the start'):
    chosen(text)
  with pytest.raises(csv_tables.TableError, match='different units'):
    chosen('video,start_ms,end_frame,label\na,1,2,x')


def test_two_names_of_one_thing():
  same = 'video,file,start,end,label\na,a,1,2,x\nb,b,1,2,x\na,a,3,4,x'
  assert chosen(same)['video'] == 'video'
  differ = 'file,ID,start,end,label\na_1,a,1,2,x\na_2,a,1,2,x'
  with pytest.raises(csv_tables.TableError, match="'file' and 'ID' may both"):
    chosen(differ)
  assert chosen(differ, stated={'video': 'file'})['video'] == 'file'
  labels = 'video,start,end,behavior,action\na,1,2,x,y'
  with pytest.raises(csv_tables.TableError, match='may both be the label'):
    chosen(labels)
  equal = 'video,start,end,behavior,action\na,1,2,x,x'
  assert chosen(equal)['label'] == 'behavior'


def test_durations():
  text = 'video,start,end,label,duration\na,1,3,x,{}\na,4,8,x,{}'
  assert 'duration' not in chosen(text.format(2, 4))
  assert chosen(text.format(60, 60))['duration'] == 'duration'
  stated = {'duration': 'duration'}
  assert chosen(text.format(2, 4), stated=stated)['duration'] == 'duration'
  text = 'video,start,duration,label\na,1,{},x\na,4,{},x'
  assert chosen(text.format(2, 3))['bout_duration'] == 'duration'
  with pytest.raises(csv_tables.TableError, match='is the same in all rows'):
    chosen(text.format(60, 60))


@pytest.mark.parametrize(
  ('stated', 'words'),
  [
    ({'video': 'clip'}, "no column 'clip'.*there are"),
    ({'movie': 'video'}, "no meaning 'movie'"),
    ({'label': 'lable'}, "no column 'lable' .did you mean 'label'"),
  ],
)
def test_columns_that_are_not_there(stated, words):
  with pytest.raises(csv_tables.TableError, match=words):
    chosen('video,start,end,label\na,1,2,x', stated=stated)


def test_what_is_missing_is_suggested():
  with pytest.raises(csv_tables.TableError, match='--columns=label=what'):
    chosen('video,start,end,nr,what\na,1,2,1,x')
  assert 'label' not in chosen('video,start,end,nr\na,1,2,1')


@pytest.mark.parametrize(
  'header, rows',
  [
    ('video,start,end,duration_ms', ['a,3.5,7.5,4000', 'a,10,12,2000']),
    ('video,start_ms,end_ms,duration_s', ['a,3500,7500,4', 'a,100,2100,2']),
    # The last frame counts.
    ('video,start_frame,end_frame,duration', ['a,10,49,40']),
    ('video,start_frame,end_frame,duration', ['a,0,50,2', 'b,20,120,4']),
  ],
)
def test_durations_of_events_in_other_units(header, rows):
  found = columns.choose(
    table('\n'.join([header, *rows])), needed=('video', 'start', 'end')
  )
  assert 'duration' not in found.chosen
  assert any('of the event' in note for note in found.notes)


def test_durations_of_recordings_beside_frames():
  header = 'video,start_frame,end_frame,duration'
  rows = '\na,0,50,120\nb,20,120,90'
  found = columns.choose(table(header + rows), needed=('video', 'start', 'end'))
  assert found.chosen['duration'].name == 'duration'
