"""Suite 'propose': features in, proposals out, by untrained networks.

Hours of features a minute, the share of each part, programs compiled for a
corpus of mixed lengths, and the start of a process.
"""

import os
import subprocess
import sys
import time

import jax
import numpy as np

_FPS = 5.0
DIM = 50
_HOUR = round(3600 * _FPS)


class Source:
  """Random features of given lengths, as a `sources.FeatureSource` gives."""

  statistics = None
  feature_fps = _FPS
  snippet_shape = (DIM,)

  def __init__(self, lengths):
    rng = np.random.default_rng(0)
    self._lengths = lengths
    self._rows = rng.normal(size=(max(lengths.values()), DIM)).astype(
      np.float32
    )

  def num_snippets(self, video_id):
    return self._lengths[video_id]

  def read(self, video_id, start, stop):
    del video_id
    return self._rows[start:stop]


def paper(snippets: int):
  """(predictor of the paper's chain, source of one video 'v')."""
  from cmsn_jax import inference
  from configs import rat_social

  config = rat_social.get_config()
  predictor = inference.create(config, {})
  key = jax.random.key(0)
  params = {
    'stages': predictor.model.init_stages(key, config.windows.length, (DIM,)),
    'evaluator': predictor.model.init_evaluator(key, config.stages.width),
  }
  return predictor.with_params(params), Source({'v': snippets})


def template(snippets: int):
  """(predictor of the template chain with all members, source of 'v')."""
  from cmsn_jax import inference, joint_network, template_proposals
  from configs import rat_social_plus

  config = rat_social_plus.get_config()
  durations = np.random.default_rng(0).lognormal(np.log(4), 0.7, 1000)
  with config.unlocked():
    config.joint.durations = tuple(
      template_proposals.duration_grid(durations, _FPS).tolist()
    )
    config.joint.typical_duration = 20.0
  predictor = inference.create(config, {})
  params = joint_network.init_members(
    joint_network.build(config),
    jax.random.key(0),
    config.joint.members,
    config.windows.length,
    DIM,
  )
  return predictor.with_params({'joint': params}), Source({'v': snippets})


def run_propose(quick: bool = False) -> list[dict]:
  """Hours of features a minute in both chains, programs, start-up.

  Args:
    quick: a tenth of an hour instead of ten hours.
  """
  hours = 0.1 if quick else 10.0
  rows = []
  for name, make in (('paper', paper), ('template', template)):
    predictor, source = make(round(hours * _HOUR))
    list(predictor.propose(source, ['v']))
    start, wall = time.process_time(), time.perf_counter()
    list(predictor.propose(source, ['v']))
    wall = time.perf_counter() - wall
    spent = time.process_time() - start
    rows.append({
      'suite': 'propose',
      'work': f'one video of {hours:.3g} h at 5 Hz, {name} chain, '
      'random weights',
      'ours_s': wall,
      'note': f'{hours / wall * 60:.0f} h of features a minute; '
      f'{spent / hours:.2f} CPU s an hour',
    })  # fmt: skip
  return [*rows, _programs(quick), _start_up()]


def _programs(quick):
  """Videos of many lengths, and how many programs they needed."""
  rng = np.random.default_rng(0)
  count = 20 if quick else 200
  lengths = np.exp(rng.uniform(np.log(50), np.log(20_000), count))
  source = Source({f'v{i}': round(n) for i, n in enumerate(lengths)})
  predictor, _ = paper(1)
  # The names of JAX's own counters of compilations.
  compiled = []

  def listen(name, seconds, **unused):
    if name == '/jax/core/compile/backend_compile_duration':
      compiled.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(listen)
  start = time.perf_counter()
  list(predictor.propose(source, [f'v{i}' for i in range(count)]))
  seconds = time.perf_counter() - start
  jax.monitoring.clear_event_listeners()
  return {
    'suite': 'propose',
    'work': f'{count} videos of 10 s to 1.1 h, paper chain, from nothing',
    'ours_s': seconds,
    'note': f'{len(compiled)} programs compiled',
  }


def _start_up():
  code = (
    'from launch import cli\n'
    'cli.use_compilation_cache()\n'
    'from launch.benchmarks import chain\n'
    'chain.first_result()'
  )
  command = [sys.executable, '-c', code]
  subprocess.run(command, check=True)  # Fills the compilation cache.
  before = os.times()
  start = time.perf_counter()
  subprocess.run(command, check=True)
  wall = time.perf_counter() - start
  after = os.times()
  spent = sum(after[2:4]) - sum(before[2:4])
  return {
    'suite': 'propose',
    'work': 'start-up: import to the first result, cache warm',
    'ours_s': wall,
    'note': f'{spent:.1f} CPU s',
  }


def first_result() -> None:
  """Proposals of one short video by an untrained network."""
  predictor, source = paper(300)
  list(predictor.propose(source, ['v']))
