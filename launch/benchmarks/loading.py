"""Suites 'input' and 'train': whole training steps, and what they wait for.

The run is `loop.train_and_evaluate` itself, its batches passed through a
stopwatch. The alternative loads a batch and computes on it in turn.
"""

import itertools
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import ml_collections

from cmsn_jax.chains import registry
from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.training import loop, phase_run, setup

from . import limits

_WARM = 3


class Chain(NamedTuple):
  """What is trained: a name, its config and its data."""

  name: str
  config: ml_collections.ConfigDict
  data: training_data.TrainingData


class Stopwatch:
  """Passes batches on and takes the time of steps and of waiting for data.

  The first steps, which compile, and the last one, which evaluates and saves,
  do not count.

  Attributes:
    waited: seconds that the loop stood still for a batch.
    total: seconds of the steps.
    count: of steps.
  """

  def __init__(self, batches: phase_run.Batches):
    self._batches = batches
    self.waited = self.total = 0.0
    self.count = 0

  def __call__(self, loader, start, stop):
    batches = self._batches(loader, start, stop)
    for number in itertools.count(start):
      asked = time.perf_counter()
      batch = next(batches, None)
      got = time.perf_counter()
      if batch is None:
        return
      yield batch
      if _WARM <= number - start and number + 1 < stop:
        self.waited += got - asked
        self.total += time.perf_counter() - asked
        self.count += 1


def run_input(quick: bool = False) -> list[dict]:
  """How much of a step is waiting for data, in three chains.

  Args:
    quick: fewer steps, and no video.
  """
  loaders = {'a thread': _thread}
  tf_data = _tf_data()
  if tf_data is not None:
    loaders = {'tf.data': tf_data, **loaders}
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for chain in _chains(pathlib.Path(folder), quick):
      turns = _stopped(chain, _in_turn)
      for name, batches in loaders.items():
        watch = _stopped(chain, batches)
        rows.append(_input_row(chain.name, name, watch, turns))
  if tf_data is None:
    rows[0]['note'] += '; tf.data: TensorFlow is not installed'
  return rows


def run_train(quick: bool = False) -> list[dict]:
  """Steps a second of the loop as launch.train runs it.

  Args:
    quick: fewer steps, and no video.
  """
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for chain in _chains(pathlib.Path(folder), quick):
      watch = _stopped(chain, _tf_data() or _thread)
      size = phase_run.batch_size(chain.config)
      rows.append({
        'suite': 'train',
        'work': f'{chain.name}, step of {size} windows of '
        f'{chain.config.windows.length} snippets',
        'ours_s': watch.total / watch.count,
        'note': f'{size * watch.count / watch.total:.1f} windows/s',
      })  # fmt: skip
  return rows


def _input_row(chain, loader, watch, turns):
  ours, theirs = watch.total / watch.count, turns.total / turns.count
  return {
    'suite': 'input',
    'work': f'{chain}, step with {loader}',
    'ours_s': ours,
    'alternative': 'load, then compute',
    'alternative_s': theirs,
    'ratio': ours / theirs,
    'note': f'{100 * watch.waited / watch.total:.1f} % of a step is waiting '
    f'for data, {100 * turns.waited / turns.total:.1f} % in turn',
  }


def _chains(folder, quick):
  """Paper's features chain, the template chain, and C3D from frames."""
  from configs import custom, rat_social

  steps = 12 if quick else 30
  for name, config in (
    ('paper, features', rat_social.get_config()),
    ('template, features', custom.get_config()),
  ):
    config.data.annotations = 'generated:8x600'
    config.data.feature_fps = 0.0
    yield _opened(name, config, folder / config.chain, steps)
  if not quick:
    yield _opened('C3D, frames', *_video(folder / 'video'), steps)


def _opened(name, config, folder, steps):
  folder.mkdir(parents=True, exist_ok=True)
  config, data = setup.open_run(config, folder)
  config = config.copy_and_resolve_references()
  config.train.warmup_steps = 0
  config.train.checkpoint_every_steps = 1_000_000
  if 'stages' in registry.load(config.chain).phases(config):
    config.train.eval_every_epochs = 1_000_000
    windows = sum(
      data.source.num_snippets(v) / (config.windows.length / 2)
      for v in data.train
    )
    epochs = steps * phase_run.batch_size(config) / windows
    config.train.stages_epochs = max(1, round(epochs))
  else:
    config.template.steps = steps
  return Chain(name, config, data)


def _video(folder):
  """(config, folder) of C3D on a few generated videos.

  The demo's on a CPU, configs/thumos14_c3d.py in bfloat16 on an accelerator.
  """
  from cmsn_jax.data.synthetic import video
  from cmsn_jax.settings import demo
  from configs import thumos14_c3d

  size = (64, 84)
  if limits.on_cpu():
    config = demo.get_config('')
  else:
    config = thumos14_c3d.get_config()
    config.data.exclude_labels = ()
    config.train.dtype = 'bfloat16'
    size = (128, 172)
  config.data.annotations = str(
    video.generate(folder, num_videos=6, duration_sec=60.0, size=size)
  )
  config.data.videos = str(folder / 'videos')
  config.data.frames_cache = str(folder / 'frames')
  return config, folder


def _stopped(chain: Chain, batches: phase_run.Batches) -> Stopwatch:
  watch = Stopwatch(batches)
  with tempfile.TemporaryDirectory() as workdir:
    loop.train_and_evaluate(
      chain.config,
      pathlib.Path(workdir),
      chain.data,
      phase=registry.load(chain.config.chain).phases(chain.config)[0],
      batches=watch,
      quiet=True,
    )
  return watch


def _in_turn(loader, start, stop):
  return (loader.batch(step) for step in range(start, stop))


def _thread(loader, start, stop):
  return iter(windows_lib.prefetched(loader.batch, start, stop))


def _tf_data() -> Callable | None:
  try:
    from cmsn_jax.data import input_pipeline
  except ModuleNotFoundError:
    return None
  return input_pipeline.batches
