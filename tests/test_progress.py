import sys

import pytest

from cmsn_jax import progress


class _Terminal:
  def __init__(self, stream, is_terminal):
    self._stream, self._is = stream, is_terminal

  def isatty(self):
    return self._is

  def __getattr__(self, name):
    return getattr(self._stream, name)


@pytest.fixture
def shown(capsys, monkeypatch):
  def run(is_terminal, seconds, quiet=False):
    monkeypatch.setattr(sys, 'stderr', _Terminal(sys.stderr, is_terminal))
    monkeypatch.setattr(progress, '_EVERY_SEC', seconds)
    for _ in progress.bar(
      range(3), desc='work', unit='video', quiet=quiet, miniters=1
    ):
      pass
    return capsys.readouterr().err

  return run


def test_lines_where_there_is_no_terminal(shown):
  lines = shown(False, 0.0).splitlines()
  assert lines[0].startswith('work:   0%, 0 of 3 video [')
  assert lines[-1].startswith('work: 100%, 3 of 3 video [')
  assert not any('\r' in line for line in lines)
  assert len(lines) == len({line.partition('[')[0] for line in lines})


def test_short_work_shows_no_line(shown):
  assert shown(False, 60.0) == ''


def test_quiet_shows_nothing(shown):
  assert shown(False, 0.0, quiet=True) == ''
  assert shown(True, 0.0, quiet=True) == ''


def test_steps_tell_epoch_and_loss(capsys, monkeypatch):
  monkeypatch.setattr(progress, '_EVERY_SEC', 0.0)
  bar = progress.StepBar('stages', 0, 4, 2, lambda step: 0.1, False)
  for step in range(4):
    bar.update(step, {'loss': 0.5})
  bar.close()
  last = capsys.readouterr().err.splitlines()[-1]
  assert last.startswith('stages: 100%, 4 of 4 step [')
  assert 'epoch=2.00, loss=0.5000' in last


def test_a_long_video_moves_the_bar_before_it_is_done():
  with progress.VideoBar({'a': 100.0, 'b': 50.0}, 'propose', False) as bar:
    seen = []
    for video_id, second in (('a', 40), ('a', 20), ('a', 500), ('b', 10)):
      bar.reached(video_id, second)
      seen.append(bar._bar.n)
    bar.done('b')
    seen.append(bar._bar.n)
  assert seen == [40, 40, 100, 110, 150]


def test_a_form_of_its_own_is_kept_without_a_terminal(capsys, monkeypatch):
  monkeypatch.setattr(sys, 'stderr', _Terminal(sys.stderr, False))
  monkeypatch.setattr(progress, '_EVERY_SEC', 0.0)
  form = '{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s{postfix}'
  with progress.bar(total=45.4, desc='x', bar_format=form, miniters=0) as bar:
    bar.update(15.200000000000001)
  assert 'x:  33%, 15 of 45 s' in capsys.readouterr().err
