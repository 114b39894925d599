r"""Prints the layers of a config's model: shapes, parameters, FLOPs a window.

    python -m launch.inspect --config=configs/thumos14_c3d.py
    python -m launch.inspect --config=configs/custom.py --feature_dim=50

FLOPs are those of matrix products and convolutions, two a multiply-add.
"""

from absl import flags
from ml_collections import config_flags

from . import cli

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The model; see configs/.', lock_config=True
)
_FEATURE_DIM = flags.DEFINE_integer(
  'feature_dim', 400, 'Features a snippet (input "features").', 1
)


def main(argv):
  """Prints."""
  del argv
  cli.require(config=_CONFIG.value)
  from cmsn_jax import flops
  from cmsn_jax.chains import registry

  config = _CONFIG.value
  chain = registry.load(config.chain)
  networks = chain.networks(config)
  inputs, mask = _window(config)
  # Shapes only: no parameter is made, so the full size fits any machine.
  params = networks.shapes(_snippet_shape(inputs, mask))
  _print_layers(params)
  found = chain.programs(
    config, networks, params, (inputs, mask), (mask.shape[1], 1)
  )
  for program in found.functions.values():
    number = flops.count(program.function, params, *program.specs)
    _print_flops(program.text, number)
  return 0


def _snippet_shape(inputs, mask):
  """(d,) of features, (stride, h, w, 3) of frames."""
  stride = inputs.shape[1] // mask.shape[1]
  shape = inputs.shape[2:]
  return shape if len(shape) == 1 else (stride, *shape)


def _window(config):
  """Shapes of one window's snippets and of its mask."""
  import jax
  import jax.numpy as jnp

  from cmsn_jax.features.backbones import c3d

  length = config.windows.length
  mask = jax.ShapeDtypeStruct((1, length), jnp.bool_)
  if config.data.input == 'video':
    stride = c3d.STRIDE_FRAMES
    frames = (1, length * stride, *config.video.crop, 3)
    return jax.ShapeDtypeStruct(frames, jnp.uint8), mask
  width = _FEATURE_DIM.value
  if config.data.pool_deviation and config.data.pool != 1:
    width *= 2  # Means and deviations of the rows that make a snippet.
  return jax.ShapeDtypeStruct((1, length, width), jnp.float32), mask


def _print_layers(trees):
  import flax.traverse_util

  flat = flax.traverse_util.flatten_dict(trees, sep='/')
  rows = [(path, str(leaf.shape), leaf.size) for path, leaf in flat.items()]
  wide = max(len(path) for path, _, _ in rows)
  for path, text, size in rows:
    print(f'{path:<{wide}}  {text:<24}{size:>14,}')
  print(f'{"parameters":<{wide}}  {"":<24}{sum(s for *_, s in rows):>14,}')


def _print_flops(what, number):
  unit, name = (1e9, 'GFLOP') if number >= 1e8 else (1e6, 'MFLOP')
  print(f'{what}: {number / unit:,.2f} {name} forward')


if __name__ == '__main__':
  cli.run(main)
