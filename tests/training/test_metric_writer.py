import inspect
import json
import pathlib

import matplotlib.figure
import numpy as np
import pytest

from cmsn_jax.training import metric_writer


def test_lines_and_events(tmp_path):
  writer = metric_writer.WorkdirWriter(tmp_path, 'stages/')
  writer.scalars(3, {'loss': 1.5, 'other': float('nan')})
  writer.text('config', 'x')
  writer.close()
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
    {'step': 3, 'stages/loss': 1.5, 'stages/other': None}
  ]
  (events,) = (tmp_path / 'tensorboard').iterdir()
  assert b'stages/loss' in events.read_bytes()


def test_events_end_quietly_on_a_full_disk(caplog):
  full = pathlib.Path('/dev/full')
  if not full.exists():
    pytest.skip('no /dev/full on this system')
  file = metric_writer._EventFile(full)
  for _ in range(3):
    file.write(bytes(1 << 16))
    file.flush()
  file.close()
  file.flush()
  assert caplog.text.count('ends here') == 1
  assert 'No space left' in caplog.text


def _records(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_a_run_that_goes_on_adds_to_the_lines(tmp_path):
  for step in (1, 2):
    writer = metric_writer.WorkdirWriter(tmp_path)
    writer.scalars(step, {'loss': step / 4})
    writer.close()
  assert _records(tmp_path) == [
    {'step': 1, 'loss': 0.25}, {'step': 2, 'loss': 0.5},
  ]  # fmt: skip


def test_a_line_is_there_before_the_run_ends(tmp_path):
  writer = metric_writer.WorkdirWriter(tmp_path, 'joint/')
  writer.scalars(1, {'loss': 1.0})
  assert _records(tmp_path) == [{'step': 1, 'joint/loss': 1.0}]
  writer.close()


@pytest.mark.parametrize(
  ('value', 'expected'),
  [
    (float('inf'), None),
    (float('-inf'), None),
    (float('nan'), None),
    (np.float64(0.1), 0.1),
    (-1e-300, -1e-300),
  ],
)
def test_lines_are_json_whatever_the_value(tmp_path, value, expected):
  writer = metric_writer.WorkdirWriter(tmp_path)
  writer.scalars(0, {'x': value})
  writer.close()
  text = (tmp_path / 'metrics.jsonl').read_text()
  # JSON as the standard has it knows no NaN.
  found = json.loads(text, parse_constant=lambda name: pytest.fail(name))
  assert found == {'step': 0, 'x': expected}


def test_texts_distributions_and_figures_are_events_alone(tmp_path):
  writer = metric_writer.WorkdirWriter(tmp_path, 'stages/')
  writer.text('config', 'lr = 1')
  writer.histogram(2, 'durations', np.arange(10.0))
  figure = matplotlib.figure.Figure(figsize=(1, 1))
  figure.add_subplot().plot([0, 1])
  writer.figure(2, 'curve', figure)
  writer.close()
  (events,) = (tmp_path / 'tensorboard').iterdir()
  data = events.read_bytes()
  for tag in (b'config', b'lr = 1', b'stages/durations', b'stages/curve'):
    assert tag in data
  assert _records(tmp_path) == []


def test_whoever_writes_nothing_takes_the_same_calls(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names = [name for name in vars(metric_writer.WorkdirWriter) if name[0] != '_']
  writer = metric_writer.NullWriter()
  for name in names:
    one, other = (
      inspect.signature(getattr(kind, name))
      for kind in (metric_writer.WorkdirWriter, metric_writer.NullWriter)
    )
    assert one == other
  writer.scalars(1, {'loss': 1.0})
  writer.text('config', 'x')
  writer.histogram(1, 'h', [1.0])
  writer.figure(1, 'f', None)
  writer.close()
  assert not list(tmp_path.iterdir())
