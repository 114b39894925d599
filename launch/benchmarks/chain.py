"""Suite 'propose': features in, proposals out.

Hours of features a minute, programs compiled for a corpus of mixed lengths, and
the start of a process. The networks are trained for a minute on generated
features, and propose for those: random networks give other numbers of
candidates.
"""

import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

FPS = 5.0
DIM = 16
_HOUR = round(3600 * FPS)
_STEPS = 60


class Source:
  """Rows over and over, as videos of given lengths.

  Args:
    rows: features, [t, d].
    lengths: snippets of each video.
  """

  statistics = None
  feature_fps = FPS
  snippet_shape = (DIM,)

  def __init__(self, rows: np.ndarray, lengths: dict[str, int]):
    times = -(-max(lengths.values()) // len(rows))
    self._rows, self._lengths = np.tile(rows, (times, 1)), lengths

  def num_snippets(self, video_id):
    return self._lengths[video_id]

  def read(self, video_id, start, stop):
    del video_id
    return self._rows[start:stop]


def paper(snippets: int, steps: int = _STEPS):
  """(predictor of the paper's chain, all candidates; source of video 'v')."""
  predictor, rows = _trained('paper', steps, 0)
  return predictor, Source(rows, {'v': snippets})


def paper_best(snippets: int, steps: int = _STEPS):
  """`paper` with the best 100 candidates a window."""
  predictor, rows = _trained('paper', steps, 100)
  return predictor, Source(rows, {'v': snippets})


def template(snippets: int, steps: int = _STEPS):
  """(predictor of the template chain's student, source of 'v')."""
  predictor, rows = _trained('template', steps)
  return predictor, Source(rows, {'v': snippets})


@functools.cache
def _trained(kind, steps, max_candidates=None):
  """(predictor, standardised features that it proposes for)."""
  from cmsn_jax.runs import trained

  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder)
    data = _train(kind, steps, workdir)
    rows = [
      data.source.read(v, 0, data.source.num_snippets(v)) for v in data.train
    ]
    changes = {}
    if max_candidates is not None:
      changes = {'proposals.max_candidates': max_candidates}
    predictor = trained.load(workdir / 'run', changes=changes).predictor
    return predictor, np.concatenate(rows)


def export(kind: str, target: pathlib.Path, steps: int = _STEPS):
  """Writes the export of a trained run; features that it can propose for.

  Args:
    kind: the chain.
    target: folder of the export.
    steps: of training.

  Returns:
    a list of [t, d], a minute of each generated video.
  """
  from cmsn_jax.proposing import exporting
  from cmsn_jax.runs import trained

  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder)
    _train(kind, steps, workdir)
    exporting.write(trained.load(workdir / 'run'), target)
    paths = sorted(workdir.rglob('generated/features/*.npy'))
    return [np.load(path)[: round(60 * FPS)] for path in paths]


def _train(kind, steps, workdir):
  """Trains `workdir/run`; its data."""
  from cmsn_jax.training import loop, setup
  from configs import rat_social, rat_social_plus

  config = {'paper': rat_social, 'template': rat_social_plus}[kind].get_config()
  config.data.annotations = 'generated:8x600'
  config.data.feature_fps = 0.0
  config.data.pool = 1
  config.train.warmup_steps = 0
  config.train.batch_per_device = 8
  config.train.learning_rate = 2e-3
  if kind == 'paper':
    config.train.eval_every_epochs = 1_000
    config.train.stages_epochs = max(1, steps // 20)
    config.train.evaluator_epochs = 1
  else:
    config.template.steps = steps
    # What it proposes with is as large after few steps as after many.
    config.template.student_steps = min(steps, config.template.student_steps)
  config, data = setup.open_run(config, workdir)
  loop.train_and_evaluate(config, workdir / 'run', data, quiet=True)
  return data


def run_propose(quick: bool = False) -> list[dict]:
  """Hours of features a minute in both chains, programs, start-up.

  Args:
    quick: a tenth of an hour instead of two hours.
  """
  hours = 0.1 if quick else 2.0
  rows = []
  for name, make in (
    ('paper', paper),
    ('paper, best 100 candidates a window', paper_best),
    ('template', template),
  ):
    predictor, source = make(round(hours * _HOUR))
    list(predictor.propose(source, ['v']))
    start, wall = time.process_time(), time.perf_counter()
    [(_, found)] = predictor.propose(source, ['v'])
    wall = time.perf_counter() - wall
    spent = time.process_time() - start
    rows.append({
      'suite': 'propose',
      'work': f'one video of {hours:.3g} h at 5 Hz, {name} chain',
      'ours_s': wall,
      'note': f'{hours / wall * 60:.0f} h of features a minute; '
      f'{spent / hours:.2f} CPU s and {len(found.proposals.scores) / hours:,.0f} '
      'proposals an hour',
    })  # fmt: skip
  return [*rows, _programs(quick), _start_up()]


def _programs(quick):
  """Videos of many lengths, and how many programs they needed."""
  rng = np.random.default_rng(0)
  count = 10 if quick else 40
  lengths = np.exp(rng.uniform(np.log(50), np.log(20_000), count))
  _, rows = _trained('paper', _STEPS)
  source = Source(rows, {f'v{i}': round(n) for i, n in enumerate(lengths)})
  # Compiled anew: a copy shares the programs of what it is a copy of.
  jax.clear_caches()
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
  from cmsn_jax.chains import registry
  from configs import rat_social

  config = rat_social.get_config()
  predictor = registry.predictor(config, {})
  key, length = jax.random.key(0), config.windows.length
  params = {
    'stages': predictor.networks.init_stages(key, length, (DIM,)),
    'evaluator': predictor.networks.init_evaluator(key, config.stages.width),
  }
  rows = np.random.default_rng(0).normal(size=(300, DIM)).astype(np.float32)
  source = Source(rows, {'v': 300})
  list(predictor.with_params(params).propose(source, ['v']))
