import json
import pathlib

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
