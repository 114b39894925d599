import io
import json
import signal

import numpy as np
import pytest

from cmsn_jax.files import proposal_files, proposal_sources
from cmsn_jax.proposing import interrupt, live, streaming
from cmsn_jax.suppression import final_list
from tests.proposing import test_streaming


def _lines(text, fps=10.0):
  lines = live.Lines(io.StringIO(text), fps)
  return lines, [row.tolist() for rows in lines for row in rows]


@pytest.mark.parametrize(
  'text',
  ['1 2\n3\t4\n', '1,2\n3, 4\n', '# x\n[1, 2]\n\n[3.0, 4]\n', '1;2\n3;4'],
)
def test_rows_are_read_however_they_are_written(text):
  assert _lines(text)[1] == [[1, 2], [3, 4]]


def test_rows_with_times_keep_them():
  times = [5.0, 5.1, 5.4, 5.39, 5.51]
  text = ''.join(
    json.dumps({'t': at, 'row': [k]}) + '\n' for k, at in enumerate(times)
  )
  lines, rows = _lines(text)
  # 5.2 and 5.3 are missing; 5.39 is 5.4 again.
  assert rows == [[0], [1], [1], [1], [2], [4]]
  assert (lines.held, lines.late) == (2, 1)


@pytest.mark.parametrize(
  'text, line',
  [('1 2\nx y\n', 2), ('[1, 2\n', 1), ('{"row": [1]}\n', 1), ('[[1]]\n', 1)],
)
def test_a_line_that_is_no_row_is_named(text, line):
  with pytest.raises(ValueError, match=f'line {line}: found .* expected numb'):
    _lines(text)
  with pytest.raises(ValueError, match='line 2 has 1 numbers, .* have 2'):
    _lines('1 2\n3\n')


def test_long_gaps_are_held_in_pieces_and_wrong_clocks_are_named():
  text = '{"t": 0, "row": [1]}\n{"t": 3600, "row": [2]}\n'
  lines = live.Lines(io.StringIO(text), 10.0)
  sizes = [len(rows) for rows in lines]
  assert sum(sizes) == 36001 and max(sizes) <= 1024 and lines.held == 35999
  with pytest.raises(ValueError, match=r'line 3: found t = 1.7e\+09 s'):
    _lines(text + '{"t": 1.7e9, "row": [3]}\n')


def test_a_row_with_nan_is_missing():
  lines, rows = _lines('1 2\nnan 3\n4 inf\n5 6\n')
  assert rows == [[1, 2], [1, 2], [1, 2], [5, 6]] and lines.held == 2
  with pytest.raises(ValueError, match='line 1 has NaN or infinity, and no'):
    _lines('nan 1\n')


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError])
def test_however_the_rows_end_the_rest_is_told(error):
  rows, segments = test_streaming._recording(200, 10.0)
  stream = streaming.Stream(test_streaming._run(10.0), latency_sec=40.0)
  told = []

  def pieces():
    yield from (rows[k : k + 3] for k in range(0, len(rows), 3))
    raise error('gone')

  if error is KeyboardInterrupt:
    assert live.run(stream, pieces(), told.append).rows == len(rows)
  else:
    with pytest.raises(error, match='gone'):
      live.run(stream, pieces(), told.append)
  found = sorted((t.start_sec, t.end_sec) for t in told)
  np.testing.assert_allclose(found, segments)


@pytest.fixture
def ctrl_c():
  """As in a terminal: what is started in the background ignores it."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


def test_a_signal_ends_the_waiting_but_no_work(ctrl_c):
  del ctrl_c
  seen = []
  with interrupt.Interrupt() as asked:
    for item in asked.until_asked(range(9)):
      if item == 3:
        signal.raise_signal(signal.SIGTERM)
      seen.append(item)
    assert seen == [0, 1, 2, 3]
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)
  with interrupt.Interrupt() as asked:
    waiting = (signal.raise_signal(signal.SIGINT) for _ in range(9))
    assert list(asked.until_asked(waiting)) == []
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _watched(settings=final_list.NO_LIMITS):
  rows, segments = test_streaming._recording(200, 10.0)
  stream = streaming.Stream(test_streaming._run(10.0), latency_sec=4.0)
  told = []
  pieces = (rows[k : k + 3] for k in range(0, len(rows), 3))
  spent = live.run(stream, pieces, told.append, settings)
  assert spent.told == len(told) and spent.rows == 2000
  return told, segments


def test_lines_are_told_in_time_and_can_be_read_while_they_grow(
  tmp_path, capsys
):
  told, segments = _watched()
  found = sorted((t.start_sec, t.end_sec) for t in told)
  np.testing.assert_allclose(found, segments)
  assert all(t.end_sec <= t.at_sec <= t.end_sec + 4.3 for t in told)
  path = tmp_path / 'live.jsonl'
  with open(path, 'a') as file:
    printer = live.Printer('room', file)
    for one in told:
      printer(one)
    file.write('{"video": "room", "segm')  # a line on its way
    file.flush()
    for read in (proposal_files.read, proposal_sources.read):
      (name, proposals), = read(path).items()  # fmt: skip
      assert name == 'room' and len(proposals.scores) == len(told)
      assert (np.diff(proposals.scores) <= 0).all()
  lines = capsys.readouterr().out.splitlines()
  assert json.loads(lines[0])['segment'] == [told[0].start_sec, told[0].end_sec]
  path.write_text('{"video": "a", "segment": [0, 1], "score": 1}\nnonsense\n')
  with pytest.raises(proposal_files.ProposalFileError, match='line 2: found'):
    proposal_files.read(path)


def test_limits_of_what_is_told():
  every, _ = _watched()
  told, _ = _watched(final_list.Settings(min_score=0.5))
  assert [t for t in every if t.score >= 0.5] == told and 0 < len(told)
  told, _ = _watched(final_list.Settings(non_overlapping=True))
  assert told == every  # nothing overlaps
  with pytest.raises(ValueError, match='--max_per_minute needs the whole'):
    _watched(final_list.Settings(max_per_minute=2.0))
