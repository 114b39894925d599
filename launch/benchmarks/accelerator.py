"""Suite 'accelerator': full-size work beside compiled torch, on one device.

The training step of the paper's chain from frames (configs/thumos14_c3d.py), the
evaluator on 500 proposals, and I3D's stream. An accelerator computes in
bfloat16 and is timed in wall seconds; a CPU takes a small setting of the same.
"""

import math
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from cmsn_jax.chains import protocol, registry
from cmsn_jax.data import opening
from cmsn_jax.features import extractor as extractor_lib
from cmsn_jax.features import i3d
from cmsn_jax.features.backbones import c3d, inception3d
from cmsn_jax.settings import features
from cmsn_jax.training import optimizer, parallel, steps

from . import c3d as c3d_benchmark
from . import interleaved, limits, torch_backbones

_SIDE = 112
_STAGES = 6


def run_accelerator(quick: bool = False) -> list[dict]:
  """Rows of the training step, the evaluator, and I3D.

  Args:
    quick: small sizes, few repetitions, as on a CPU.
  """
  small = quick or limits.on_cpu()
  rows = [training_step(32 if small else 768, small), evaluator(small)]
  chunks = (4,) if small else (4, 16, 64)
  return rows + [i3d_stream(chunk, small) for chunk in chunks]


def training_step(frames: int, small: bool = False) -> dict:
  """C3D, stage network, margin loss, gradients and update of one window.

  Args:
    frames: of the window.
    small: narrow layers, as for a CPU.
  """
  config = _config(frames, small)
  predictor = registry.predictor(config, {})
  step, state, batch = _step(config, predictor, frames)
  box = [state]

  def ours():
    box[0], metrics = step(box[0], batch, jax.random.key(0))
    jax.block_until_ready(metrics)

  theirs, reason = _torch_step(config, batch)
  row = interleaved.compare('accelerator', ours, theirs, 2 if small else 10)
  count = _step_flops(config, frames)
  row['work'] = (
    f'training step, C3D and stages, 1 x {frames} x {_SIDE} x {_SIDE}, '
    f'{config.train.dtype}'
  )
  compiled = 'torch' if limits.on_cpu() else 'compiled torch'
  row['alternative'] = compiled if theirs else f'torch: {reason}'
  row['note'] = '; '.join(
    part for part in (row['note'], limits.share(count / row['ours_s'])) if part
  )
  return row


def evaluator(small: bool = False) -> dict:
  """RoI pooling and the evaluator of the paper on 500 proposals of a window."""
  config = _config(768, small)
  networks = registry.predictor(config, {}).networks
  width = config.stages.width
  rng = np.random.default_rng(0)
  params = {'evaluator': networks.init_evaluator(jax.random.key(0), width)}
  hidden = jnp.asarray(rng.normal(size=(96, width)), jnp.float32)
  ends = np.sort(rng.integers(0, 96, (2, 500)), axis=0)
  starts, ends = jax.device_put(ends.astype(np.int32))
  run = jax.jit(networks.score)
  seconds = limits.seconds(lambda: run(params, hidden, starts, ends), 50)
  return {
    'suite': 'accelerator',
    'work': 'evaluator, 500 proposals of a window',
    'ours_s': seconds,
    'note': f'{config.train.dtype}, {500 / seconds:,.0f} proposals a second',
  }


def i3d_stream(chunk_snippets: int, small: bool = False) -> dict:
  """I3D of frames that are on the device, beside torch on whole windows.

  Args:
    chunk_snippets: of a call.
    small: few channels, 64 pixels.
  """
  section = features.i3d().features
  with section.unlocked():
    section.update(
      weights='random', width=0.125 if small else 1.0, crop=64 if small else 224,
      chunk_snippets=chunk_snippets,
      dtype='float32' if small else 'bfloat16',
    )  # fmt: skip
  made = i3d.build(section)
  shape = (chunk_snippets * made.stride, section.crop, section.crop, 3)
  frames = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
  params, frames = jax.device_put((made.params, frames))
  valid = jnp.ones(frames.shape[:2], bool)
  step = extractor_lib.jitted(made.stream.step, donate=(1,))
  box = [made.stream.init(shape[1:])]

  def ours():
    box[0], rows = step(params, box[0], frames, valid)
    jax.block_until_ready(rows)

  # Torch's network has one width.
  theirs, reason = (None, '') if small else _torch_i3d(frames)
  row = interleaved.compare('accelerator', ours, theirs, 2 if small else 10)
  row['work'] = (
    f'I3D stream, {section.dtype}, {shape[0]} frames of {section.crop} pixels '
    'a call'
  )
  row['alternative'] = 'torch' if theirs else reason and f'torch: {reason}'
  rate = shape[0] / row['ours_s']
  row['note'] = '; '.join(
    part
    for part in (
      row['note'],
      f'{rate:,.0f} frames a second, {rate / section.fps:,.0f} times real time',
    )
    if part
  )
  return row


def _config(frames, small):
  from configs import thumos14_c3d

  config = thumos14_c3d.get_config()
  config.windows.length = frames // c3d.STRIDE_FRAMES
  if not limits.on_cpu():
    config.train.dtype = 'bfloat16'
  if small:
    config.extractor.widths = (8, 16, 16, 16, 16)
    config.stages.width = config.stages.lstm_width = 32
    config.evaluator.hidden = 64
  return config.copy_and_resolve_references()


def _step(config, predictor, frames):
  """The compiled step, its first state, and a batch on the device."""
  with tempfile.TemporaryDirectory() as folder:
    # The windows are not used: any data give the phase its loss.
    data_config = config.copy_and_resolve_references()
    data_config.data.input = 'features'
    data_config.data.annotations = 'generated:4x120'
    data_config.data.exclude_labels = ()
    data = opening.open_data(data_config, pathlib.Path(folder))
    job = protocol.Job(
      config, data, predictor, 1, pathlib.Path(folder), lambda name: {}
    )
    phase = registry.load(config.chain).phase('stages', job)
  train = config.train
  tx = optimizer.create(
    train.optimizer, lambda step: train.learning_rate,
    weight_decay=train.weight_decay, momentum=train.momentum,
    clip_norm=train.clip_norm, frozen=phase.frozen,
  )  # fmt: skip
  length = config.windows.length
  params = predictor.networks.init_stages(
    jax.random.key(0), length, (c3d.STRIDE_FRAMES, _SIDE, _SIDE, 3)
  )
  state = parallel.replicate(steps.create_state(params, tx))
  rng = np.random.default_rng(0)
  devices = jax.local_device_count()
  batch = parallel.shard({
    'inputs': rng.integers(0, 256, (devices, frames, _SIDE, _SIDE, 3), np.uint8),
    'labels': rng.integers(0, _STAGES, (devices, length)).astype(np.int32),
    'mask': np.ones((devices, length), bool),
    'known': np.ones((devices, length), bool),
  })  # fmt: skip
  batch = jax.pmap(lambda x: x)(batch)
  step = parallel.parallel_step(steps.train_step, loss_fn=phase.loss_fn, tx=tx)
  return step, state, batch


def _step_flops(config, frames):
  """Multiplications and additions of a step, those of frozen layers once."""
  widths, stages = config.extractor.widths, config.stages
  counts = c3d_benchmark.layer_flops(frames, _SIDE, widths)
  learned = counts[config.extractor.frozen_layers :]
  # The first layer that learns sends no gradient on.
  total = sum(counts) + 2 * sum(learned) - sum(learned[:1])
  windows = [window for _, window in c3d.BLOCKS]
  f = frames // math.prod(window[0] for window in windows)
  side = _SIDE // math.prod(window[1] for window in windows)
  for width in (widths[-1], stages.width):
    total += 3 * 2 * 27 * width * stages.width * f * side * side
  wide = stages.lstm_width
  inputs = stages.width
  for _ in range(stages.lstm_layers):
    total += 3 * 2 * f * 2 * 4 * wide * (inputs + wide)
    inputs = 2 * wide
  return total


def _torch_step(config, batch):
  """The same layers in torch, with cross-entropy; and why there are none."""
  torch, device, reason = limits.torch_here()
  if reason:
    return None, reason
  on_gpu = device == 'cuda'
  net = _torch_network(config).to(device, memory_format=torch.channels_last_3d)
  learned = [p for p in net.parameters() if p.requires_grad]
  adam = torch.optim.Adam(learned, lr=1e-5, fused=True)
  frames = torch.tensor(np.asarray(batch['inputs'][0]), device=device)
  labels = torch.tensor(np.asarray(batch['labels'][0, 0]), device=device).long()

  def loss_of(frames):
    with torch.autocast(device, torch.bfloat16, enabled=on_gpu):
      x = frames.permute(0, 4, 1, 2, 3).float() - 97.0
      scores = net(x.contiguous(memory_format=torch.channels_last_3d))
    return torch.nn.functional.cross_entropy(scores.float(), labels)

  if on_gpu:
    loss_of = torch.compile(loss_of, dynamic=False)

  def run():
    adam.zero_grad(set_to_none=True)
    loss_of(frames).backward()
    adam.step()
    if on_gpu:
      torch.cuda.synchronize()

  return run, ''


def _torch_network(config):
  from torch import nn

  class Net(nn.Module):
    def __init__(self):
      super().__init__()
      stages, widths = config.stages, config.extractor.widths
      layers = c3d_benchmark.torch_layers(widths)
      convolutions = [x for x in layers if isinstance(x, nn.Conv3d)]
      for conv in convolutions[: config.extractor.frozen_layers]:
        conv.requires_grad_(False)
      for inputs in (widths[-1], stages.width):
        layers += [nn.Conv3d(inputs, stages.width, 3, padding=1), nn.ReLU()]
      self.convolutions = nn.Sequential(*layers)
      self.lstm = nn.LSTM(
        stages.width, stages.lstm_width, stages.lstm_layers, batch_first=True,
        bidirectional=True, dropout=stages.dropout,
      )  # fmt: skip
      self.head = nn.Linear(2 * stages.lstm_width, _STAGES)

    def forward(self, x):
      hidden = self.convolutions(x).amax((3, 4)).transpose(1, 2)
      return self.head(nn.functional.dropout(self.lstm(hidden)[0], 0.5))[0]

  return Net()


def _torch_i3d(frames):
  torch, device, reason = limits.torch_here()
  if reason:
    return None, reason
  layout = torch.channels_last_3d
  dtype = torch.bfloat16 if device == 'cuda' else torch.float32
  net = torch_backbones.I3D(inception3d.MIXED).eval()
  net = net.to(device, dtype, memory_format=layout)
  x = torch.tensor(np.asarray(frames), device=device).permute(0, 4, 1, 2, 3)

  def run():
    with torch.inference_mode():
      net((x.to(dtype) / 127.5 - 1).contiguous(memory_format=layout))
    if device == 'cuda':
      torch.cuda.synchronize()

  return run, ''
