import csv
import io
import json
import pathlib
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmsn_jax.annotations import importers, lengths
from cmsn_jax.files import event_formats, proposal_files

Event = event_formats.Event
EVENTS = {
  'v1': [
    Event(1.0004, 2.5, 'groom', 0.9),
    Event(2.0, 3.25, 'groom', 0.5),
    Event(7.0, 9.125, 'rear, high', 0.25),
  ],
  'v2': [Event(0.0, 3661.0125, 'groom', 0.125)],
}
ABOUT = {
  'v1': event_formats.About(10.0, 25.0, 'v1.avi'),
  'v2': event_formats.About(4000.0, 30.0),
}


def write(tmp_path, kind, name):
  return event_formats.write(str(tmp_path / name), kind, EVENTS, ABOUT)


def test_the_command_knows_every_kind():
  for name in ('convert_proposals', 'propose'):
    source = (
      pathlib.Path(__file__).parents[2] / 'launch' / f'{name}.py'
    ).read_text()
    for kind in event_formats.KINDS:
      assert f"'{kind}'" in source, (name, kind)


def test_the_best_in_the_order_of_time():
  proposals = proposal_files.Proposals(
    np.array([[5.0, 6], [1, 2], [3, 4]]), np.array([0.9, 0.5, 0.1])
  )
  found = event_formats.events_of(proposals, top=2)
  assert found == [
    Event(1.0, 2.0, 'proposal', 0.5), Event(5.0, 6.0, 'proposal', 0.9)
  ]  # fmt: skip
  assert len(event_formats.events_of(proposals, min_score=0.5)) == 2
  assert len(event_formats.events_of(proposals)) == 3


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=20))
def test_rows_hold_all_and_no_overlap(pairs):
  events = [Event(float(s), float(s + n), 'x', 0.5) for s, n in pairs]
  rows = event_formats.lanes(events)
  assert sorted(e for row in rows for e in row) == sorted(events)
  for row in rows:
    assert all(a.end <= b.start for a, b in zip(row, row[1:]))
  # As few as overlap at any time.
  most = max(
    (sum(a.start <= t < max(a.end, a.start + 1e-9) for a in events)
     for t in range(40)), default=0,
  )  # fmt: skip
  assert len(rows) >= (1 if events else 0) and (
    len(rows) <= max(most, 1) + sum(e.start == e.end for e in events)
  )


@pytest.mark.parametrize('suffix', ['.tsv', '.csv'])
def test_boris_aggregated(suffix, tmp_path):
  (path,) = write(tmp_path, 'boris', f'b{suffix}')
  mark = '\t' if suffix == '.tsv' else ','
  with open(path) as file:
    rows = list(csv.DictReader(file, delimiter=mark))
  found = [
    (r['Observation id'], float(r['Start (s)']), float(r['Stop (s)']),
     r['Behavior'], r['Media file name'])
    for r in rows
  ]  # fmt: skip
  assert found == [
    ('v1', 1.0004, 2.5, 'groom', 'v1.avi'),
    ('v1', 2.0, 3.25, 'groom', 'v1.avi'),
    ('v1', 7.0, 9.125, 'rear, high', 'v1.avi'),
    ('v2', 0.0, 3661.0125, 'groom', 'v2.mp4'),
  ]
  assert rows[0]['Media duration (s)'] == '10'
  assert rows[0]['Comment start'] == 'score 0.9'


def test_boris_project(tmp_path):
  (path,) = write(tmp_path, 'boris', 'b.boris')
  project = json.loads(pathlib.Path(path).read_text())
  codes = {b['code'] for b in project['behaviors_conf'].values()}
  assert codes == {'groom', 'rear, high'}
  one = project['observations']['v1']
  assert one['file']['1'] == ['v1.avi']
  # Paired by subject and code, as BORIS does, the events are the proposals.
  open_, found = {}, []
  for time, subject, code, _, _ in one['events']:
    key = subject, code
    if key in open_:
      found.append((open_.pop(key), time, code))
    else:
      open_[key] = time
  assert not open_
  assert sorted(found) == [e[:3] for e in EVENTS['v1']]


def test_elan(tmp_path):
  files = write(tmp_path, 'elan', 'elan')
  root = ElementTree.parse(files[0]).getroot()
  slots = {
    s.get('TIME_SLOT_ID'): int(s.get('TIME_VALUE'))
    for s in root.iter('TIME_SLOT')
  }
  found = []
  for tier in root.iter('TIER'):
    last = -1
    for one in tier.iter('ALIGNABLE_ANNOTATION'):
      start, end = (slots[one.get(f'TIME_SLOT_REF{k}')] for k in (1, 2))
      assert start >= last  # ELAN's tiers have no overlap
      last = end
      found.append((start, end, one.find('ANNOTATION_VALUE').text))
  assert sorted(found) == [
    (1000, 2500, 'groom'), (2000, 3250, 'groom'), (7000, 9125, 'rear, high')
  ]  # fmt: skip


@settings(
  max_examples=15,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
  st.lists(
    st.tuples(
      st.floats(0, 50), st.floats(0.01, 9), st.sampled_from(['groom', 'rear'])
    ),
    min_size=1, max_size=8, unique_by=lambda row: round(row[0], 2),
  ),
  st.sampled_from([
    ('boris', 'b.tsv'), ('boris', 'b.csv'), ('boris', 'b.boris'),
    ('elan', 'elan'), ('audacity', 'audacity'), ('via', 'via'), ('csv', 'c.csv'),
  ]),
)  # fmt: skip
def test_what_is_written_is_read_to_a_millisecond(tmp_path_factory, rows, how):
  kind, name = how
  events = sorted(Event(s, s + n, label, 0.5) for s, n, label in rows)
  # A recording whose events all lie early is suspected of another unit.
  events.append(Event(62.5, 69.75, 'rear', 0.25))
  path = tmp_path_factory.mktemp('events') / name
  about = {'rat_01': event_formats.About(70.0, 25.0, 'rat_01.mp4')}
  event_formats.write(str(path), kind, {'rat_01': events}, about)
  found = importers.convert(path, lengths={'rat_01': lengths.Length(70.0)})
  video = found.annotations.videos['rat_01']
  read = sorted(zip(video.segments.tolist(), video.labels))
  assert len(read) == len(events)
  for (segment, _), event in zip(read, sorted(events)):
    np.testing.assert_allclose(segment, event[:2], atol=1e-3)
  assert sorted(video.labels) == sorted(e.label for e in events)


def test_lines_of_text(tmp_path):
  audacity = pathlib.Path(write(tmp_path, 'audacity', 'a')[0]).read_text()
  assert audacity.splitlines()[0] == '1.000400\t2.500000\tgroom'
  srt = pathlib.Path(write(tmp_path, 'srt', 's')[1]).read_text()
  assert srt.startswith('1\n00:00:00,000 --> 01:01:01,012\ngroom (score 0.125)')
  vtt = pathlib.Path(write(tmp_path, 'webvtt', 'w')[0]).read_text()
  assert vtt.startswith('WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.500\n')


def test_via(tmp_path):
  lines = pathlib.Path(write(tmp_path, 'via', 'v')[0]).read_text().splitlines()
  assert lines[0].startswith('# CSV_HEADER = metadata_id,file_list,temporal_')
  row = next(csv.reader(io.StringIO(lines[3])))
  assert json.loads(row[1]) == ['v1.avi']
  assert (float(row[2]), float(row[3])) == (7.0, 9.125)
  assert json.loads(row[4]) == {'TEMPORAL-SEGMENTS': 'rear, high'}


def test_a_label_a_frame(tmp_path):
  path = event_formats.write(
    str(tmp_path / 'd'), 'deepethogram',
    {'v1': EVENTS['v1']}, ABOUT,
  )[0]  # fmt: skip
  assert path.endswith('v1_labels.csv')
  rows = list(csv.reader(pathlib.Path(path).read_text().splitlines()))
  assert rows[0] == ['', 'background', 'groom', 'rear, high']
  table = np.array(rows[1:], int)
  assert len(table) == 250
  centres = (np.arange(250) + 0.5) / 25
  groom = (centres >= 1.0004) & (centres < 3.25)
  np.testing.assert_array_equal(table[:, 2], groom)
  np.testing.assert_array_equal(table[:, 1], (table[:, 2:] == 0).all(axis=1))
  with pytest.raises(ValueError, match='needs the frames a second; give --fps'):
    event_formats.write(str(tmp_path / 'e'), 'deepethogram', EVENTS, {})


def test_nothing_to_write(tmp_path):
  with pytest.raises(ValueError, match='no proposal is left'):
    event_formats.write(str(tmp_path / 'x'), 'csv', {'v1': []}, {})


@settings(
  max_examples=20,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
  st.lists(
    st.tuples(st.floats(0, 1e5), st.floats(0, 100), st.text(min_size=1, max_size=8)),
    min_size=1, max_size=6,
  )
)  # fmt: skip
def test_any_label_is_written(tmp_path, rows):
  events = {'v': sorted(Event(s, s + n, t, 0.5) for s, n, t in rows)}
  about = {'v': event_formats.About(0.0, 0.01)}
  for kind in event_formats.KINDS:
    try:
      event_formats.write(str(tmp_path / kind), kind, events, about)
    except ValueError as problem:
      assert kind == 'deepethogram' or 'surrogate' in str(problem)
    if kind == 'elan' and (tmp_path / 'elan' / 'v.eaf').exists():
      ElementTree.parse(tmp_path / 'elan' / 'v.eaf')


def test_a_label_is_no_tag_of_webvtt(tmp_path):
  events = {'v': [event_formats.Event(0.0, 1.0, '<b> & --> c', 0.5)]}
  (path,) = event_formats.write(str(tmp_path), 'webvtt', events, {})
  assert '\n&lt;b> &amp; -> c (score 0.5)\n' in pathlib.Path(path).read_text()
