"""Suite 'backbones': optical flow, backbones beside torch, memory of a stream.

Backbones run random weights, the same layers and sizes on both sides. On CPU
the times are CPU seconds (wall times of a shared machine say little), on an
accelerator wall seconds against torch on the same device where torch sees one.
Runs are interleaved; the ratio is the median over the pairs.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax import process_memory
from cmsn_jax.features import extractor, packing, variables
from cmsn_jax.features.backbones import bn_inception, inception3d, resnet

from . import torch_backbones

_SIZE = 224
_FLOW_SIZE = (256, 340)


def run_backbones(quick: bool = False) -> list[dict]:
  """Rows of flow, forward passes, and the memory of a long stream.

  Args:
    quick: one repetition, fewer frames, no ResNet-200.
  Returns:
    rows `{suite, work, ours_s, alternative, alternative_s, ratio, note}`.
  """
  rows = _flow(quick)
  rows.append(_backbone(*_bn_inception(), images=8, quick=quick))
  rows.append(_backbone(*_resnet(50), images=8, quick=quick))
  if not quick:
    rows.append(_backbone(*_resnet(200), images=4, quick=quick))
  rows.append(_i3d(32 if quick else 64, quick))
  rows.append(stream_memory(300 if quick else 3600))
  return rows


def _row(work, seconds, note=''):
  return {
    'suite': 'backbones',
    'work': work,
    'ours_s': seconds,
    'alternative': None,
    'alternative_s': None,
    'ratio': None,
    'note': note,
  }


def _clock():
  if jax.default_backend() == 'cpu':
    return time.process_time
  return time.perf_counter


def _flow(quick):
  try:
    from cmsn_jax.video import flow

    flow.choose('dis')
  except ModuleNotFoundError as error:
    return [_row('optical flow', None, str(error))]
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (*_FLOW_SIZE, 3), np.uint8)
  # Coarse texture moves; white noise would not be typical.
  noise = np.kron(noise[::8, ::10], np.ones((8, 10, 1), np.uint8))
  frames = np.stack([np.roll(noise, 2 * k, 1) for k in range(33)])
  rows = []
  for method, count in (('dis', 32), ('tvl1', 2 if quick else 4)):
    try:
      flow.choose(method)
    except ValueError as error:
      rows.append(_row(f'flow, {method}', None, str(error)))
      continue
    some = frames[: count + 1]
    start, wall = time.process_time(), time.perf_counter()
    list(flow.stream([some], method=method))
    cpu, wall = time.process_time() - start, time.perf_counter() - wall
    height, width = _FLOW_SIZE
    rows.append(
      _row(
        f'flow, {method}, {width} x {height}, {count} fields',
        cpu,
        f'{count / cpu:.3g} fields per CPU second, {count / wall:.3g} per '
        'second of this run',
      )
    )
  return rows


def _bn_inception():
  return (
    'BN-Inception, 10 channels',
    bn_inception.BNInception(),
    lambda: torch_backbones.BNInception(),
    10,
  )


def _resnet(depth):
  blocks = resnet.DEPTHS[depth]
  return (
    f'ResNet-{depth}',
    resnet.ResNet(blocks),
    lambda: torch_backbones.ResNet(blocks),
    3,
  )


def _backbone(name, module, make_torch, channels, *, images, quick):
  rng = np.random.default_rng(0)
  shape = (images, _SIZE, _SIZE, channels)
  x = rng.standard_normal(shape, np.float32)
  params = variables.random(module, jax.ShapeDtypeStruct(shape, jnp.float32))
  row = _compare(
    lambda p, x: module.apply(p, x), (params, x), make_torch, x, quick
  )
  row['work'] = f'{name}, {images} x {_SIZE} x {_SIZE}, forward'
  row['note'] += f'; {images / row["ours_s"]:.3g} images/s'
  return row


def _i3d(frames, quick):
  module = inception3d.I3D()
  rng = np.random.default_rng(0)
  x = rng.uniform(-1, 1, (1, frames, _SIZE, _SIZE, 3)).astype(np.float32)
  valid = jnp.ones((1, frames), bool)
  shapes = (
    jax.ShapeDtypeStruct((1, 8, 32, 32, 3), jnp.float32),
    jax.ShapeDtypeStruct((1, 8), jnp.bool_),
  )
  params = variables.random(module, *shapes)
  row = _compare(
    lambda p, x: module.apply(p, x, valid),
    (params, x),
    lambda: torch_backbones.I3D(inception3d.MIXED),
    x,
    quick,
  )
  row['work'] = f'I3D RGB, 1 x {frames} x {_SIZE} x {_SIZE}, forward'
  row['note'] += f'; {frames / row["ours_s"]:.3g} frames/s'
  return row


def _compare(apply, arguments, make_torch, x, quick):
  """A row with both sides' medians; torch's part is empty without torch."""
  run = jax.jit(apply)
  arguments = jax.device_put(arguments)
  ours = lambda: jax.block_until_ready(run(*arguments))
  ours()
  theirs, name = _torch_run(make_torch, x)
  clock, pairs = _clock(), []
  for _ in range(1 if quick else 5):
    pairs.append((_timed(ours, clock), theirs and _timed(theirs, clock)))
  row = _row('', statistics.median(mine for mine, _ in pairs))
  row['alternative'] = name
  if theirs is None:
    row['note'] = 'torch is not installed'
    return row
  ratios = [mine / other for mine, other in pairs]
  row['alternative_s'] = statistics.median(other for _, other in pairs)
  row['ratio'] = statistics.median(ratios)
  row['note'] = f'ratios {min(ratios):.2f}-{max(ratios):.2f}'
  return row


def _torch_run(make_torch, x):
  """Returns (a run of torch's forward pass or None, its name)."""
  torch = torch_backbones.torch
  if torch is None:
    return None, None
  on_gpu = jax.default_backend() == 'gpu' and torch.cuda.is_available()
  device = 'cuda' if on_gpu else 'cpu'
  # More threads spin while they wait, which would count as work.
  torch.set_num_threads(1)
  layout = torch.channels_last_3d if x.ndim == 5 else torch.channels_last
  module = make_torch().eval().to(device, memory_format=layout)
  axes = (0, x.ndim - 1, *range(1, x.ndim - 1))
  inputs = torch.from_numpy(x.transpose(axes).copy())
  inputs = inputs.to(device, memory_format=layout)

  def run():
    with torch.inference_mode():
      module(inputs)
    if on_gpu:
      torch.cuda.synchronize()

  run()
  return run, f'torch {torch.__version__}, channels last, {device}, 1 thread'


def _timed(run, clock):
  start = clock()
  run()
  return max(clock() - start, 1e-9)


def stream_memory(seconds: int) -> dict:
  """A long stream through an extractor with a halo: does memory grow?

  The network is a mere mean, so that what is measured is our own buffering;
  a real one adds a constant.

  Args:
    seconds: of video at 25 frames a second, 128 x 171 pixels.
  """
  made = extractor.Extractor(
    name='mean',
    modality='rgb',
    apply=lambda params, frames, valid: (
      frames[:, ::8].astype(jnp.float32).mean((2, 3))
    ),
    params={},
    dim=3,
    fps=25.0,
    stride=8,
    resize=(128, 171),
    halo_frames=48,
    chunk_snippets=32,
  )
  num_frames = seconds * 25
  chunk = np.zeros((64, 128, 171, 3), np.uint8)
  early, rows = None, 0

  def chunks():
    for start in range(0, num_frames, len(chunk)):
      yield chunk[: num_frames - start].copy()

  start = time.process_time()
  for piece in packing.iterate(made, chunks()):
    rows += len(piece)
    if early is None and rows * 8 > num_frames // 10:
      early = _peak_mb()
  spent = time.process_time() - start
  assert rows == -(-num_frames // 8)
  return _row(
    f'stream of {seconds / 60:.0f} minutes through the extractor interface',
    spent,
    f'peak memory {early:.0f} MB after a tenth, {_peak_mb():.0f} MB at the '
    f'end; {num_frames / spent:,.0f} frames/s',
  )


def _peak_mb() -> float:
  return process_memory.peak_bytes() / 1e6
