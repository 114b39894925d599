"""A trained model as serialized programs with symbolic batch and time."""

import jax
import jax.export
import jax.numpy as jnp

PLATFORMS = ('cpu', 'cuda', 'tpu')


def programs(trained) -> dict[str, bytearray]:
  """The model's functions, their parameters inside, serialized.

  Args:
    trained: a `corpus.Trained` on features, of the generator 'stage_runs'.

  Returns:
    'stages': features [b, t, d], mask [b, t] -> probabilities [b, t, 6],
    hidden [b, t, c]; 'evaluator', if there is one: hidden [window, c], starts
    [n], ends [n] -> scores [n].

  Raises:
    ValueError: for a model of another kind.
  """
  if trained.config.proposals.generator != 'stage_runs':
    raise ValueError(
      "only models with proposals.generator 'stage_runs' can be exported, got "
      f'{trained.config.proposals.generator!r}'
    )
  shape = trained.data['snippet_shape']
  if len(shape) != 1:
    raise ValueError(
      'only models on features can be exported, this one was trained on video'
    )
  params, model = trained.predictor.params, trained.predictor.model
  b, t = jax.export.symbolic_shape('b, t')
  found = {
    'stages': _serialized(
      lambda x, mask: tuple(model.stage_scores(params['stages'], x, mask)),
      jax.ShapeDtypeStruct((b, t, shape[0]), jnp.float32),
      jax.ShapeDtypeStruct((b, t), jnp.bool_),
    )
  }
  if 'evaluator' in params:
    width = trained.config.stages.width
    # RoI pooling builds a table as deep as the window is long.
    t = trained.config.windows.length
    (n,) = jax.export.symbolic_shape('n')
    found['evaluator'] = _serialized(
      lambda hidden, starts, ends: model.proposal_scores(
        params['evaluator'], hidden, starts, ends
      ),
      jax.ShapeDtypeStruct((t, width), jnp.float32),
      jax.ShapeDtypeStruct((n,), jnp.int32),
      jax.ShapeDtypeStruct((n,), jnp.int32),
    )
  return found


def _serialized(function, *specs):
  export = jax.export.export(jax.jit(function), platforms=PLATFORMS)
  return export(*specs).serialize()
