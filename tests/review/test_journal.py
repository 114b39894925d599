"""The journal: what is written is there, whatever happened to the writer."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cmsn_jax.review import journal

_INPUTS = {'--proposals': 'abc', '--annotations': 'def'}


def _open(tmp_path, inputs=_INPUTS):
  return journal.Journal(tmp_path / 'out' / 'c.json.journal', inputs)


def test_what_is_appended_is_read_back(tmp_path):
  first = _open(tmp_path)
  first.append({'action': 'accept', 'item': 'p0', 'by': 'Žofie'})
  first.append({'action': 'undo'})
  first.close()
  second = _open(tmp_path)
  assert second.actions == [
    {'action': 'accept', 'item': 'p0', 'by': 'Žofie'},
    {'action': 'undo'},
  ]
  second.close()


@pytest.mark.parametrize('cut', [1, 5, 18])
def test_half_a_line_is_taken_away_before_the_next(tmp_path, cut):
  first = _open(tmp_path)
  first.append({'n': 1})
  first.append({'n': 'the last one'})
  first.close()
  path = tmp_path / 'out' / 'c.json.journal'
  os.truncate(path, path.stat().st_size - cut)
  second = _open(tmp_path)
  assert second.actions == [{'n': 1}]
  second.append({'n': 3})
  second.close()
  lines = path.read_text().splitlines()
  assert [json.loads(line) for line in lines[1:]] == [{'n': 1}, {'n': 3}]


def test_a_header_cut_in_half_is_written_anew(tmp_path):
  _open(tmp_path).close()
  path = tmp_path / 'out' / 'c.json.journal'
  whole = path.read_bytes()
  path.write_bytes(whole[:10])
  _open(tmp_path).close()
  assert path.read_bytes() == whole


def test_a_damaged_line_is_named(tmp_path):
  first = _open(tmp_path)
  first.append({'n': 1})
  first.close()
  path = tmp_path / 'out' / 'c.json.journal'
  path.write_bytes(path.read_bytes().replace(b'{"n": 1}', b'{"n": 1'))
  with pytest.raises(journal.JournalError, match='line 2: found'):
    _open(tmp_path)


def test_other_inputs_are_an_error_that_names_them(tmp_path):
  _open(tmp_path).close()
  with pytest.raises(
    journal.JournalError, match='begun with other --proposals,'
  ):
    _open(tmp_path, {**_INPUTS, '--proposals': 'xyz'})


def test_any_other_file_is_left_alone(tmp_path):
  path = tmp_path / 'c.json.journal'
  path.write_text('{"mine": 1}\n')
  with pytest.raises(journal.JournalError, match='expected .cmsn_jax review'):
    journal.Journal(path, _INPUTS)
  assert path.read_text() == '{"mine": 1}\n'


def test_the_second_reads_what_the_first_writes(tmp_path):
  first = _open(tmp_path)
  second = _open(tmp_path)
  assert not first.read_only and second.read_only
  first.append({'n': 1})
  assert second.more() == [{'n': 1}]
  assert second.more() == []
  with pytest.raises(journal.JournalError, match='open in another program'):
    second.append({'n': 2})
  first.close()
  second.close()
  third = _open(tmp_path)
  assert not third.read_only
  third.close()


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
  opened = _open(tmp_path)
  opened.append({'n': 1})
  before = (tmp_path / 'out' / 'c.json.journal').read_bytes()

  def fail(handle):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as patched:
    patched.setattr(os, 'fsync', fail)
    with pytest.raises(OSError, match='No space'):
      opened.append({'n': 2})
  assert (tmp_path / 'out' / 'c.json.journal').read_bytes() == before
  opened.append({'n': 3})
  assert opened.actions == [{'n': 1}, {'n': 3}]
  opened.close()


def test_what_was_acknowledged_outlives_a_kill(tmp_path):
  path = tmp_path / 'c.json.journal'
  code = f"""
from cmsn_jax.review import journal
opened = journal.Journal({os.fspath(path)!r}, {_INPUTS!r})
for n in range(10 ** 6):
  opened.append({{'n': n}})
  print(n, flush=True)
"""
  writer = subprocess.Popen(
    [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True
  )
  assert writer.stdout.readline() == '0\n'
  time.sleep(0.2)
  writer.send_signal(signal.SIGKILL)
  told = ['0', *writer.stdout.read().split('\n')[:-1]]
  writer.stdout.close()
  writer.wait()
  opened = journal.Journal(path, _INPUTS)
  numbers = [action['n'] for action in opened.actions]
  opened.close()
  assert not opened.read_only
  assert numbers == list(range(len(numbers)))
  assert int(told[-1]) <= numbers[-1]
