"""Does to runs what real machines do, and says what came of it.

Every fault must end in the same result as without it, or in a message; an
assertion fails otherwise. As a program it tries more than the tests do and
prints the table of docs/reliability.md:

    python -m tests.fault_injection --times=20 --damages=1000 --examples=10000

Runs save as the configs are shipped: no setting of theirs is made for it.
"""

import argparse
import collections
import functools
import json
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from typing import NamedTuple

import jax
import numpy as np

from cmsn_jax.runs import checkpoints
from tests.files import fuzz_readers
from tests.pretraining import pretraining_faults
from tests.proposing import corpus_faults
from tests.serving import service_faults
from tests.training import run_faults

ROOT = pathlib.Path(__file__).resolve().parents[1]
# After which a save is due, whatever it costs, as the configs are shipped; and
# what its writing, beside other work, may take.
EVERY_SEC, WRITING_SEC = 60.0, 30.0


class Shipped(NamedTuple):
  """A run with the settings of a config as it is shipped.

  Attributes:
    name: for reading.
    phases: of its chain.
    flags: of launch.train: which config, and short data; nothing that says when
      a run saves.
  """

  name: str
  phases: tuple[str, ...]
  flags: tuple[str, ...]

  def quicker(self, *flags: str) -> 'Shipped':
    """With further flags."""
    return self._replace(flags=(*self.flags, *flags))


PAPER = Shipped(
  'paper chain',
  ('stages', 'evaluator'),
  ('--config=configs/rat_social.py', '--config.data.annotations=generated:4x60'),
)  # fmt: skip
TEMPLATE = Shipped(
  'template chain',
  ('joint', 'student'),
  (
    '--config=configs/custom.py',
    '--config.data.annotations=generated:8x20',
    '--config.template.steps=200',
  ),
)
# The same with small networks and few steps: still nothing of when it saves.
SMALL = (
  TEMPLATE.quicker(
    '--config.template.steps=60', '--config.template.width=16',
    '--config.template.members=2', '--config.template.hidden=32',
  ),
  PAPER.quicker(
    '--config.stages.width=32', '--config.stages.lstm_width=16',
    '--config.evaluator.hidden=64', '--config.train.stages_epochs=8',
    '--config.train.evaluator_epochs=6',
  ),
)  # fmt: skip


class Runs:
  """Starts `launch.train` on generated data, in one folder.

  Args:
    folder: of the workdirs.
    shipped: which run.
    seed: of the moments at which faults happen.
  """

  def __init__(self, folder: pathlib.Path, shipped: Shipped, seed: int = 0):
    self.folder, self.rng = folder / shipped.phases[-1], random.Random(seed)
    self.folder.mkdir(exist_ok=True)
    self.shipped, self.phases = shipped, shipped.phases
    # Logging says how far a run came when it was killed.
    self._flags = (
      *shipped.flags, '--config.data.feature_fps=0',
      '--config.train.log_every_steps=1', '--input_pipeline=thread', '--quiet',
    )  # fmt: skip

  def start(self, workdir, phase='all', *more, **options):
    """A process that trains, or goes on, in a workdir."""
    return subprocess.Popen(
      [
        sys.executable, '-m', 'launch.train', *self._flags, *more,
        f'--workdir={workdir}', f'--phase={phase}',
      ],
      cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      **options,
    )  # fmt: skip

  def whole(self):
    """The workdir of a run that nothing happened to."""
    workdir = self.folder / 'whole'
    if not workdir.exists():
      self.finish(workdir)
    return workdir

  def steps(self, phase):
    """How many a phase takes."""
    return newest(self.whole(), phase).step

  def finish(self, workdir):
    """Runs to the end."""
    status, _, errors = end(self.start(workdir))
    assert status == 0, errors

  def wait_for_step(self, process, workdir, phase, step):
    """Returns once the process has taken a step of a phase."""
    while process.poll() is None and last_steps(workdir).get(phase, 0) < step:
      time.sleep(0.1)
    assert process.poll() is None, end(process)

  def wait_for_steps(self, process, workdir):
    """Returns once the process takes steps, and a random moment passed."""
    before = last_steps(workdir)
    while process.poll() is None and last_steps(workdir) == before:
      time.sleep(0.1)
    time.sleep(self.rng.uniform(0, 0.6))

  def check_equal(self, workdir):
    """Checks that a finished run has the result of the whole one."""
    for phase in self.phases:
      for kind in ('resume', 'best'):
        a, b = (newest(w, phase, kind) for w in (self.whole(), workdir))
        assert (a.step, a.meta) == (b.step, b.meta), (phase, kind)
        assert same(a.tree, b.tree), (phase, kind)


def end(process, timeout=7200):
  """Exit status, output and errors of a process, once it ended."""
  output, errors = process.communicate(timeout=timeout)
  return process.returncode, output, errors


def newest(workdir, phase, kind='resume'):
  """The newest checkpoint; any damage is an error."""
  manager = checkpoints.Checkpoints(workdir / phase / kind, read_only=True)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    found = manager.restore_newest()
  manager.close()
  return found


def same(a, b):
  """Whether two trees hold the same bits."""
  flat_a, tree_a = jax.tree.flatten(a)
  flat_b, tree_b = jax.tree.flatten(b)
  return tree_a == tree_b and all(
    x.dtype == y.dtype and x.tobytes() == y.tobytes()
    for x, y in zip(flat_a, flat_b, strict=True)
  )


def last_steps(workdir):
  """The last step that was logged, by phase."""
  found = {}
  path = workdir / 'metrics.jsonl'
  for line in path.read_text().splitlines() if path.exists() else ():
    match = re.match(r'\{"step": (\d+), "(\w+)/loss"', line)
    if match:
      found[match[2]] = int(match[1])
  return found


def committed(workdir, phase):
  """Steps that have a whole resume checkpoint, as file names say."""
  folder = workdir / phase / 'resume'
  return sorted(int(p.name) for p in folder.glob('[0-9]*') if p.name.isdigit())


def kill_training(runs: Runs, times: int) -> str:
  """kill -9, at moments spread over each phase."""
  workdir, steps, seconds = runs.folder / 'killed', [0], [0.0]
  share = max(1, times // len(runs.phases))
  for phase in runs.phases:
    total = runs.steps(phase)
    for number in range(share):
      at = int(total * (number + runs.rng.random()) / (share + 1))
      process, began = runs.start(workdir, phase), time.time()
      if number % 3 == 2:
        # Anywhere: imports, compilation, restoring.
        time.sleep(runs.rng.uniform(0, 12))
        assert process.poll() is None, end(process)
      else:
        runs.wait_for_step(process, workdir, phase, at)
      process.kill()
      killed = time.time()
      process.communicate()
      reached = last_steps(workdir).get(phase, 0)
      saved = max(committed(workdir, phase), default=0)
      steps.append(max(0, reached - saved))
      if steps[-1]:
        last = saved_at(workdir, phase, saved)
        seconds.append(killed - max(began, last))
    status, _, errors = end(runs.start(workdir, phase))
    assert status == 0 and 'damaged' not in errors, errors
  runs.check_equal(workdir)
  # One checkpoint may be on its way while the next steps are taken.
  assert max(seconds) <= 2 * EVERY_SEC + WRITING_SEC, seconds
  return (
    f'bit-equal to the uninterrupted run of {" + ".join(str(runs.steps(p)) for p in runs.phases)} '
    f'steps; at most {max(steps)} steps, {max(seconds):.0f} s, done again'
  )


def saved_at(workdir, phase, step):
  """When a checkpoint was complete; 0 if there is none."""
  path = workdir / phase / 'resume' / str(step)
  return path.stat().st_mtime if path.exists() else 0.0


def terminate_training(runs: Runs, times: int) -> str:
  """SIGTERM, as schedulers send it."""
  workdir = runs.folder / 'terminated'
  for _ in range(times):
    process = runs.start(workdir)
    runs.wait_for_steps(process, workdir)
    process.send_signal(signal.SIGTERM)
    status, output, errors = end(process)
    found = re.search(r"stopped at step (\d+) of phase '(\w+)'", output)
    assert status == 0 and found, (status, output, errors)
    assert newest(workdir, found[2]).step == int(found[1])
  runs.finish(workdir)
  runs.check_equal(workdir)
  return 'saved at that step, said so, status 0; then bit-equal'


def fill_disk(runs: Runs, times: int) -> str:
  """A disk that is full all of a sudden; needs the right to mount one."""
  workdir = runs.folder / 'full'
  workdir.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=256m', 'tmpfs', str(workdir)]
  if subprocess.run(mount, capture_output=True, check=False).returncode:
    return 'not tried: no right to mount a file system'
  try:
    for _ in range(times):
      process = runs.start(workdir)
      runs.wait_for_steps(process, workdir)
      ballast = workdir / 'ballast'
      with ballast.open('wb', buffering=0) as file:
        try:
          while True:
            file.write(bytes(1 << 16))
        except OSError:
          pass
      status, _, errors = end(process)
      assert status == 1, (status, errors)
      last = errors.splitlines()[-1]
      assert 'No space left' in last and 'the same command' in last, errors
      ballast.unlink()
      phase = runs.phases[0]
      kept = committed(workdir, phase)
      assert not kept or newest(workdir, phase).step == kept[-1]
    runs.finish(workdir)
    runs.check_equal(workdir)
  finally:
    subprocess.run(['umount', '-l', str(workdir)], check=True)
  return 'stopped with a message and status 1; after making room bit-equal'


def damage_checkpoints(runs: Runs, times: int, kind: str) -> str:
  """One flipped bit, or a file cut short, in the newest checkpoint."""
  source = runs.whole() / runs.phases[0] / 'resume'
  manager = checkpoints.Checkpoints(source, read_only=True)
  older, newer = (manager.restore(step) for step in manager.steps())
  manager.close()
  counts = collections.Counter()
  for _ in range(times):
    with tempfile.TemporaryDirectory(dir=runs.folder) as folder:
      copy = pathlib.Path(folder) / 'resume'
      shutil.copytree(source, copy)
      files = [p for p in (copy / str(newer.step)).rglob('*') if p.is_file()]
      path = runs.rng.choice([p for p in files if p.stat().st_size])
      content = bytearray(path.read_bytes())
      at = runs.rng.randrange(len(content))
      if kind == 'flip':
        content[at] ^= 1 << runs.rng.randrange(8)
      else:
        del content[at:]
      path.write_bytes(content)
      counts[_restored(copy, older, newer, path)] += 1
  assert counts['the one before was used, with a warning']
  return '; '.join(f'{n} times {what}' for what, n in counts.most_common())


def _restored(folder, older, newer, path):
  manager = checkpoints.Checkpoints(folder)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    found = manager.restore_newest()
  manager.close()
  kinds = {w.category for w in caught}
  expected = newer if found.step == newer.step else older
  assert found.step == expected.step and found.meta == expected.meta, path
  assert same(found.tree, expected.tree), path
  if expected is newer:
    return 'restored equal, as those bytes carry nothing'
  assert checkpoints.DamagedCheckpointWarning in kinds, path
  assert (folder.parent / f'resume-damaged-{newer.step}').is_dir()
  return 'the one before was used, with a warning'


def fuzz(examples: int) -> str:
  """Damaged files for every reader."""
  counts = collections.Counter()
  for name in fuzz_readers.READERS:
    counts += fuzz_readers.run(name, examples, seed=1)
  return (
    f'{counts["refused"]} refused with a message that names the file, '
    f'{counts["read"]} read as something sound'
  )


def end_a_service(runs: Runs, times: int) -> str:
  """A service of a trained run, ended while it answers."""
  features = sorted(runs.whole().glob('generated/features/*.npy'))
  arrays = [np.load(path) for path in features]
  return service_faults.kill_under_load(runs.whole(), arrays, times)


def rows(folder, times, damages, examples, only='', shipped=(TEMPLATE, PAPER)):
  """Yields (fault, times, outcome) of the faults whose name has `only`."""
  few = max(1, times // 4)
  every = []
  for one in shipped:
    runs = Runs(folder, one)
    for name, count, fault in (
      ('kill -9', times, kill_training),
      ('SIGTERM', few, terminate_training),
      ('disk full', few, fill_disk),
    ):
      run = functools.partial(fault, runs, count)
      every.append((f'{name}, {one.name}', count, run))
    for name, fault in run_faults.FAULTS.items():
      run = functools.partial(fault, runs)
      every.append((f'{name}, {one.name}', 1, run))
  run = functools.partial(pretraining_faults.kill, folder, few)
  every.append(('kill -9, pre-training', few, run))
  for kind, name in (
    ('flip', 'one flipped bit in the newest checkpoint'),
    ('cut', 'a file of the newest checkpoint cut short'),
  ):
    run = functools.partial(damage_checkpoints, runs, damages, kind)
    every.append((name, damages, run))
  run = functools.partial(end_a_service, runs, few)
  name = 'a service ended under load, by kill -9 and by SIGTERM'
  every.append((name, 2 * few, run))
  count = len(fuzz_readers.READERS)
  name, total = f'malformed input, {count} readers', count * examples
  every.append((name, total, functools.partial(fuzz, examples)))
  for name, count, run in every:
    if only in name:
      yield name, count, run()
  if only in 'corpus':
    yield from corpus_faults.rows(folder, few)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--times', type=int, default=20)
  parser.add_argument('--damages', type=int, default=200)
  parser.add_argument('--examples', type=int, default=1000)
  parser.add_argument('--output', help='JSON of the rows')
  parser.add_argument(
    '--small', action='store_true', help='small networks, few steps'
  )
  parser.add_argument('--only', default='', help='rows whose name has this')
  options = parser.parse_args()
  found = []
  print('| fault | times | outcome |\n|---|---|---|')
  with tempfile.TemporaryDirectory() as folder:
    for row in rows(
      pathlib.Path(folder), options.times, options.damages, options.examples,
      options.only, SMALL if options.small else (TEMPLATE, PAPER),
    ):  # fmt: skip
      print('| ' + ' | '.join(str(x) for x in row) + ' |', flush=True)
      found.append(row)
  if options.output:
    pathlib.Path(options.output).write_text(json.dumps(found, indent=2))


if __name__ == '__main__':
  main()
