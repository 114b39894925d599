"""Rows for whole steps of the chain: proposing, training, the input pipeline."""

import subprocess
import sys
import tempfile
import time

import numpy as np

_FPS = 5.0
_DIM = 50


class _Source:
  """Random features of given lengths, as a `sources.FeatureSource` gives."""

  statistics = None
  feature_fps = _FPS
  snippet_shape = (_DIM,)

  def __init__(self, lengths):
    rng = np.random.default_rng(0)
    self._lengths = lengths
    self._rows = rng.normal(size=(max(lengths.values()), _DIM)).astype(
      np.float32
    )

  def num_snippets(self, video_id):
    return self._lengths[video_id]

  def read(self, video_id, start, stop):
    del video_id
    return self._rows[start:stop]


def run_propose(quick: bool) -> list[dict]:
  """Hours of features a minute, growth with length, start-up."""
  import jax

  from cmsn_jax import inference
  from configs import rat_social

  config = rat_social.get_config()
  predictor = inference.create(config, {})
  key = jax.random.key(0)
  params = {
    'stages': predictor.model.init_stages(key, config.windows.length, (_DIM,)),
    'evaluator': predictor.model.init_evaluator(key, config.stages.width),
  }
  predictor = predictor.with_params(params)
  list(predictor.propose(_Source({'warm': 3000}), ['warm']))
  rows = []
  for hours in (0.1, 1.0) if quick else (1 / 60, 0.1, 1.0, 10.0):
    source = _Source({'v': round(hours * 3600 * _FPS)})
    seconds = _timed(
      lambda source=source: list(predictor.propose(source, ['v']))
    )
    rows.append(
      {
        'suite': 'propose',
        'work': f'one video of {hours:.3g} h, rat_social config, random weights',
        'ours_s': seconds,
        'note': f'{hours / seconds * 60:.0f} h of features a minute',
      }
    )
  code = (
    'import jax, numpy as np\n'
    'from launch import cli\n'
    'cli.use_compilation_cache()\n'
    'from launch.benchmarks import chain\n'
    'chain.first_result()'
  )
  command = [sys.executable, '-c', code]
  subprocess.run(command, check=True)  # Fills the compilation cache.
  rows.append(
    {
      'suite': 'propose',
      'work': 'start-up: import to the first result, cache warm',
      'ours_s': _timed(lambda: subprocess.run(command, check=True)),
    }
  )
  return rows


def first_result() -> None:
  """Proposals of one short video by an untrained network."""
  import jax

  from cmsn_jax import inference
  from configs import rat_social

  config = rat_social.get_config()
  predictor = inference.create(config, {})
  params = {
    'stages': predictor.model.init_stages(
      jax.random.key(0), config.windows.length, (_DIM,)
    )
  }
  source = _Source({'v': 300})
  list(predictor.with_params(params).propose(source, ['v']))


def run_train(quick: bool) -> list[dict]:
  """A training step, and the share of it that waits for data."""
  import functools
  import pathlib

  import jax
  import optax

  from cmsn_jax import inference
  from cmsn_jax.data import training_data
  from cmsn_jax.data import windows as windows_lib
  from cmsn_jax.training import parallel, phases, steps
  from configs import rat_social

  config = rat_social.get_config()
  config.data.annotations = 'generated:8x600'
  config.data.feature_fps = 0.0
  with tempfile.TemporaryDirectory() as folder:
    data = training_data.open_data(config, pathlib.Path(folder))
    predictor = inference.create(config, {})
    size = config.train.batch_per_device * jax.device_count()
    phase = phases.stages(config, data, predictor, size)
    tx = optax.adam(1e-4)
    state = jax.device_get(
      steps.create_state(phase.init(jax.random.key(0)), tx)
    )
    step = parallel.parallel_step(
      functools.partial(steps.train_step), loss_fn=phase.loss_fn, tx=tx
    )
    waited, total, count = 0.0, 0.0, 10 if quick else 40
    stream = windows_lib.prefetched(phase.loader.batch, 0, count + 2)
    for number in range(count + 2):
      start = time.perf_counter()
      batch = next(stream)
      got = time.perf_counter()
      batch.pop('window')
      state, metrics = step(state, parallel.shard(batch), jax.random.key(0))
      float(metrics.loss)
      if number >= 2:
        waited += got - start
        total += time.perf_counter() - start
    stream.close()
  return [
    {
      'suite': 'train',
      'work': f'stage step, {size} windows of {config.windows.length} snippets',
      'ours_s': total / count,
      'note': f'{100 * waited / total:.1f} % of it waiting for data',
    }
  ]


def _timed(function):
  start = time.perf_counter()
  function()
  return time.perf_counter() - start
