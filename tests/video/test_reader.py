"""The worker process: same frames, clear errors, never a hang."""

import os
import signal
import time

import numpy as np
import pytest

from cmsn_jax.video import decoding, sampling
from cmsn_jax.video import reader as video_reader
from tests.video import made_videos


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  return made_videos.make(
    tmp_path_factory.mktemp('reader') / 'a.mp4', num_frames=200, noise=30
  )


@pytest.fixture(scope='module')
def reader():
  with video_reader.VideoReader() as opened:
    yield opened


def has_ended(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return True
  return False


def test_same_frames_and_one_worker_for_many_videos(path, reader):
  expected = decoding.read(path, fps=10.0)
  found = np.concatenate(list(reader.frames(path, fps=10.0)))
  assert np.array_equal(found, expected)
  pid = reader.pid
  part = list(reader.frames(path, start_frame=20, stop_frame=60, size=(8, 8)))
  assert np.array_equal(
    np.concatenate(part), decoding.read(path, size=(8, 8))[20:60]
  )
  assert reader.pid == pid
  assert not list(reader.frames(path, start_frame=5, stop_frame=5))


def test_windows(path, reader):
  expected = decoding.read(path, size=(8, 8))
  found = list(reader.windows(path, 64, 32, size=(8, 8)))
  assert [w.start_frame for w in found] == list(
    sampling.window_starts(200, 64, 32)
  )
  for window in found:
    assert window.frames.shape == (64, 8, 8, 3)
    n = window.num_frames
    assert np.array_equal(
      window.frames[:n], expected[window.start_frame :][:64]
    )
    assert (window.frames[n:] == 0).all()
  assert found[-1].start_frame + found[-1].num_frames == 200


def test_one_call_windows(path):
  found = list(video_reader.windows(path, 300, 150, fps=25, size=(8, 8)))
  assert [(w.start_frame, w.num_frames) for w in found] == [(0, 200)]


def test_errors_and_warnings_cross_over(path, reader, tmp_path):
  with pytest.raises(decoding.VideoError, match='no.mp4'):
    list(reader.frames(tmp_path / 'no.mp4'))
  cut = tmp_path / 'cut.mp4'
  made_videos.make(
    cut, num_frames=60, noise=20, container_options={'movflags': 'faststart'}
  )
  data = cut.read_bytes()
  cut.write_bytes(data[: 2 * len(data) // 3])
  with pytest.raises(decoding.VideoError, match='cut.mp4: truncated'):
    list(reader.frames(cut))
  with pytest.warns(decoding.VideoWarning, match='cut.mp4'):
    assert list(reader.frames(cut, allow_damage=True))
  with pytest.raises(ValueError, match='fps must be'):
    list(reader.frames(path, fps=-1.0))
  # The worker is as good as new afterwards.
  assert sum(map(len, reader.frames(path, size=(8, 8)))) == 200


def test_stopping_early_ends_the_worker(path):
  with video_reader.VideoReader(prefetch_frames=1) as reader:
    frames = reader.frames(path, chunk_frames=10)
    assert len(next(frames)) == 10
    pid = reader.pid
    with pytest.raises(RuntimeError, match='already reading'):
      next(reader.frames(path))
    frames.close()
    assert reader.pid is None and has_ended(pid)
    assert sum(map(len, reader.frames(path, size=(8, 8)))) == 200
    pid = reader.pid
  assert has_ended(pid)


def test_killed_worker_is_an_error(path):
  with video_reader.VideoReader(prefetch_frames=1) as reader:
    frames = reader.frames(path, chunk_frames=5)
    next(frames)
    os.kill(reader.pid, signal.SIGKILL)
    with pytest.raises(
      decoding.VideoError, match='a.mp4: .*killed by signal 9'
    ):
      list(frames)
    # Killed while idle: the next video just gets a new worker.
    list(reader.frames(path, size=(8, 8)))
    os.kill(reader.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert sum(map(len, reader.frames(path, size=(8, 8)))) == 200


def test_stuck_worker_is_an_error(path):
  with video_reader.VideoReader(prefetch_frames=1) as reader:
    frames = reader.frames(path, chunk_frames=50)
    next(frames)
    reader._timeout_sec = 1.0
    os.kill(reader.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(decoding.VideoError, match='no progress for 1 s'):
      list(frames)
    assert time.monotonic() - started < 20


def test_worker_ends_with_its_parent(path, tmp_path):
  code = (
    'import os, signal, sys\n'
    'from cmsn_jax.video import reader as video_reader\n'
    "if __name__ == '__main__':\n"
    '  reader = video_reader.VideoReader(prefetch_frames=1)\n'
    '  next(reader.frames(sys.argv[1], chunk_frames=5))\n'
    '  frames = reader.frames(sys.argv[1], chunk_frames=5)\n'
    '  next(frames)\n'
    '  print(reader.pid, flush=True)\n'
    '  os.kill(os.getpid(), signal.SIGKILL)\n'
  )
  script = tmp_path / 'script.py'
  script.write_text(code)
  ended = _run(script, path)
  assert ended.returncode == -signal.SIGKILL
  pid = int(ended.stdout)
  for _ in range(100):
    if has_ended(pid):
      return
    time.sleep(0.1)
  os.kill(pid, signal.SIGKILL)
  pytest.fail('the worker outlived its parent by ten seconds')


@pytest.mark.parametrize('way', ['script', 'standard input', '-c'])
def test_the_main_script_is_not_run_again(path, tmp_path, way):
  code = (
    'import sys\n'
    'from cmsn_jax.video import reader as video_reader\n'
    "print('ran')\n"
    'window = next(video_reader.windows(sys.argv[1], 10, 5))\n'
    'print(window.num_frames)\n'
  )
  script = tmp_path / 'script.py'
  script.write_text(code)
  before = {'script': script, 'standard input': '-', '-c': '-c'}[way]
  words = [before, code] if way == '-c' else [before]
  ended = _run(*words, path, input=code if way == 'standard input' else None)
  assert ended.returncode == 0, ended.stderr
  assert ended.stdout == 'ran\n10\n'


def _run(*words, input=None):
  import pathlib
  import subprocess
  import sys

  root = pathlib.Path(__file__).resolve().parents[2]
  return subprocess.run(
    [sys.executable, *map(str, words)],
    input=input,
    capture_output=True,
    text=True,
    timeout=60,
    env={**os.environ, 'PYTHONPATH': str(root)},
  )


def test_decoding_runs_ahead_but_not_further(path):
  """While the consumer rests, the worker fills its bounds and then waits."""
  with video_reader.VideoReader(prefetch_frames=20) as reader:
    frames = reader.frames(path, chunk_frames=10, size=(64, 64))
    next(frames)
    time.sleep(1.0)
    busy = _cpu_ticks(reader.pid)
    time.sleep(0.5)
    assert _cpu_ticks(reader.pid) <= busy + 2
    started = time.monotonic()
    next(frames)
    assert time.monotonic() - started < 0.2


def _cpu_ticks(pid):
  with open(f'/proc/{pid}/stat') as file:
    fields = file.read().rsplit(')', 1)[1].split()
  return int(fields[11]) + int(fields[12])


@pytest.mark.slow
def test_memory_is_flat_over_an_hour(tmp_path):
  """A one-hour file: the worker's peak memory is that of a short one."""
  peaks = []
  for seconds in (60, 3600):
    file = made_videos.make(
      tmp_path / f'{seconds}.mp4',
      rate=5,
      num_frames=5 * seconds,
      size=(48, 80),
      options={'preset': 'ultrafast'},
    )
    with video_reader.VideoReader(prefetch_frames=100) as reader:
      count = 0
      for window in reader.windows(file, 768, 384, size=(48, 80), fps=25):
        count = window.start_frame + window.num_frames
      assert count == 25 * seconds
      with open(f'/proc/{reader.pid}/status') as status:
        peak = next(line for line in status if line.startswith('VmHWM'))
    peaks.append(int(peak.split()[1]))
  assert peaks[1] < peaks[0] + 10_000  # kB
