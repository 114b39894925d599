r"""Prints the layers of a config's model: shapes, parameters, FLOPs a window.

python -m launch.inspect --config=configs/thumos14_c3d.py
python -m launch.inspect --config=configs/custom.py --feature_dim=50
"""

from absl import flags
from ml_collections import config_flags

from launch import cli

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The model; see configs/.', lock_config=True
)
_FEATURE_DIM = flags.DEFINE_integer(
  'feature_dim', 400, 'Features a snippet (input "features").', 1
)


def main(argv):
  """Prints."""
  del argv
  import flax.traverse_util
  import jax
  import jax.numpy as jnp

  from cmsn_jax import model as model_lib
  from cmsn_jax.features import c3d

  cli.require(config=_CONFIG.value)
  config = _CONFIG.value
  model = model_lib.build(config)
  length = config.windows.length
  shape = (_FEATURE_DIM.value,)
  inputs = jax.ShapeDtypeStruct((1, length, *shape), jnp.float32)
  if config.data.input == 'video':
    shape = (c3d.STRIDE_FRAMES, *config.video.crop, 3)
    frames = (1, length * shape[0], *shape[1:])
    inputs = jax.ShapeDtypeStruct(frames, jnp.uint8)
  mask = jax.ShapeDtypeStruct((1, length), jnp.bool_)
  key = jax.random.key(0)
  # Shapes only: no parameter is made, so the full size fits any machine.
  trees = {
    'stages': jax.eval_shape(
      lambda: model.stages.init(key, _zeros(inputs), _zeros(mask))['params']
    )
  }
  if model.evaluator is not None:
    rois = jnp.zeros((1, model.roi_bins, config.stages.width))
    trees['evaluator'] = jax.eval_shape(
      lambda: model.evaluator.init(key, rois)['params']
    )
  flat = flax.traverse_util.flatten_dict(trees, sep='/')
  rows = [(path, str(leaf.shape), leaf.size) for path, leaf in flat.items()]
  wide = max(len(path) for path, _, _ in rows)
  for path, text, size in rows:
    print(f'{path:<{wide}}  {text:<24}{size:>14,}')
  print(f'{"parameters":<{wide}}  {"":<24}{sum(s for *_, s in rows):>14,}')
  cost = (
    jax.jit(model.stage_scores)
    .lower(trees['stages'], inputs, mask)
    .cost_analysis()
  )
  print(
    f'window {inputs.shape} -> stages (1, {length}, 6): '
    f'{cost["flops"] / 1e9:,.2f} GFLOP forward, without the evaluator'
  )
  return 0


def _zeros(spec):
  import jax.numpy as jnp

  return jnp.zeros(spec.shape, spec.dtype)


if __name__ == '__main__':
  cli.run(main)
