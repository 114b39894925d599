"""Suite 'streaming': proposals of an mp4, beside its decoding and network alone.

A narrow C3D of the demo's size with random weights proposes for a rendered 640
x 360 h264 file while a worker process decodes it. `alternative_s` is the slower
of decoding every window without the network, and the network on frames held in
memory; a ratio of 1.25 is 80 % of its speed. Wall seconds, since overlap is
what counts: three kinds of runs in turn, the ratio is the median over the turns.
"""

import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np

from cmsn_jax.chains import registry, windowed
from cmsn_jax.data import frame_source
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.features.backbones import c3d
from cmsn_jax.video import reader as video_reader

from . import decode

_ID = 'made'


class HeldSource:
  """Frames of one video in memory, read like those of a `DecodingSource`."""

  statistics = None

  def __init__(self, source, video_id: str = _ID):
    self.ids = source.ids
    self.feature_fps = source.feature_fps
    self.snippet_shape = source.snippet_shape
    self._stride = source.snippet_shape[0]
    self._total = source.num_snippets(video_id)
    self._frames = np.concatenate([
      source.read(video_id, start, min(start + 32, self._total))
      for start in range(0, self._total, 32)
    ])  # fmt: skip

  def num_snippets(self, video_id):
    del video_id
    return self._total

  def read(self, video_id, start, stop):
    del video_id
    return self._frames[start * self._stride : stop * self._stride]


def run_streaming(quick: bool = False) -> list[dict]:
  """One row: both together beside the slower alone.

  Args:
    quick: 10 seconds of video once, instead of two minutes three times.
  """
  seconds, repeats = (10, 1) if quick else (120, 3)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / f'{_ID}.mp4'
    decode.render(path, 30 * seconds)
    with video_reader.VideoReader() as reader:
      return [measure(*_runs(path, reader), seconds, repeats)]


def measure(decoding, network, both, seconds: float, repeats: int) -> dict:
  """The row of three functions that do the work; each was run once before."""
  times = {decoding: [], network: [], both: []}
  for _ in range(repeats):
    for run, spent in times.items():
      start = time.perf_counter()
      run()
      spent.append(time.perf_counter() - start)
  slower = [max(a, b) for a, b in zip(times[decoding], times[network])]
  ratios = [a / b for a, b in zip(times[both], slower)]
  middle = {run: statistics.median(spent) for run, spent in times.items()}
  return {
    'suite': 'streaming',
    'work': f'propose for {seconds:g} s of 640 x 360 h264, narrow C3D',
    'ours_s': middle[both],
    'alternative': 'the slower of decoding and network, alone',
    'alternative_s': statistics.median(slower),
    'ratio': statistics.median(ratios),
    'note': f'{seconds / middle[both]:.3g} x real time; decoding '
    f'{middle[decoding]:.3g} s, network {middle[network]:.3g} s, wall',
  }


def _runs(path, reader):
  from cmsn_jax.settings import demo

  config = demo.get_config()
  settings = config.video
  predictor = registry.predictor(config, {})
  shape = (c3d.STRIDE_FRAMES, *settings.crop, 3)
  key = jax.random.key(0)
  params = {
    'stages': predictor.networks.init_stages(key, config.windows.length, shape),
    'evaluator': predictor.networks.init_evaluator(key, config.stages.width),
  }
  predictor = predictor.with_params(params)

  def source():
    return frame_source.DecodingSource(
      {_ID: path}, reader, fps=settings.fps, size=settings.size,
      stride=c3d.STRIDE_FRAMES, crop=settings.crop,
    )  # fmt: skip

  hop = windows_lib.hop_snippets(config.windows.length, config.windows.overlap)

  def decoding():
    opened = source()
    for window in windowed.window_places(
      opened, [_ID], config.windows.length, hop
    ):
      opened.read(_ID, window.start, window.start + window.length)

  held = HeldSource(source())

  def network():
    list(predictor.propose(held, [_ID]))

  def both():
    list(predictor.propose(source(), [_ID]))

  network()  # Compiles.
  both()
  return decoding, network, both
