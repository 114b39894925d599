r"""Trains several chains on the same data and prints one table.

    python -m launch.compare --chains=paper,template,bmn,tag \
      --config=configs/custom.py --workdir=runs/compare \
      --config.data.annotations=annotations.json \
      --config.data.features=features/ --config.data.feature_fps=5

Each chain has its own settings, but that of --config, and its own run below
--workdir: the same command goes on where it was. A chain that fails is named at
the end and loses nothing of the others.
"""

import json
import multiprocessing
import os
import pathlib
import signal
import traceback

from absl import flags
from ml_collections import config_flags

from . import cli, video_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The data, and one of the chains; see configs/.',
  lock_config=True,
)  # fmt: skip
_CHAINS = flags.DEFINE_list(
  'chains', ['paper', 'template', 'bmn', 'tag'], 'Chains, in the order of rows.'
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of all runs.')
_SUBSET = flags.DEFINE_string(
  'subset', '', 'Evaluated subset; empty: the held-out videos of the runs.'
)
_PROTOCOL = flags.DEFINE_enum(
  'protocol', 'top_k', ['thumos', 'anet', 'top_k'],
  'Of AR; mAP is shown beside it.',
)  # fmt: skip
_ANS = flags.DEFINE_list(
  'ans', ['10', '50', '100', '200'], 'Numbers of proposals.'
)
# Of a process that was asked to stop and is to go on.
_STOPPED = 75


def main(argv):
  """Trains, proposes and prints."""
  del argv
  cli.require(
    config=_CONFIG.value, workdir=_WORKDIR.value, chains=_CHAINS.value
  )
  from cmsn_jax.evaluation import comparison
  from cmsn_jax.files import replacing

  configs = _configs()
  ans = cli.whole_numbers('ans', _ANS.value)
  folder = pathlib.Path(_WORKDIR.value)
  cli.check_outputs(folders={'workdir': _WORKDIR.value})
  rows, failed = [], {}
  for name, config in configs.items():
    found = _chain(name, config, folder / name, ans)
    if found is None:
      print('stopped; the same command goes on')
      return 0
    if isinstance(found, str):
      failed[name] = found
      continue
    rows.append(found)
    text = comparison.table(rows, ans)
    print(text, flush=True)
    with replacing.file(folder / 'compare.md', 'w') as file:
      file.write(text + '\n')
    with replacing.file(folder / 'compare.json', 'w') as file:
      json.dump([row.to_json() for row in rows], file, indent=2)
  if failed:
    raise cli.Failed(
      f'{len(failed)} of {len(configs)} chains failed: '
      + '; '.join(f'{name}: {why}' for name, why in failed.items())
    )
  return 0


def _configs():
  """A checked config for each chain, before any of them is trained."""
  from cmsn_jax.runs import config_record
  from cmsn_jax.settings import recipes
  from cmsn_jax.training import config_checks

  path = config_flags.get_config_filename(flags.FLAGS['config'])
  size = 'smoke' if path.endswith('smoke') else ''
  names = [name.strip() for name in _CHAINS.value]
  if len(set(names)) < len(names):
    raise ValueError(f'--chains={",".join(names)} names one of them twice')
  found = {}
  for name in names:
    config = recipes.for_chain(_CONFIG.value, name, size)
    config_checks.check(config)
    found[name] = config_record.to_json(config)
  return found


def _chain(name, config, workdir, ans):
  """A row; or why there is none; or None where it was asked to stop.

  Training and proposing are a process each: the peak of memory is its own, and
  whatever ends it ends nothing else.
  """
  from cmsn_jax.evaluation import comparison

  quiet = cli.quiet()
  call = (_SUBSET.value, _PROTOCOL.value, ans)
  for work, given in ((_train, ()), (_measure, call)):
    status, said = _in_process(work, (config, str(workdir), quiet, *given))
    if status == _STOPPED:
      return None
    if status:
      return said or f'the process ended with status {status}'
  return comparison.Row.from_json(
    name, json.loads((workdir / 'compare.json').read_text())
  )


def _in_process(work, given):
  """(exit status, last words) of a process of its own."""
  from cmsn_jax import signals

  context = multiprocessing.get_context('spawn')
  receive, send = context.Pipe(duplex=False)
  process = context.Process(
    target=_guarded, args=(send, work, given, video_flags.ALLOW_DAMAGE.value)
  )
  asked = []

  def stop(number, frame):
    del frame
    asked.append(number)
    # Of Ctrl-C, a terminal tells all.
    if number == signal.SIGTERM and process.pid:
      os.kill(process.pid, number)

  with signals.handled(stop):
    process.start()
    send.close()
    process.join()
  said = ''
  try:
    said = receive.recv() if receive.poll() else ''
  except EOFError:
    pass
  if asked:
    return _STOPPED, said
  return process.exitcode, said


def _guarded(send, work, given, allow_damage):
  """In the process: what goes wrong is told in one line, and shown whole."""
  from cmsn_jax.video import video_files

  cli.speak_alike()
  try:
    cli.use_compilation_cache()
    video_files.allow_damage(allow_damage)
    work(*given)
  except Exception as error:
    from cmsn_jax.training import phase_run

    if isinstance(error, phase_run.Interrupted):
      raise SystemExit(_STOPPED) from None
    traceback.print_exc()
    send.send(' '.join(str(error).split()) or type(error).__name__)
    raise SystemExit(1) from None


def _train(config, workdir, quiet):
  from cmsn_jax.runs import config_record
  from cmsn_jax.training import compared

  compared.train(config_record.from_json(config), pathlib.Path(workdir), quiet)


def _measure(config, workdir, quiet, subset, protocol, ans):
  from cmsn_jax.runs import config_record
  from cmsn_jax.training import compared

  del quiet
  compared.measure(
    config_record.from_json(config),
    pathlib.Path(workdir),
    subset=subset,
    protocol=protocol,
    ans=ans,
  )


if __name__ == '__main__':
  cli.run(main)
