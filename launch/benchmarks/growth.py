"""Suite 'growth': cost against the size of the input, each linear or better.

A row carries `curve`, `x` and `unit`, from which launch.benchmark draws
growth.png; its note gives the slope between the ends on logarithmic axes: 1 is
linear, 2 quadratic. Times on a CPU are CPU seconds.
"""

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.candidates import runs
from cmsn_jax.evaluation import metrics
from cmsn_jax.stages import targets
from cmsn_jax.suppression import nms

from . import chain, host, limits

_HOUR_SNIPPETS = 18_000  # at 5 Hz


def run_growth(quick: bool = False) -> list[dict]:
  """Rows of every curve.

  Args:
    quick: the smaller sizes of each curve.
  """
  curves = (
    ('propose, paper chain', 'hours of video', _propose_paper,
     (1 / 60, 0.1, 1.0, 10.0)),
    ('propose, template chain', 'hours of video', _propose_template,
     (1 / 60, 0.1, 1.0, 10.0)),
    ('stage targets + PGS', 'hours of video', _generation,
     (1 / 60, 0.1, 1.0, 10.0)),
    ('Soft-NMS, one video', 'proposals', _soft_nms,
     (1_000, 4_000, 20_000)),
    ('AR@AN, top_k, 200 proposals each', 'videos', _recall,
     (100, 1_000, 10_000)),
    ('stage step, forward + backward', 'snippets of a window', _stage_step,
     (96, 384, 1_536, 6_144)),
  )  # fmt: skip
  rows = []
  for name, unit, make, sizes in curves:
    rows += _curve(name, unit, make, sizes[:-1] if quick else sizes)
  return rows


def _curve(
  name: str,
  unit: str,
  make: Callable[[float], Callable],
  sizes: Sequence[float],
) -> list[dict]:
  """One row a size; make(size) gives the work to time."""
  seconds = [_seconds(make(size)) for size in sizes]
  slope = np.log(seconds[-1] / seconds[0]) / np.log(sizes[-1] / sizes[0])
  last = np.log(seconds[-1] / seconds[-2]) / np.log(sizes[-1] / sizes[-2])
  rows = []
  for size, taken in zip(sizes, seconds):
    rows.append({
      'suite': 'growth',
      'work': f'{name}: {size:.3g} {unit}',
      'ours_s': taken,
      'curve': name,
      'x': size,
      'unit': unit,
    })  # fmt: skip
  rows[-1]['note'] = f'slope {slope:.2f}, of the last step {last:.2f}'
  return rows


def plot(rows: list[dict], path) -> None:
  """Draws the curves of a run's rows as small multiples.

  Args:
    rows: of any suites; those without `curve` are left out.
    path: of the PNG.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  from matplotlib.ticker import NullFormatter

  curves = {}
  for row in rows:
    if 'curve' in row:
      curves.setdefault(row['curve'], []).append(row)
  figure = Figure(figsize=(11, 3.2 * -(-len(curves) // 3)), layout='tight')
  FigureCanvasAgg(figure)
  for place, (name, points) in enumerate(curves.items(), 1):
    axes = figure.add_subplot(-(-len(curves) // 3), 3, place)
    x = np.array([p['x'] for p in points])
    y = np.array([p['ours_s'] for p in points])
    axes.loglog(x, y[-1] * x / x[-1], '--', color='0.6', label='linear')
    axes.loglog(x, y, 'o-', color='#0072b2', label='measured')
    axes.set(title=name, xlabel=points[0]['unit'], ylabel='seconds')
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)
    for axis in (axes.xaxis, axes.yaxis):
      axis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=8)
  figure.savefig(path, dpi=110)


def _propose_paper(hours):
  predictor, source = chain.paper(round(hours * _HOUR_SNIPPETS))
  return lambda: list(predictor.propose(source, ['v']))


def _propose_template(hours):
  predictor, source = chain.template(round(hours * _HOUR_SNIPPETS))
  return lambda: list(predictor.propose(source, ['v']))


def _generation(hours):
  total = round(hours * 9_000)  # 2.5 Hz: the paper's 8 frames at 20 a second
  instances = host._instances(total // 20, total / 2.5)

  def run():
    labels = targets.stage_labels(instances, total, 2.5)
    return runs.generate(labels)

  return run


def _soft_nms(count):
  spans, scores = host._scored(1, count, span_sec=0.2 * count)
  return lambda: nms.soft_nms(spans[0], scores[0])


def _recall(videos):
  found, truth = host._corpus(videos, 200, 2)
  return lambda: metrics.evaluate(found, truth, protocol='top_k')


def _stage_step(length):
  from cmsn_jax.chains import registry
  from configs import rat_social

  config = rat_social.get_config()
  predictor = registry.predictor(config, {})
  params = predictor.networks.init_stages(
    jax.random.key(0), config.windows.length, (chain.DIM,)
  )
  inputs = jnp.ones((1, length, chain.DIM))
  mask = jnp.ones((1, length), bool)
  step = jax.jit(
    jax.grad(
      lambda p: jnp.sum(
        predictor.networks.stages.apply({'params': p}, inputs, mask).scores ** 2
      )
    )
  )
  return lambda: jax.block_until_ready(step(params))


def _seconds(run, repeats=3):
  """Least of some runs after one that compiles."""
  clock = time.process_time if limits.on_cpu() else time.perf_counter
  run()
  taken = []
  for _ in range(repeats):
    start = clock()
    run()
    taken.append(clock() - start)
    if taken[-1] > 2:
      break
  return max(min(taken), 1e-9)
