"""Suite 'decode': frames from video beside OpenCV and an ffmpeg pipe.

The input is a 640 x 360 h264 file rendered for the purpose; every side gives
RGB frames of 128 x 171 at the file's own rate. Times are CPU seconds of all
processes involved, interleaved, the ratio the median over the pairs (below 1:
ours is faster). The sides are not quite equal: OpenCV's resize only samples,
ours averages over the pixels that fall together; and OpenCV and the pipe check
nothing, a truncated file ends early without an error there. Wall times are given where overlap is what counts.
"""

import fractions
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

import numpy as np

from cmsn_jax.video import decoding, frame_store, frame_store_build
from cmsn_jax.video import reader as video_reader

_SIZE = (128, 171)
_SOURCE = (360, 640)
_RATE = 30


def run_decode(quick: bool = False) -> list[dict]:
  """Rows of decoding, prefetching, and reading windows from a frame store.

  Args:
    quick: a shorter file and fewer repetitions.

  Returns:
    rows `{suite, work, ours_s, alternative, alternative_s, ratio, note}`.
  """
  num_frames, repeats = (300, 2) if quick else (1500, 5)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'made.mp4'
    render(path, num_frames)
    return [
      _against_opencv(path, num_frames, repeats),
      _against_ffmpeg(path, num_frames, repeats),
      _prefetch(path, num_frames),
      *_windows(path, pathlib.Path(folder), num_frames, repeats),
    ]


def render(
  path: pathlib.Path,
  num_frames: int,
  source: tuple[int, int] = _SOURCE,
  rate: int = _RATE,
):
  """A picture with much detail that moves, as an h264 file.

  Args:
    path: of the file.
    num_frames: of the video.
    source: height and width.
    rate: frames a second.
  """
  import av

  rng = np.random.default_rng(0)
  height, width = source
  tiles = rng.integers(0, 256, (height // 8 + 9, width // 8 + 9, 3), np.uint8)
  picture = tiles.repeat(8, 0).repeat(8, 1)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=fractions.Fraction(rate))
    stream.height, stream.width, stream.pix_fmt = height, width, 'yuv420p'
    for i in range(num_frames):
      y, x = (int(32 + 30 * f(i / 20)) for f in (np.sin, np.cos))
      view = np.ascontiguousarray(picture[y : y + height, x : x + width])
      frame = av.VideoFrame.from_ndarray(view, format='rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _ours(path) -> int:
  chunks = decoding.frames(path, fps=_RATE, size=_SIZE)
  return sum(len(chunk) for chunk in chunks)


def _against_opencv(path, num_frames, repeats):
  work = f'{num_frames} frames, 640 x 360 h264 to 128 x 171 RGB'
  try:
    import cv2
  except ImportError:
    return _row(work, _cpu(lambda: _ours(path)), 'OpenCV', note='not installed')
  cv2.setNumThreads(1)

  def opencv():
    capture = cv2.VideoCapture(str(path))
    count = 0
    while True:
      found, image = capture.read()
      if not found:
        return count
      cv2.cvtColor(cv2.resize(image, _SIZE[::-1]), cv2.COLOR_BGR2RGB)
      count += 1

  return _compare(work, lambda: _ours(path), 'OpenCV', opencv, repeats)


def _against_ffmpeg(path, num_frames, repeats):
  work = f'{num_frames} frames, the same'
  if not shutil.which('ffmpeg'):
    return _row(
      work, _cpu(lambda: _ours(path)), 'ffmpeg pipe', note='no ffmpeg in PATH'
    )

  def ffmpeg():
    command = (
      f'ffmpeg -v error -threads 1 -i {path} -vf scale=171:128 -pix_fmt rgb24 '
      '-f rawvideo -'
    )
    frame_bytes, count = 3 * _SIZE[0] * _SIZE[1], 0
    with subprocess.Popen(command.split(), stdout=subprocess.PIPE) as process:
      while len(process.stdout.read(frame_bytes)) == frame_bytes:
        count += 1
    return count

  return _compare(work, lambda: _ours(path), 'ffmpeg pipe', ffmpeg, repeats)


def _prefetch(path, num_frames):
  """Wall time of windows whose consumer takes as long as decoding does."""
  started = time.perf_counter()
  decoded = _ours(path)
  alone = time.perf_counter() - started
  pause = alone / decoded  # seconds of "compute" a frame

  def consume(chunks):
    started = time.perf_counter()
    for chunk in chunks:
      time.sleep(pause * len(chunk))
    return time.perf_counter() - started

  with video_reader.VideoReader() as reader:
    list(reader.frames(path, stop_frame=1))  # the process is up
    ours = consume(reader.frames(path, fps=_RATE, size=_SIZE))
  other = consume(decoding.frames(path, fps=_RATE, size=_SIZE))
  return _row(
    f'{num_frames} frames, decode while another takes as long',
    ours,
    'decode, then compute',
    other,
    ours / other,
    f'wall; decoding alone {alone:.3g} s; 0.5 is perfect overlap',
  )


def _windows(path, folder, num_frames, repeats):
  """Rows of reading random windows of 128 frames."""
  length = 128
  starts = np.random.default_rng(0).integers(num_frames - length, size=8)

  def from_file():
    for start in starts:
      decoding.read(
        path,
        fps=_RATE,
        size=_SIZE,
        start_frame=int(start),
        stop_frame=int(start) + length,
      )

  rows = []
  for encoding in frame_store.ENCODINGS:
    target = folder / encoding
    made = frame_store.Format(fps=_RATE, size=_SIZE, encoding=encoding)
    frame_store_build.build(
      target, {'made': path}, made, num_workers=1, progress=False
    )
    store = frame_store.FrameStore(target)

    def from_store(store=store):
      for start in starts:
        store.read('made', int(start), int(start) + length)

    row = _compare(
      f'{len(starts)} random windows of {length} frames, {encoding} store',
      from_store,
      'seek in the mp4',
      from_file,
      max(1, repeats // 2),
    )
    size = (target / 'made.frames').stat().st_size / store.num_frames('made')
    row['note'] += f'; {size / 1024:.1f} KiB a frame'
    rows.append(row)
  return rows


def _compare(
  work: str, ours: Callable, alternative: str, other: Callable, repeats: int
) -> dict:
  pairs = [(_cpu(ours), _cpu(other)) for _ in range(repeats)]
  mine, others = (statistics.median(times) for times in zip(*pairs))
  ratio = statistics.median(a / b for a, b in pairs)
  frames = ours()
  note = 'CPU seconds'
  if frames:
    assert frames == other(), 'the two sides gave different numbers of frames'
    note += f'; {frames / mine:.0f} against {frames / others:.0f} frames/s'
  return _row(work, mine, alternative, others, ratio, note)


def _row(work, ours_s, alternative, alternative_s=None, ratio=None, note=''):
  return {
    'suite': 'decode',
    'work': work,
    'ours_s': ours_s,
    'alternative': alternative,
    'alternative_s': alternative_s,
    'ratio': ratio,
    'note': note,
  }


def _cpu(function: Callable) -> float:
  """CPU seconds that a call takes, its child processes' included."""
  begin = _cpu_now()
  function()
  return _cpu_now() - begin


def _cpu_now() -> float:
  return sum(
    usage.ru_utime + usage.ru_stime
    for usage in map(
      resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
  )
