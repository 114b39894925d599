"""Suite 'c3d': C3D's convolutions beside torch's channels_last_3d.

Both sides hold the same weights and get the same clip. On a CPU the times are
CPU seconds and torch runs on one thread, as it spins on more; the wall ratio is
in the note. On an accelerator they are wall seconds of bfloat16. Runs are
interleaved; the ratio is the median over the pairs. Peak memory is measured in
a process of its own for each side; there `ours_s` is bytes.
"""

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax import process_memory
from cmsn_jax.features import variables
from cmsn_jax.features.backbones import c3d

from . import interleaved, limits

_SIZE = 112


def run_c3d(quick: bool = False) -> list[dict]:
  """Rows of forward, forward + backward, peak memory and formulations.

  Args:
    quick: 16 frames instead of 96 (CPU) or 768 (accelerator), once.
  Returns:
    rows `{suite, work, ours_s, alternative, alternative_s, ratio, note}`.
  """
  frames = 16 if quick else 96 if limits.on_cpu() else 768
  repeats = 1 if quick else 3 if limits.on_cpu() else 10
  rows = run_size(frames, _SIZE, c3d.WIDTHS, repeats=repeats)
  rows += run_formulations(frames, _SIZE, c3d.WIDTHS, repeats=repeats)
  if limits.on_cpu():
    rows += run_memory(frames, _SIZE)
  return rows


def run_size(
  frames: int, size: int, widths: Sequence[int], *, repeats: int
) -> list[dict]:
  """Forward, and forward + backward, beside torch.

  Args:
    frames: of the clip, a multiple of 8.
    size: height and width.
    widths: of the five blocks.
    repeats: interleaved pairs.
  """
  model, params, clip = make(frames, size, widths)
  ours = jax_runs(model, params, clip)
  theirs, reason = torch_runs(params, clip)
  work = flops(frames, size, widths)
  rows = []
  for i, name in enumerate(('forward', 'forward + backward')):
    row = interleaved.compare('c3d', ours[i], theirs and theirs[i], repeats)
    # The first layer's input needs no gradient.
    count = work[0] if i == 0 else work[1]
    rate = limits.share(count / row['ours_s'])
    row['work'] = f'C3D 1 x {frames} x {size} x {size}, {name}'
    row['alternative'] = 'torch' if theirs else f'torch: {reason}'
    row['note'] = '; '.join(n for n in (reason, row['note'], rate) if n)
    rows.append(row)
  return rows


def run_formulations(
  frames: int, size: int, widths: Sequence[int], *, repeats: int
) -> list[dict]:
  """The formulation that this backend gets beside the other one."""
  model, params, clip = make(frames, size, widths)
  runs = {
    name: jax_runs(model.clone(formulation=name), params, clip)
    for name in ('concat2d', 'conv3d')
  }
  ours, other = (
    ('concat2d', 'conv3d') if limits.on_cpu() else ('conv3d', 'concat2d')
  )
  rows = []
  for i, name in enumerate(('forward', 'forward + backward')):
    row = interleaved.compare('c3d', runs[ours][i], runs[other][i], repeats)
    row['work'] = f'C3D 1 x {frames} x {size} x {size} as {ours}, {name}'
    row['alternative'] = f'as {other}'
    rows.append(row)
  return rows


def run_memory(frames: int, size: int) -> list[dict]:
  """Peak memory above that before the first run, in bytes."""
  rows = []
  for i, name in enumerate(('forward', 'forward + backward')):
    ours, theirs = (
      _peak_of(side, frames, size, i) for side in ('jax', 'torch')
    )
    known = isinstance(theirs, int)
    shown = f'ours {ours / 1e9:.2f} GB' + (
      f', torch {theirs / 1e9:.2f} GB' if known else ''
    )
    rows.append({
      'suite': 'c3d',
      'work': f'C3D 1 x {frames} x {size} x {size}, {name}, peak memory',
      'ours_s': None,
      'alternative': 'torch' if known else f'torch: {theirs}',
      'alternative_s': None,
      'ratio': ours / max(theirs, 1) if known else None,
      'note': shown,
    })  # fmt: skip
  return rows


def make(
  frames: int, size: int, widths: Sequence[int]
) -> tuple[c3d.C3D, Any, Any]:
  """(module, variables, clip [1, f, h, w, 3])."""
  dtype = jnp.float32 if limits.on_cpu() else jnp.bfloat16
  model = c3d.C3D(widths=tuple(widths), dtype=dtype)
  shape = (1, frames, size, size, 3)
  params = variables.random(model, jax.ShapeDtypeStruct(shape, jnp.float32))
  clip = np.random.default_rng(0).standard_normal(shape, np.float32)
  return model, jax.device_put(params), jax.device_put(clip)


def flops(frames: int, size: int, widths: Sequence[int]) -> tuple[int, int]:
  """Multiplications and additions of (forward, forward + backward)."""
  counts = layer_flops(frames, size, widths)
  return sum(counts), 3 * sum(counts) - counts[0]


def layer_flops(frames: int, size: int, widths: Sequence[int]) -> list[int]:
  """Multiplications and additions of each convolution, forward."""
  counts, last, f, side = [], 3, frames, size
  for (names, window), width in zip(c3d.BLOCKS, widths):
    for _ in names:
      counts.append(2 * 27 * last * width * f * side * side)
      last = width
    f, side = f // window[0], side // window[1]
  return counts


def jax_runs(model, params, clip) -> tuple[Callable, Callable]:
  """Our (forward, forward + backward)."""
  forward = jax.jit(model.apply)
  backward = jax.jit(
    jax.grad(lambda p, x: jnp.sum(model.apply(p, x).astype(jnp.float32) ** 2))
  )
  return (
    lambda: jax.block_until_ready(forward(params, clip)),
    lambda: jax.block_until_ready(backward(params, clip)),
  )


def torch_runs(params, clip):
  """Torch's (forward, forward + backward), and why there are none."""
  torch, device, reason = limits.torch_here()
  if reason:
    return None, reason
  net = torch_copy(params).to(device, memory_format=torch.channels_last_3d)
  # As channels_last_3d this is the array's own order.
  x = torch.tensor(np.asarray(clip), device=device).permute(0, 4, 1, 2, 3)

  def run(backward):
    with torch.autocast(device, torch.bfloat16, enabled=device == 'cuda'):
      with torch.set_grad_enabled(backward):
        outputs = net(x)
    if backward:
      net.zero_grad(set_to_none=True)
      outputs.float().square().sum().backward()
    if device == 'cuda':
      torch.cuda.synchronize()
    return outputs

  return (lambda: run(False), lambda: run(True)), ''


def torch_copy(params):
  """Torch's layers with the weights of a `C3D`."""
  import torch

  params = params['params']
  widths = [params[names[-1]]['bias'].shape[0] for names, _ in c3d.BLOCKS]
  net = torch.nn.Sequential(*torch_layers(widths))
  convolutions = [x for x in net if isinstance(x, torch.nn.Conv3d)]
  for conv, name in zip(convolutions, c3d.LAYERS, strict=True):
    kernel = np.asarray(params[name]['kernel']).transpose(4, 3, 0, 1, 2)
    with torch.no_grad():
      conv.weight.copy_(torch.tensor(kernel))
      conv.bias.copy_(torch.tensor(np.asarray(params[name]['bias'])))
  return net


def torch_layers(widths: Sequence[int]) -> list[Any]:
  """Torch's layers of a C3D with these widths, in order, random weights."""
  from torch import nn

  layers, last = [], 3
  for (names, window), width in zip(c3d.BLOCKS, widths):
    for _ in names:
      layers += [nn.Conv3d(last, width, 3, padding=1), nn.ReLU(inplace=True)]
      last = width
    if max(window) > 1:
      layers.append(nn.MaxPool3d(window))
  return layers


def print_peak(side: str, frames: int, size: int, which: int) -> None:
  """Prints the peak memory of one run of one side, for `run_memory`."""
  model, params, clip = make(frames, size, c3d.WIDTHS)
  if side == 'jax':
    runs, reason = jax_runs(model, params, clip), ''
  else:
    runs, reason = torch_runs(params, clip)
  before = _resident()
  if runs:
    runs[which]()
  print(json.dumps(reason or process_memory.peak_bytes() - before))


def _resident() -> int:
  """Bytes now; where the system can, the peak begins anew from here."""
  try:
    pathlib.Path('/proc/self/clear_refs').write_text('5')
  except OSError:
    return process_memory.peak_bytes()
  return process_memory.resident_bytes()


def _peak_of(side, frames, size, which) -> int | str:
  code = (
    'from launch.benchmarks import c3d; '
    f'c3d.print_peak({side!r}, {frames}, {size}, {which})'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  return json.loads(done.stdout.splitlines()[-1])
