"""Suite 'video': from mp4 files to features, beside OpenCV and PyTorch.

A rendered 720p h264 file; CPU seconds of the whole way (decoding, scaling,
I3D with random weights) in one process. The other side decodes with OpenCV and
computes with the same network of PyTorch on one thread, both optional. Decoding
alone stands in a row of its own. Real time is what a single core reaches; two
idle cores reach nearly twice that, since a command decodes in a process beside.
"""

import itertools
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
from absl import logging

from cmsn_jax.features import packing, video_features
from cmsn_jax.features.backbones import inception3d
from cmsn_jax.settings import features
from cmsn_jax.video import decoding

from . import decode, interleaved, torch_backbones

_SOURCE, _RATE = (720, 1280), 25
# Shorter side that frames are scaled to, crop, frames a second.
_SETTINGS = {
  'I3D (configs/features_i3d.py)': (256, 224, 25.0),
  'I3D, features.fps=12.5': (256, 224, 12.5),
  'light (configs/features_light.py)': (128, 112, 25.0),
  'light, features.fps=12.5': (128, 112, 12.5),
}


def run_video(quick: bool = False) -> list[dict]:
  """Rows of decoding, of each setting, and of many short clips.

  Args:
    quick: a shorter file, one repetition, fewer clips and settings.

  Returns:
    rows as `interleaved.compare` makes them, with `work` and `alternative`.
  """
  seconds, repeats, clips = (1, 1, 3) if quick else (6, 2, 18)
  settings = list(_SETTINGS)[2:3] if quick else list(_SETTINGS)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'made.mp4'
    decode.render(path, seconds * _RATE, _SOURCE, _RATE)
    rows = [_decoding(path, seconds, 1 if quick else 7)]
    rows += [_extraction(path, name, seconds, repeats) for name in settings]
    short = _short_clips(pathlib.Path(folder), clips)
    return [*rows, _clips(short, _SETTINGS[settings[0]], quick)]


def _short_clips(folder, count):
  """Files of .04 to 5 seconds, and their frames in all."""
  lengths = np.linspace(1, 5 * _RATE, count).round().astype(int)
  paths = []
  for length in lengths:
    paths.append(folder / f'clip_{length}.mp4')
    decode.render(paths[-1], int(length), _SOURCE, _RATE)
  return paths, int(lengths.sum())


def _made(shorter, crop, fps):
  section = features.i3d((shorter,), crop).features
  section.weights, section.fps = 'random', fps
  return video_features.from_config(section)


def _decoding(path, seconds, repeats):
  size = video_features.shorter_side(*_SOURCE, 256)

  def ours():
    return sum(len(c) for c in decoding.frames(path, fps=_RATE, size=size))

  cv2, missing = _opencv()
  theirs = cv2 and (
    lambda: sum(len(c) for c in _cv_frames(cv2, path, size, _RATE))
  )
  row = interleaved.compare('video', ours, theirs, repeats)
  row['work'] = f'decoding {seconds} s of 720p to {size[0]} x {size[1]} RGB'
  return _noted(row, 'OpenCV', missing, seconds)


def _extraction(path, name, seconds, repeats):
  made = _made(*_SETTINGS[name])
  theirs, missing = _torch_side(*_SETTINGS[name])
  row = interleaved.compare(
    'video',
    lambda: made.extract(str(path)),
    theirs and (lambda: theirs(path)),
    repeats,
  )
  row['work'] = f'{name}, {seconds} s of 720p'
  return _noted(row, 'OpenCV and torch', missing, seconds)


def _clips(short, setting, quick):
  """Many short files, ours packed into full calls, the others one by one.

  Once: they are long together, and their setting's row has warmed both sides.
  """
  paths, num_frames = short
  made = _made(*setting)

  def ours():
    videos = ((path.name, made.frames(str(path))) for path in paths)
    for key, rows in packing.extract_all(made.extractor, videos):
      if isinstance(rows, Exception):
        raise ValueError(f'{key}: {rows}') from rows

  theirs, missing = _torch_side(*setting)
  row = interleaved.compare(
    'video',
    ours,
    theirs and (lambda: [theirs(path) for path in paths]),
    1,
    warm=not quick,
  )
  row['work'] = f'{len(paths)} clips of .04 to 5 s, crop {setting[1]}'
  return _noted(row, 'OpenCV and torch', missing, num_frames / _RATE)


def _noted(row, alternative, missing, seconds):
  row['alternative'] = None if missing else alternative
  speed = f'{seconds / row["ours_s"]:.3g} times real time a core'
  parts = [f'CPU seconds; {speed}', row['note'], missing]
  row['note'] = '; '.join(part for part in parts if part)
  # The suite takes minutes: each row is told when it is there.
  logging.info('%s: %.3g s; %s', row['work'], row['ours_s'], row['note'])
  return row


def _opencv():
  """(the module or None, why it is not there)."""
  try:
    import cv2
  except ImportError:
    return None, 'OpenCV is not installed'
  cv2.setNumThreads(1)
  return cv2, ''


def _cv_frames(cv2, path, size, fps) -> Iterator[np.ndarray]:
  """Every frame, or every second one, in pieces of 64."""
  capture = cv2.VideoCapture(str(path))
  step, kept = round(_RATE / fps), []
  for index in itertools.count():
    if not capture.grab():
      break
    if index % step:
      continue
    _, image = capture.retrieve()
    image = cv2.resize(image, size[::-1])
    kept.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    if len(kept) == 64:
      yield np.stack(kept)
      kept = []
  if kept:
    yield np.stack(kept)


def _torch_side(shorter, crop, fps):
  """(path -> features by OpenCV and PyTorch, or None; what is missing)."""
  cv2, missing = _opencv()
  torch = torch_backbones.torch
  if torch is None:
    missing = ' and '.join(filter(None, [missing, 'torch is not installed']))
  if missing:
    return None, missing
  # More threads spin while they wait, which would count as work.
  torch.set_num_threads(1)
  layout = torch.channels_last_3d
  module = torch_backbones.I3D(inception3d.MIXED).eval()
  module = module.to(memory_format=layout)
  size = video_features.shorter_side(*_SOURCE, shorter)
  top, left = (size[0] - crop) // 2, (size[1] - crop) // 2

  def run(path):
    for piece in _cv_frames(cv2, path, size, fps):
      piece = piece[:, top : top + crop, left : left + crop]
      # Whole snippets only; its windows have no halo, which favours it.
      piece = np.pad(piece, [(0, -len(piece) % 8), (0, 0), (0, 0), (0, 0)])
      x = torch.from_numpy(piece.transpose(3, 0, 1, 2)[None].copy())
      with torch.inference_mode():
        module((x.float() / 127.5 - 1).contiguous(memory_format=layout))

  return run, ''
