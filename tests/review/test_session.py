"""A review: actions, output, who may change it, what comes next."""

import json
import pathlib

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.files import proposal_files
from cmsn_jax.review import edits, inputs, journal, output, session
from tests.review import made

Item = edits.Item


def _given(folder, **options):
  found = proposal_files.read(folder / 'proposals.json')
  return inputs.gather(
    found, annotations=folder / 'annotations.json', **options
  )


@pytest.fixture
def folder(tmp_path):
  made.write(tmp_path)
  return tmp_path


def _open(folder, **options):
  return session.Session(_given(folder), folder / 'out' / 'c.json', **options)


def _act(opened, name, recording='day1', window='w', **more):
  return opened.act(
    window, {'recording': recording, 'action': name, 'by': 'Ada', **more}
  )


def test_what_is_given():
  proposals = {
    'b': proposal_files.Proposals(
      np.array([[-1.0, 4.0], [-3.0, -1.0], [2.0, 2.0]]),
      np.array([0.9, 0.5, 0.1]),
    )
  }
  with pytest.warns(inputs.ReviewWarning, match='2 proposals in 1 recordings'):
    found = inputs.gather(proposals, labels=('rest',))
  source = found.sources['b']
  # What has no length on a time axis that begins at 0 cannot be shown.
  assert source.items == {'p0': Item(0.0, 4.0, '', 0.9)}
  assert (source.duration_sec, source.fps, source.subset) == (
    4.0,
    25.0,
    'training',
  )
  assert found.labels == ('rest',)


def test_annotations_and_proposals_stand_beside_each_other(folder):
  found = _given(folder)
  source = found.sources['day3']
  assert source.items['a1'] == Item(
    60.0, 66.0, 'groom', None, 'given', 'annotation'
  )
  assert sum(i.source == 'proposal' for i in source.items.values()) == 30
  assert source.annotated == ((0.0, 120.0),)
  assert (source.fps, source.subset) == (25.0, 'validation')
  assert found.sources['day1'].annotated == ()
  assert found.labels == ('groom', 'rear')


def test_nothing_to_review_is_an_error():
  with pytest.raises(ValueError, match='nothing to review'):
    inputs.gather({})


def test_the_output_is_what_was_decided_and_the_rest_is_ignored(folder):
  opened = _open(folder)
  opened.given.sources['day1'].items['p0']
  _act(opened, 'change', item='p0', segment=[20.0, 30.0])
  _act(opened, 'label', item='p0', label='rear')
  _act(opened, 'change', item='p1', segment=[80.0, 84.0])
  _act(opened, 'reject', item='p1')
  opened.close()
  written = json.loads((folder / 'out' / 'c.json').read_text())['database']
  # day2 was never looked at; day3 is as its annotations say.
  assert set(written) == {'day1', 'day3'}
  day1 = written['day1']
  length = day1['duration']
  assert day1['annotations'] == [
    {
      'segment': [20.0, 30.0],
      'label': 'rear',
      'source': 'proposal',
      'score': opened.given.sources['day1'].items['p0'].score,
      'by': 'Ada',
    }
  ]
  # Half a length on either side was looked at.
  assert day1['ignore'] == [[0.0, 15.0], [35.0, 78.0], [86.0, length]]
  assert day1['review']['by'] == ['Ada']
  assert [r['segment'] for r in day1['review']['rejected']] == [[80.0, 84.0]]
  assert written['day3']['ignore'] == []
  assert written['day3']['feature_fps'] == 5.0
  assert len(written['day3']['annotations']) == 2


def test_the_output_is_read_as_annotations_without_a_warning(folder):
  opened = _open(folder)
  _act(opened, 'accept', item='p0')
  _act(opened, 'done', recording='day2')
  opened.close()
  found = activitynet.read(folder / 'out' / 'c.json')
  assert set(found.videos) == {'day1', 'day2', 'day3'}
  assert len(found.videos['day1'].segments) == 1
  assert len(found.videos['day2'].segments) == 0
  assert found.videos['day1'].subset == 'training'


def test_done_and_seen_leave_nothing_ignored(folder):
  opened = _open(folder)
  length = opened.given.sources['day1'].duration_sec
  _act(opened, 'seen', segments=[[0, 50]])
  _act(opened, 'look', segments=[[49, 1e9]])
  _act(opened, 'done', recording='day2')
  found = opened.document()['database']
  assert found['day1']['ignore'] == [] and found['day2']['ignore'] == []
  # What a browser says beyond the end is cut, so that a replay says the same.
  assert opened.journal.actions[1]['segments'] == [[49.0, length]]
  opened.close()


def test_it_goes_on_from_the_corrected_file(folder):
  first = _open(folder)
  _act(first, 'change', item='p0', segment=[20.0, 30.0])
  first.close()
  second = inputs.gather(
    proposal_files.read(folder / 'proposals.json'),
    annotations=folder / 'out' / 'c.json',
  )
  assert second.sources['day1'].annotated == ((15.0, 35.0),)
  assert second.sources['day1'].items['a0'][:2] == (20.0, 30.0)


def test_a_review_goes_on_where_it_was(folder):
  first = _open(folder)
  _act(first, 'accept', item='p0')
  _act(
    first,
    'split',
    item='p1',
    at=sum(first.recordings['day1'].items['p1'][:2]) / 2,
  )
  _act(first, 'undo')
  _act(first, 'done', recording='day3')
  state = first.recordings
  # As if killed: neither written nor closed, only the lock is gone.
  first.journal.close()
  second = _open(folder)
  assert second.recordings == state and second.number == 4
  assert _act(second, 'redo') != {}
  second.close()


def test_what_cannot_be_done_is_not_in_the_journal(folder):
  opened = _open(folder)
  for more in ({'item': 'p99'}, {'item': 'p0', 'recording': 'day9'}):
    with pytest.raises(edits.ActionError):
      _act(opened, 'accept', **more)
  assert opened.journal.actions == [] and opened.number == 0
  opened.close()


def test_what_the_disk_refuses_did_not_happen(folder, monkeypatch):
  opened = _open(folder)
  before = opened.recordings['day1'].copied()

  def fail(action):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as patched:
    patched.setattr(opened.journal, 'append', fail)
    with pytest.raises(OSError, match='No space'):
      _act(opened, 'accept', item='p0')
  assert opened.recordings['day1'] == before and opened.number == 0
  opened.close()


def test_the_second_window_only_looks(folder):
  now = [0.0]
  opened = _open(folder, clock=lambda: now[0])
  assert opened.beat('one') and not opened.beat('two')
  with pytest.raises(session.ReadOnlyError):
    _act(opened, 'accept', item='p0', window='two')
  # Until it takes over, or the first has gone.
  assert opened.beat('two', take=True) and not opened.beat('one')
  now[0] = 60.0
  assert opened.beat('one')
  opened.leave('one')
  assert opened.beat('two')
  opened.close()


def test_the_second_program_only_looks_and_sees(folder):
  first, second = _open(folder), _open(folder)
  assert second.read_only and not second.beat('w', take=True)
  _act(first, 'accept', item='p0')
  second.refresh()
  assert second.recordings == first.recordings
  assert not second.write()
  first.close()
  second.close()


def test_inputs_are_never_changed(folder):
  before = {p: p.read_bytes() for p in folder.glob('*.json')}
  opened = _open(folder)
  _act(opened, 'reject', item='a0', recording='day3')
  _act(opened, 'accept', item='p0')
  opened.close()
  output.export(
    folder / 'out' / 'c.json', 'csv', opened.recordings, opened.given.sources
  )
  assert {p: p.read_bytes() for p in folder.glob('*.json')} == before


def test_nothing_is_written_over_what_the_review_reads(folder):
  opened = session.Session(
    _given(folder),
    folder / 'c.json',
    unchanged=[folder / 'c.csv', folder / 'c_elan' / 'p.json'],
  )
  _act(opened, 'accept', item='p0')
  for kind in ('csv', 'elan'):
    with pytest.raises(ValueError, match='over what the review reads'):
      opened.export(kind)
  assert pathlib.Path(opened.export('boris')).is_file()
  opened.close()


def test_an_output_without_its_journal_is_not_overwritten(folder):
  (folder / 'out').mkdir()
  mine = folder / 'out' / 'c.json'
  mine.write_text('made by hand')
  with pytest.raises(journal.JournalError, match='would be overwritten'):
    _open(folder)
  assert mine.read_text() == 'made by hand'
  assert not (folder / 'out' / 'c.json.journal').exists()


def test_other_proposals_are_not_this_review(folder):
  _open(folder).close()
  made.write(folder, count=31)
  with pytest.raises(journal.JournalError, match='other --proposals'):
    _open(folder)


@pytest.mark.parametrize('kind', output.FORMATS)
def test_it_is_written_as_other_programs_have_it(folder, kind):
  opened = _open(folder)
  _act(opened, 'change', item='p0', segment=[20.0, 30.0])
  _act(opened, 'label', item='p0', label='rear')
  path = pathlib.Path(
    output.export(
      folder / 'out' / 'c.json', kind, opened.recordings, opened.given.sources
    )
  )
  files = [path] if path.is_file() else sorted(path.iterdir())
  text = ''.join(file.read_text() for file in files)
  assert 'rear' in text
  assert path.name in ('c.csv', 'c.boris', f'c_{kind}')
  opened.close()


def test_an_unknown_format_and_an_empty_review_are_errors(tmp_path):
  found = inputs.gather({'a': made.proposals()})
  opened = session.Session(found, tmp_path / 'c.json')
  with pytest.raises(ValueError, match='format must be one of csv'):
    output.export(tmp_path / 'c.json', '../x', opened.recordings, found.sources)
  with pytest.raises(ValueError, match='nothing is accepted'):
    output.export(tmp_path / 'c.json', 'csv', opened.recordings, found.sources)
  opened.close()
  # No reader takes a file without a recording, so there is none.
  assert not (tmp_path / 'c.json').exists()
