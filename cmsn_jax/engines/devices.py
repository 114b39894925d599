"""What this machine computes on, looked up without taking hold of it."""

import hashlib
import importlib.util
import os
import pathlib
import platform
import re
import subprocess

import jax


def gpus() -> list[str]:
  """NVIDIA GPUs that jax would use, as `CUDA_VISIBLE_DEVICES` names them.

  Nothing is initialised: a process that hands GPUs to others must not hold
  memory on them.
  """
  platforms = jax.config.jax_platforms or os.environ.get('JAX_PLATFORMS') or ''
  if platforms and not set(platforms.split(',')) & {'cuda', 'gpu'}:
    return []
  plugins = ('jax_cuda12_plugin', 'jax_cuda13_plugin')
  if not any(importlib.util.find_spec(name) for name in plugins):
    return []
  visible = os.environ.get('CUDA_VISIBLE_DEVICES')
  if visible is not None:
    names = [name.strip() for name in visible.split(',')]
    return (
      names[: names.index('-1')] if '-1' in names else [*filter(None, names)]
    )
  try:
    listed = subprocess.run(
      ['nvidia-smi', '-L'], capture_output=True, text=True, timeout=60
    ).stdout
  except (OSError, subprocess.TimeoutExpired):
    return []
  return re.findall(r'^GPU (\d+):', listed, re.MULTILINE)


def keep_compiled() -> None:
  """Keeps compiled programs between runs, unless the user set a place.

  The folder is named by the processor's features: a home directory may be
  shared by machines that cannot run each other's programs.
  """
  if not jax.config.jax_compilation_cache_dir:
    base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    folder = pathlib.Path(base) / 'cmsn_jax' / f'xla-{_processor()}'
    jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def _processor():
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    found = next(line for line in lines if line.startswith(('flags', 'Feat')))
  except (OSError, StopIteration):
    found = platform.processor()
  text = f'{platform.machine()} {found}'
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def own_environment(
  cores: int, gpu: str = '', sharing: int = 1
) -> dict[str, str]:
  """Variables of a worker's process, to be set before it imports jax.

  Args:
    cores: that it may compute on; 0: all.
    gpu: as `CUDA_VISIBLE_DEVICES` names it; '': none.
    sharing: workers on this GPU.
  """
  found = {}
  if cores:
    # XLA's pool of threads, and those of OpenMP.
    found |= {'NPROC': str(cores), 'OMP_NUM_THREADS': str(cores)}
  if gpu:
    found['CUDA_VISIBLE_DEVICES'] = gpu
    if sharing > 1:
      found['XLA_PYTHON_CLIENT_MEM_FRACTION'] = f'{0.9 / sharing:.3f}'
  else:
    found['JAX_PLATFORMS'] = 'cpu'
  return found
