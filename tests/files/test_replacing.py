import os
import pathlib
import subprocess
import sys

import pytest

from cmsn_jax.files import replacing


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
  target = tmp_path / 'new' / 'a.txt'
  with replacing.file(target) as file:
    file.write('old\r\nline')
    file.flush()
    assert not target.exists()
  assert target.read_bytes() == b'old\r\nline'  # line ends stay as written
  with replacing.file(target, 'wb', durable=True) as file:
    file.write(b'\x00new')
    file.flush()
    assert target.read_bytes() == b'old\r\nline'
  assert target.read_bytes() == b'\x00new'
  assert os.listdir(target.parent) == ['a.txt']


@pytest.mark.parametrize('stop', [ValueError('bad'), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, stop):
  target = tmp_path / 'a.txt'
  target.write_text('old')
  with pytest.raises(type(stop)), replacing.file(target) as file:
    file.write('half')
    raise stop
  with pytest.raises(type(stop)), replacing.path(target) as temporary:
    pathlib.Path(temporary).write_text('half')
    raise stop
  assert target.read_text() == 'old'
  assert os.listdir(tmp_path) == ['a.txt']


def test_what_cannot_be_written_is_named_as_the_user_named_it(tmp_path):
  folder = tmp_path / 'a.json'
  folder.mkdir()
  with (
    pytest.raises(IsADirectoryError) as caught,
    replacing.file(folder) as file,
  ):
    file.write('{}')
  assert caught.value.filename == str(folder)
  assert '.tmp' not in str(caught.value)
  # A name this long leaves no room for a temporary one.
  path = tmp_path / ('x' * 252)
  with pytest.raises(OSError) as caught, replacing.file(path):
    pass
  assert caught.value.filename == str(path)
  assert not list(tmp_path.glob('*.tmp'))


def test_an_error_about_another_file_keeps_its_name(tmp_path):
  with (
    pytest.raises(FileNotFoundError) as caught,
    replacing.file(tmp_path / 'a'),
  ):
    open(tmp_path / 'missing')
  assert caught.value.filename == str(tmp_path / 'missing')


_WRITE = """
import sys
from cmsn_jax.files import replacing
with replacing.file(sys.argv[1]) as file:
  for _ in range(200):
    file.write(sys.argv[2] * 50)
    file.flush()
"""


def test_processes_that_write_the_same_file_do_not_mix(tmp_path):
  target = tmp_path / 'a.txt'
  root = pathlib.Path(__file__).resolve().parents[2]
  writers = [
    subprocess.Popen([sys.executable, '-c', _WRITE, target, x], cwd=root)
    for x in 'abc'
  ]
  for writer in writers:
    assert writer.wait(timeout=120) == 0
  text = target.read_text()
  assert len(text) == 10_000 and len(set(text)) == 1
  assert os.listdir(tmp_path) == ['a.txt']
