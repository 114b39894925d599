r"""Trains the variants of an ablation table and prints it with our numbers.

    python -m launch.ablate --table=5 --config=configs/rat_social.py \
      --workdir=runs/table5 --config.data.annotations=A.json \
      --config.data.features=DIR --seeds=3

Table low_data shows what little data do: a tenth and a quarter of the training
instances, whole recordings, other ones with each seed.

Each variant is a run of its own below --workdir: a stopped ablation goes on
where it was. Variants that differ in inference alone share a run.
"""

import contextlib
import hashlib
import json
import pathlib

from absl import flags
from ml_collections import config_flags

from . import cli, video_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'What the variants change.', lock_config=True
)
_TABLE = flags.DEFINE_string(
  'table', '', '1, 4, 5 or 6 of the paper, decoder, plus, or low_data.'
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of all runs.')
_SEEDS = flags.DEFINE_integer(
  'seeds', 0, 'Runs of each variant; 0: 3 of low_data, else 1.', 0
)
_SUBSET = flags.DEFINE_string(
  'subset',
  '',
  'Evaluated subset; empty: the held-out videos of each run, or where there are '
  'none the subset testing.',
)
_PROTOCOL = flags.DEFINE_enum(
  'protocol', 'top_k', ['thumos', 'anet', 'top_k'],
  'Of AR; mAP is shown beside it.',
)  # fmt: skip
_ANS = flags.DEFINE_list('ans', ['50', '100', '200'], 'Numbers of proposals.')
# Characters of a run's name, without its seed.
_MOST = 80


def main(argv):
  """Trains and prints."""
  del argv
  from cmsn_jax.files import replacing
  from cmsn_jax.settings import ablations

  cli.require(config=_CONFIG.value, workdir=_WORKDIR.value, table=_TABLE.value)
  if _TABLE.value not in ablations.TABLES:
    raise ValueError(
      f'--table must be one of {sorted(ablations.TABLES)}, got {_TABLE.value!r}'
    )
  ans = cli.whole_numbers('ans', _ANS.value)
  video_flags.apply()
  table = ablations.TABLES[_TABLE.value]
  if _CONFIG.value.chain != table.chain:
    raise ValueError(
      f'--table={_TABLE.value} is of the chain {table.chain!r}, --config is of '
      f'{_CONFIG.value.chain!r}; give a config of that chain'
    )
  cli.use_compilation_cache()
  folder = pathlib.Path(_WORKDIR.value)
  rows = {}
  for row in table.rows:
    rows[row.name] = [
      _run(row, seed, folder, ans)
      for seed in range(_SEEDS.value or table.seeds)
    ]
    print(_table(rows, ans), flush=True)
  with replacing.path(folder / f'table_{_TABLE.value}.md') as temporary:
    pathlib.Path(temporary).write_text(_table(rows, ans) + '\n')
  return 0


def _run(row, seed, folder, ans):
  """AR of one variant at each AN, and its mAP; None where it has none."""
  from cmsn_jax.proposing import inputs
  from cmsn_jax.runs import trained as trained_lib
  from cmsn_jax.training import held_out, loop, setup

  config = _CONFIG.value.copy_and_resolve_references()
  config.update_from_flattened_dict(row.changes)
  config.train.seed = seed
  workdir = _workdir(row, seed, folder)
  config, data = setup.open_run(config, workdir)
  loop.train_and_evaluate(config, workdir, data, quiet=cli.quiet())
  trained = trained_lib.load(workdir, changes=row.at_inference)
  subset = _SUBSET.value or ('' if data.held_out else 'testing')
  videos = data.annotations.subset(subset) if subset else data.held_out
  with contextlib.ExitStack() as stack:
    source = data.source
    if subset and config.data.input == 'video':
      # Frames are kept of the videos that are trained and chosen on.
      source = inputs.open_source(
        trained, config.data.videos, None, {}, stack
      ).source
    found = dict(trained.predictor.propose(source, videos))
  result = held_out.recall(videos, found, protocol=_PROTOCOL.value, ans=ans)
  labels = held_out.labels_judged(videos, found)
  return [*(result.ar_at_an[an] for an in ans), labels.get('map')]


def _workdir(row, seed, folder):
  """A row's run: those that train the same share one."""
  from cmsn_jax.settings import recipes

  given = recipes.flat(_CONFIG.value)
  own = {k: value for k, value in row.changes.items() if given[k] != value}
  # Runs of before were named by all that a row states.
  for changes in (row.changes, own):
    workdir = folder / f'{_name(changes)}_{seed}'
    if workdir.exists():
      break
  return workdir


def _name(changes):
  """Of the run with these changes, no longer than a file system takes."""
  text = json.dumps(changes, sort_keys=True)
  name = ''.join(c for c in text if c.isalnum() or c == '_') or 'as_given'
  if len(name) <= _MOST:
    return name
  # Two rows may begin alike.
  digest = hashlib.sha256(text.encode()).hexdigest()[:8]
  return f'{name[: _MOST - 9]}_{digest}'


def _table(rows, ans):
  """Markdown: mean, and half the spread (max - min) over the seeds."""
  lines = [
    '| variant | ' + ' | '.join(f'AR@{an}' for an in ans) + ' | mAP |',
    '|---' * (2 + len(ans)) + '|',
  ]
  for name, runs in rows.items():
    cells = []
    for values in zip(*runs):
      if any(value is None for value in values):
        cells.append('-')
        continue
      mean = sum(values) / len(values)
      spread = (max(values) - min(values)) if len(values) > 1 else 0.0
      cells.append(f'{mean:.4f}' + (f' ±{spread / 2:.4f}' if spread else ''))
    lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.run(main)
