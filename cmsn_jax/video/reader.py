"""Decoding in a worker process: window k+1 decodes while window k computes.

    for window in video_reader.windows('my.mp4', 768, 384, fps=25.0):
      window.start_frame, window.num_frames, window.frames   # [768, h, w, 3]

The worker is a Python of its own, no fork, so it is safe beside JAX's threads;
it does not run the main script again, so it works in notebooks and unguarded
scripts too. It is
at most `prefetch_frames` ahead, so memory is bounded for any length. A worker
that dies, is killed, or makes no progress ends in a `VideoError`.
"""

import json
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from multiprocessing import connection as connection_lib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from cmsn_jax.video import decoding, sampling, video_files

_MAX_PREFETCH_BYTES = 2**29
# Not by multiprocessing, whose children run the main script again: standard
# input and a notebook have none, and a script may lack the guard.
_WORKER = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from cmsn_jax.video import reader
reader.serve(int(sys.argv[1]))
"""


class Window(NamedTuple):
  """Frames [start_frame, start_frame + num_frames) at the output rate.

  Attributes:
    start_frame: output frame index of the first one.
    num_frames: valid frames; fewer than the window only at the video's end.
    frames: uint8 [window_frames, h, w, 3]; zero beyond `num_frames`.
  """

  start_frame: int
  num_frames: int
  frames: np.ndarray


class VideoReader:
  """Decodes videos, one after the other, in one worker process.

  Args:
    prefetch_frames: how far the worker may run ahead.
    timeout_sec: a worker without progress for so long is killed.
  """

  def __init__(self, prefetch_frames: int = 768, timeout_sec: float = 120.0):
    self._prefetch_frames = prefetch_frames
    self._timeout_sec = timeout_sec
    self._process = self._connection = None
    self._busy = False

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  @property
  def pid(self) -> int | None:
    """The worker's process id; None where none runs."""
    return self._process.pid if self._process else None

  def close(self):
    """Ends the worker process."""
    if self._process is not None:
      self._process.kill()
      self._process.wait()
      self._connection.close()
    self._process = self._connection = None
    self._busy = False

  def frames(
    self, path: str | os.PathLike, **kwargs: Any
  ) -> Iterator[UInt8[np.ndarray, 'n h w 3']]:
    """What `video.frames(path, **kwargs)` yields, decoded by the worker.

    Stopping early ends the worker; the next call starts another.

    Raises:
      VideoError: as `video.frames`, or the worker died or hung.
    """
    path = decoding.readable(path)
    # The worker does not know what this process was told.
    kwargs['allow_damage'] = video_files.damage_allowed(
      kwargs.get('allow_damage')
    )
    if self._busy:
      raise RuntimeError(
        'this VideoReader is already reading a video; finish or close that '
        'iterator first, or use one reader for each'
      )
    self._start()
    self._busy = True
    finished = False
    try:
      self._send(path, kwargs)
      while True:
        kind, content = self._receive(path)
        if kind == 'frames':
          yield content
        elif kind == 'warning':
          warnings.warn(content, decoding.VideoWarning, stacklevel=2)
        else:
          finished = True
          if kind == 'error':
            raise content
          return
    finally:
      self._busy = False
      if not finished:
        self.close()

  def windows(
    self,
    path: str | os.PathLike,
    window_frames: int,
    hop_frames: int,
    **kwargs: Any,
  ) -> Iterator[Window]:
    """Overlapping windows of `frames(path, **kwargs)`, the tail zero-padded."""
    first = kwargs.get('start_frame', 0)
    chunks = self.frames(path, **kwargs)
    for start, count, window in sampling.assemble_windows(
      chunks, window_frames, hop_frames
    ):
      yield Window(first + start, count, window)

  def _start(self):
    if self._process is not None and self._process.poll() is not None:
      self.close()
    if self._process is not None:
      return
    self._connection, theirs = multiprocessing.Pipe()
    # Then the worker holds the only copy: its death is an end of file here.
    with theirs:
      number = theirs.fileno()
      paths = json.dumps([path for path in sys.path if isinstance(path, str)])
      self._process = subprocess.Popen(
        [sys.executable, '-P', '-c', _WORKER, str(number), paths],
        stdin=subprocess.DEVNULL,
        pass_fds=(number,),
      )

  def _send(self, path, kwargs):
    try:
      self._connection.send((path, kwargs, self._prefetch_frames))
    except OSError:
      self._died(path, timed_out=False)

  def _receive(self, path):
    timed_out = threading.Event()

    def kill(process=self._process):
      timed_out.set()
      process.kill()

    # Killing the worker ends any read on the pipe, even one in mid-message.
    timer = threading.Timer(self._timeout_sec, kill)
    timer.daemon = True
    timer.start()
    try:
      kind, content = self._connection.recv()
      if kind == 'frames':
        content = np.empty(content, np.uint8)
        self._connection.recv_bytes_into(content.data.cast('B'))
      return kind, content
    except (EOFError, OSError):
      self._died(path, timed_out.is_set())
    finally:
      timer.cancel()

  def _died(self, path, timed_out):
    try:
      code = self._process.wait(5.0)
    except subprocess.TimeoutExpired:
      code = None
    self.close()
    if timed_out:
      raise decoding.VideoError(
        f'{path}: the decoding process made no progress for '
        f'{self._timeout_sec:g} s and was killed; try the file with another '
        'player, or raise timeout_sec on a slow disk'
      )
    how = (
      f'was killed by signal {-code}'
      if (code or 0) < 0
      else (f'ended with exit status {code}')
    )
    raise decoding.VideoError(
      f'{path}: the decoding process {how}; a signal 9 often means that memory '
      'ran out'
    )


def windows(
  path: str | os.PathLike,
  window_frames: int,
  hop_frames: int,
  *,
  fps: int | float = 25.0,
  size: tuple[int, int] | None = (128, 171),
  prefetch_frames: int | None = None,
  timeout_sec: float = 120.0,
  allow_damage: bool | None = None,
) -> Iterator[Window]:
  """Windows of one video, decoded ahead by a worker process.

  Args:
    path: a video file.
    window_frames: frames a window.
    hop_frames: distance of two windows' starts, in [1, window_frames].
    fps: rate at which frames are sampled.
    size: (height, width) in pixels; None keeps the displayed size.
    prefetch_frames: how far the worker may run ahead; None: one window.
    timeout_sec: a worker without progress for so long is killed.
    allow_damage: read through damage with one warning.

  Yields:
    Window; starts follow `video_sampling.window_starts`.

  Raises:
    VideoError: not a video, damaged, or the worker died or hung.
  """
  with VideoReader(prefetch_frames or window_frames, timeout_sec) as reader:
    yield from reader.windows(
      path,
      window_frames,
      hop_frames,
      fps=fps,
      size=size,
      allow_damage=allow_damage,
    )


def serve(descriptor: int) -> None:
  """The worker: answers each request with its chunks, then 'end' or 'error'.

  Args:
    descriptor: of the connection's file.
  """
  connection = connection_lib.Connection(descriptor)
  # Ctrl-C reaches the whole group; the parent decides and kills the worker.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  while True:
    try:
      path, kwargs, prefetch_frames = connection.recv()
    except (EOFError, OSError):
      return
    _decode_all(connection, path, kwargs, prefetch_frames)


def _decode_all(connection, path, kwargs, prefetch_frames):
  pending, sender = None, None

  def put(message):
    nonlocal pending, sender
    if sender is None:
      pending = queue.Queue(_depth(message, prefetch_frames))
      sender = threading.Thread(
        target=_send_all, args=(connection, pending), daemon=True
      )
      sender.start()
    pending.put(message)

  try:
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always')
      for chunk in decoding.frames(path, **kwargs):
        put(('frames', chunk))
    for warning in caught:
      put(('warning', str(warning.message)))
    put(('end', None))
  except Exception as error:  # whatever it is, the parent must see it
    put(('error', _picklable(error)))
  sender.join()


def _depth(message, prefetch_frames) -> int:
  """How many chunks like this one fit into the prefetch bounds."""
  if message[0] != 'frames':
    return 2
  num_frames = min(
    prefetch_frames, _MAX_PREFETCH_BYTES // max(1, message[1][0].nbytes)
  )
  return max(1, num_frames // len(message[1]))


def _send_all(connection, pending):
  """Sends what is queued; a parent that is gone ends the process."""
  try:
    while True:
      kind, content = pending.get()
      if kind == 'frames':
        connection.send((kind, content.shape))
        connection.send_bytes(np.ascontiguousarray(content).data.cast('B'))
      else:
        connection.send((kind, content))
      if kind in ('end', 'error'):
        return
  except OSError:
    os._exit(1)


def _picklable(error: Exception) -> Exception:
  """The error itself where it is ours or plain, else its words."""
  if isinstance(error, decoding.VideoError) or type(error) in (
    ValueError,
    TypeError,
  ):
    return type(error)(str(error))
  return decoding.VideoError(f'{type(error).__name__}: {error}')
