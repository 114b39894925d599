r"""Suite 'scaling': the train step on more devices, and what a checkpoint costs.

The stage step of configs/rat_social.py at 8 windows a device (weak scaling).
Devices are simulated on the CPU, each number in a process of its own; they
share its cores, so that times are CPU seconds: an example costs as much as on
one device, plus what the devices cost each other; and the share that the sum
over devices takes. How the wall time scales, simulated devices cannot tell. On
real devices times are wall seconds:

    CUDA_VISIBLE_DEVICES=0,1 python -m launch.benchmarks.scaling 0
"""

import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

_DEVICES = (1, 2, 4, 8)


def run_scaling(quick: bool = False) -> list[dict]:
  """Rows of the step and its all-reduce by devices, and of a checkpoint.

  Args:
    quick: 1 and 2 devices, few repetitions.
  Returns:
    rows `{suite, work, ours_s, note}`.
  """
  rows = []
  for devices in _DEVICES[:2] if quick else _DEVICES:
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
    found = subprocess.run(
      [sys.executable, '-m', __name__, str(devices), '1' if quick else '7'],
      env=environment,
      stdout=subprocess.PIPE,
      text=True,
      check=True,
    )
    rows += json.loads(found.stdout.splitlines()[-1])
  first = rows[0]['ours_s'] / rows[0]['examples']
  for row in rows:
    if 'examples' in row:
      each = row['ours_s'] / row['examples']
      row['note'] = (
        f'{each * 1e3:.1f} ms an example, {each / first:.2f} times that on 1 '
        f'device; {row["note"]}'
      )
  return rows


def measure(repeats: int) -> list[dict]:
  """Rows of this process's devices; with one, those of the checkpoint too.

  Args:
    repeats: medians are over so many.
  """
  import jax

  from cmsn_jax.training import parallel

  step, state, batch = _training_step()
  key = jax.random.key(0)
  # What is summed: gradients, as many numbers as there are parameters.
  total = jax.pmap(
    lambda x, _: jax.lax.psum(x, parallel.AXIS),
    axis_name=parallel.AXIS,
    in_axes=(None, 0),
    out_axes=None,
  )
  count = sum(x.size for x in jax.tree.leaves(state.params))
  clock = _clock()
  times = [], []
  for _ in range(repeats + 2):
    start = clock()
    state, _ = step(state, batch, key)
    jax.block_until_ready(state)
    between = clock()
    jax.block_until_ready(total(state.params, batch['mask']))
    times[0].append(between - start)
    times[1].append(clock() - between)
  # The first two compile.
  whole, summing = (statistics.median(t[2:]) for t in times)
  examples = batch['mask'].shape[0] * batch['mask'].shape[1]
  row = {
    'suite': 'scaling',
    'work': f'stage step, {jax.device_count()} devices, {examples} windows',
    'ours_s': whole,
    'examples': examples,
    'note': (
      f'the sum of {count:,} gradients {summing * 1e3:.1f} ms, '
      f'{summing / whole:.1%} of the step'
    ),
  }
  if jax.device_count() > 1:
    return [row]
  return [
    row,
    _checkpoint_row(functools.partial(_steps, step, batch, key), state, repeats),
  ]  # fmt: skip


def _clock():
  import jax

  on_cpu = jax.default_backend() == 'cpu'
  return time.process_time if on_cpu else time.perf_counter


def _steps(step, batch, key, state, count):
  import jax

  for _ in range(count):
    state, _ = step(state, batch, key)
  jax.block_until_ready(state)
  return state


def _checkpoint_row(steps, state, repeats, count=10):
  """What a save costs the steps during which it is written."""
  from cmsn_jax.runs import checkpoints

  calls, plain, walls, cpus = [], [], [], []
  with tempfile.TemporaryDirectory() as folder:
    manager = checkpoints.Checkpoints(pathlib.Path(folder) / 'resume')
    for number in range(repeats + 1):
      spent = []
      for saves in (False, True):
        start, cpu = time.perf_counter(), time.process_time()
        if saves:
          manager.save(number, state, {})
          calls.append(time.perf_counter() - start)
        state = steps(state, count)
        wall = time.perf_counter() - start
        manager.wait()
        spent.append((wall, time.process_time() - cpu))
      plain.append(spent[0][0] / count)
      walls.append(spent[1][0] - spent[0][0])
      cpus.append(spent[1][1] - spent[0][1])
    size = sum(p.stat().st_size for p in manager.directory.rglob('*'))
    kept = len(manager.steps())
    manager.close()
  call, step_sec, wall, cpu = (
    statistics.median(x[1:]) for x in (calls, plain, walls, cpus)
  )
  return {
    'suite': 'scaling',
    'work': f'one checkpoint of {size / kept / 1e6:.1f} MB while training',
    'ours_s': wall,
    'note': (
      f'wall time that {count} steps take longer beside it: '
      f'{wall / step_sec:.0%} of a step ({step_sec * 1e3:.0f} ms); the call '
      f'itself {call / step_sec:.0%}; CPU time {cpu * 1e3:.0f} ms'
    ),
  }


def _training_step():
  """The compiled stage step, its first state and one batch."""
  import jax
  import optax

  from cmsn_jax.chains import protocol, registry
  from cmsn_jax.data import opening
  from cmsn_jax.data import windows as windows_lib
  from cmsn_jax.training import parallel, steps
  from configs import rat_social

  config = rat_social.get_config()
  config.data.annotations = 'generated:8x600'
  config.data.feature_fps = 0.0
  with tempfile.TemporaryDirectory() as folder:
    data = opening.open_data(config, pathlib.Path(folder))
    size = config.train.batch_per_device * jax.device_count()
    job = protocol.Job(
      config,
      data,
      registry.predictor(config, {}),
      size,
      pathlib.Path(folder),
      lambda name: {},
    )
    phase = registry.load(config.chain).phase('stages', job)
    tx = optax.adam(1e-4)
    state = jax.device_get(
      steps.create_state(phase.init(jax.random.key(0)), tx)
    )
    loader = windows_lib.WindowLoader(
      phase.prepare(), phase.windows, batch_size=size, seed=0
    )
    batch = loader.batch(0)
  batch.pop('window')
  step = parallel.parallel_step(steps.train_step, loss_fn=phase.loss_fn, tx=tx)
  return step, state, parallel.shard(batch)


def main(devices: int, repeats: int) -> None:
  """Prints the rows as JSON."""
  if devices:
    import jax

    jax.config.update('jax_num_cpu_devices', devices)
  from .. import cli

  cli.use_compilation_cache()
  print(json.dumps(measure(repeats)))


if __name__ == '__main__':
  main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7)
