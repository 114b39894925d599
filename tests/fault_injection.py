"""Does to runs what real machines do, and says what came of it.

Every fault must end in the same result as without it, or in a message; an
assertion fails otherwise. As a program it tries more than the tests do and
prints the table of docs/reliability.md:

    python -m tests.fault_injection --times=20 --damages=1000 --examples=10000
"""

import argparse
import collections
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

import jax
import numpy as np

from cmsn_jax.runs import checkpoints
from tests.files import fuzz_readers
from tests.proposing import corpus_faults
from tests.serving import service_faults

ROOT = pathlib.Path(__file__).resolve().parents[1]
PHASES = ('stages', 'evaluator')
INTERVAL = 3  # steps between checkpoints


class Runs:
  """Starts `launch.train` on small generated data, in one folder.

  Args:
    folder: of the workdirs.
    epochs: of each phase, 14 steps each.
    seed: of the moments at which faults happen.
  """

  def __init__(self, folder: pathlib.Path, epochs: int = 40, seed: int = 0):
    self.folder, self.rng = folder, random.Random(seed)
    self._flags = (
      '--config=configs/rat_social.py:smoke',
      '--config.data.annotations=generated:4x60',
      '--config.windows.length=32',
      '--config.windows.require_instance=False',
      '--config.train.ema=0.9',
      f'--config.train.checkpoint_every_steps={INTERVAL}',
      '--config.train.log_every_steps=1',
      f'--config.train.stages_epochs={epochs}',
      f'--config.train.evaluator_epochs={epochs}',
      f'--config.train.eval_every_epochs={max(1, epochs // 4)}',
      '--input_pipeline=thread',
      '--quiet',
    )

  def start(self, workdir, phase='all', *more):
    """A process that trains, or goes on, in a workdir."""
    return subprocess.Popen(
      [
        sys.executable, '-m', 'launch.train', *self._flags, *more,
        f'--workdir={workdir}', f'--phase={phase}',
      ],
      cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

  def whole(self):
    """The workdir of a run that nothing happened to."""
    workdir = self.folder / 'whole'
    if not workdir.exists():
      self.finish(workdir)
    return workdir

  def finish(self, workdir):
    """Runs to the end."""
    status, _, errors = end(self.start(workdir))
    assert status == 0, errors

  def wait_for_steps(self, process, workdir):
    """Returns once the process takes steps, and a random moment passed."""
    before = last_steps(workdir)
    while process.poll() is None and last_steps(workdir) == before:
      time.sleep(0.02)
    time.sleep(self.rng.uniform(0, 0.6))

  def check_equal(self, workdir):
    """Checks that a finished run has the result of the whole one."""
    for phase in PHASES:
      for kind in ('resume', 'best'):
        a, b = (newest(w, phase, kind) for w in (self.whole(), workdir))
        assert (a.step, a.meta) == (b.step, b.meta), (phase, kind)
        assert same(a.tree, b.tree), (phase, kind)


def end(process, timeout=600):
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
  """kill -9 at random moments, half of them in each phase."""
  workdir, lost, by_phase = runs.folder / 'killed', [], collections.Counter()
  for phase in PHASES:
    while by_phase[phase] < times // 2:
      process = runs.start(workdir, phase)
      if by_phase[phase] % 3 == 2:
        # Anywhere: imports, compilation, restoring.
        time.sleep(runs.rng.uniform(0, 12))
      else:
        runs.wait_for_steps(process, workdir)
      assert process.poll() is None, end(process)
      process.kill()
      process.communicate()
      by_phase[phase] += 1
      reached = last_steps(workdir).get(phase, 0)
      lost.append(reached - max(committed(workdir, phase), default=0))
    status, _, errors = end(runs.start(workdir, phase))
    assert status == 0 and 'damaged' not in errors, errors
  runs.check_equal(workdir)
  # One checkpoint may be on its way while the next steps are taken.
  assert max(lost) <= 2 * INTERVAL, lost
  return (
    f'bit-equal to the uninterrupted run; at most {max(lost)} steps done '
    f'again, a checkpoint every {INTERVAL}'
  )


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
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', str(workdir)]
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
      kept = committed(workdir, 'stages')
      assert not kept or newest(workdir, 'stages').step == kept[-1]
    runs.finish(workdir)
    runs.check_equal(workdir)
  finally:
    subprocess.run(['umount', '-l', str(workdir)], check=True)
  return 'stopped with a message and status 1; after making room bit-equal'


def damage_checkpoints(runs: Runs, times: int, kind: str) -> str:
  """One flipped bit, or a file cut short, in the newest checkpoint."""
  source = runs.whole() / 'stages' / 'resume'
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


def rows(folder, times, damages, examples, epochs=40):
  """Yields (fault, times, outcome)."""
  runs = Runs(folder, epochs)
  yield 'kill -9 of training', times, kill_training(runs, times)
  few = max(1, times // 4)
  yield 'SIGTERM to training', few, terminate_training(runs, few)
  yield 'disk full during training', few, fill_disk(runs, few)
  for kind, name in (
    ('flip', 'one flipped bit in a checkpoint'),
    ('cut', 'a checkpoint file cut short'),
  ):
    yield name, damages, damage_checkpoints(runs, damages, kind)
  yield from corpus_faults.rows(folder, few)
  features = sorted(runs.whole().glob('generated/features/*.npy'))
  yield (
    'a service ended under load, by kill -9 and by SIGTERM', 2 * few,
    service_faults.kill_under_load(
      runs.whole(), [np.load(path) for path in features], few
    ),
  )  # fmt: skip
  readers = len(fuzz_readers.READERS)
  yield (
    f'malformed input, {readers} readers', readers * examples, fuzz(examples)
  )  # fmt: skip


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--times', type=int, default=20)
  parser.add_argument('--damages', type=int, default=200)
  parser.add_argument('--examples', type=int, default=1000)
  parser.add_argument('--output', help='JSON of the rows')
  options = parser.parse_args()
  found = []
  print('| fault | times | outcome |\n|---|---|---|')
  with tempfile.TemporaryDirectory() as folder:
    for row in rows(
      pathlib.Path(folder), options.times, options.damages, options.examples
    ):
      print('| ' + ' | '.join(str(x) for x in row) + ' |', flush=True)
      found.append(row)
  if options.output:
    pathlib.Path(options.output).write_text(json.dumps(found, indent=2))


if __name__ == '__main__':
  main()
