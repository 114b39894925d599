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
  config = _CONFIG.value
  show = _template if config.proposals.generator == 'stage_template' else _paper
  show(config)
  return 0


def _paper(config):
  """The networks of Sec. 3.1 and 3.3."""
  import jax
  import jax.numpy as jnp

  from cmsn_jax import flops
  from cmsn_jax.chains.paper import networks as model_lib

  model = model_lib.build(config)
  inputs, mask = _window(config)
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
  _print_layers(trees)
  number = flops.count(model.stage_scores, trees['stages'], inputs, mask)
  _print_flops(
    f'window {inputs.shape} -> stages (1, {mask.shape[1]}, 6)', number
  )
  if model.evaluator is not None:
    apply = lambda params, rois: model.evaluator.apply({'params': params}, rois)
    number = flops.count(apply, trees['evaluator'], rois)
    _print_flops('proposal -> score', number)


def _template(config):
  """The members of the template chain."""
  import jax
  import jax.numpy as jnp

  from cmsn_jax import flops
  from cmsn_jax.chains.template import networks

  members = networks.Members(networks.build(config))
  inputs, mask = _window(config)
  number = config.joint.members
  stacked = jax.eval_shape(
    lambda: networks.init_members(
      members.model, jax.random.key(0), number, *inputs.shape[1:]
    )
  )
  one = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), stacked
  )
  _print_layers({'member': one})
  if config.joint.action_weight and not config.joint.num_actions:
    print(
      'without the head of the actions, which the labels decide: '
      '--config.joint.num_actions=N shows it'
    )
  print(f'{number} members, together averaged; below are all of them')
  _print_flops(
    f'window {inputs.shape} -> stages (1, {mask.shape[1]}, 6)',
    flops.count(members.encode, stacked, inputs, mask),
  )
  pooled = jax.eval_shape(members.encode, stacked, inputs, mask)
  pooled = jax.ShapeDtypeStruct((number, *pooled.shape[2:]), jnp.float32)
  segment = jax.ShapeDtypeStruct((1, 2), jnp.float32)
  _print_flops(
    'proposal -> scores and border offsets',
    flops.count(members.evaluate, stacked, pooled, segment),
  )


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
  if config.data.per_video_features:
    width *= 2
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


def _zeros(spec):
  import jax.numpy as jnp

  return jnp.zeros(spec.shape, spec.dtype)


if __name__ == '__main__':
  cli.run(main)
