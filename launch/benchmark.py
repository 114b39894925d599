r"""Times our steps beside what a user would pick instead, as ratios.

    python -m launch.benchmark --suite=nms
    python -m launch.benchmark --suite=all --output=runs/benchmark

Ours and the alternative run in turn in one process; where an alternative is
not installed, its row says so. Ratios below 1 mean that ours is faster.
"""

import importlib
import json
import os
import pathlib
import platform

from absl import flags

from . import cli

# Suite -> (module of benchmarks, function).
_SUITES = {
  'limits': ('limits', 'run_limits'),
  'nms': ('host', 'run_nms'),
  'metrics': ('host', 'run_metrics'),
  'lstm': ('lstm', 'run_lstm'),
  'c3d': ('c3d', 'run_c3d'),
  'accelerator': ('accelerator', 'run_accelerator'),
  'decode': ('decode', 'run_decode'),
  'video': ('video', 'run_video'),
  'backbones': ('backbones', 'run_backbones'),
  'input': ('loading', 'run_input'),
  'train': ('loading', 'run_train'),
  'scaling': ('scaling', 'run_scaling'),
  'propose': ('chain', 'run_propose'),
  'streaming': ('streaming', 'run_streaming'),
  'growth': ('growth', 'run_growth'),
  'serve': ('serve', 'run_serve'),
}
_SUITE = flags.DEFINE_enum('suite', 'all', ['all', *_SUITES], 'What to time.')
_OUTPUT = flags.DEFINE_string('output', '', 'Folder for the JSON and Markdown.')
_QUICK = flags.DEFINE_bool('quick', False, 'Fewer repetitions, smaller sizes.')


def main(argv):
  """Times."""
  del argv
  if __package__ != 'launch':
    raise ValueError(
      'the benchmarks are not part of the installed package: they need a '
      'checkout, and there: python -m launch.benchmark'
    )
  cli.use_compilation_cache()
  names = _SUITES if _SUITE.value == 'all' else (_SUITE.value,)
  rows = []
  for name in names:
    module, function = _SUITES[name]
    suite = importlib.import_module(f'.benchmarks.{module}', __package__)
    found = getattr(suite, function)(_QUICK.value)
    print(table(found), flush=True)
    rows += found
  if _OUTPUT.value:
    _write(pathlib.Path(_OUTPUT.value), rows)
  return 0


def machine() -> str:
  """The machine in a line."""
  import jax

  model = platform.processor() or platform.machine()
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    model = next(x for x in lines if x.startswith('model name')).split(':')[1]
  except (OSError, StopIteration):
    pass
  cores = len(os.sched_getaffinity(0))
  devices = ', '.join(sorted({d.device_kind for d in jax.devices()}))
  return f'{model.strip()}, {cores} cores; jax {jax.__version__} on {devices}'


def table(rows: list[dict]) -> str:
  """Rows as Markdown."""
  lines = [
    '| suite | work | ours | alternative | its time | ratio | note |',
    '|---|---|---|---|---|---|---|',
  ]
  for row in rows:
    lines.append(
      f'| {row["suite"]} | {row["work"]} | {_seconds(row.get("ours_s"))} | '
      f'{row.get("alternative") or ""} | '
      f'{_seconds(row.get("alternative_s"))} | '
      f'{"" if row.get("ratio") is None else format(row["ratio"], ".3g")} | '
      f'{row.get("note") or ""} |'
    )
  return '\n'.join(lines)


def _seconds(value):
  if value is None:
    return ''
  return f'{value:.3g} s' if value >= 1 else f'{value * 1e3:.3g} ms'


def _write(folder, rows):
  from cmsn_jax.files import replacing

  text = json.dumps({'machine': machine(), 'rows': rows}, indent=2)
  for name, content in (
    ('benchmark.json', text),
    ('benchmark.md', f'{machine()}\n\n{table(rows)}\n'),
  ):
    with replacing.file(folder / name) as file:
      file.write(content)
  print(f'wrote {folder}/benchmark.json and .md')
  if any('curve' in row for row in rows):
    from .benchmarks import growth

    growth.plot(rows, folder / 'growth.png')
    print(f'wrote {folder}/growth.png')


if __name__ == '__main__':
  cli.run(main)
