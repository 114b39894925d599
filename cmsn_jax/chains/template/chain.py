"""The template chain: every start and duration, scored in its context.

Stages and evaluator are trained in one phase; several members are averaged.
"""

import math

import ml_collections

from cmsn_jax.chains import protocol
from cmsn_jax.chains.template import derive as derive_lib
from cmsn_jax.chains.template import joint_phase, student_phase
from cmsn_jax.chains.template import networks as networks_lib
from cmsn_jax.chains.template import predictor as predictor_lib
from cmsn_jax.chains.template import programs as programs_lib
from cmsn_jax.stages import dilated

READS = (
  'template', 'windows.length', 'windows.overlap', 'windows.require_instance',
  'windows.time_stretch', 'windows.channel_drop', 'windows.noise',
  'windows.scale', 'stages.loss', 'stages.scale', 'stages.lmcl_margin',
  'stages.margin_m', 'stages.margin_n', 'stages.margin_form', 'nms',
  'train.frozen',
)  # fmt: skip
AT_INFERENCE = (
  'template.slow_stages', 'template.slow_features',
  'template.clear_weight', 'template.border_error', 'template.temper',
  'template.doubt_snippets', 'template.per_snippet',
  'template.different_per_snippet', 'template.mend_per_snippet',
  'template.keep_per_snippet', 'template.clear_candidates',
  'template.most_per_snippet', 'template.most_at_least', 'nms',
)  # fmt: skip

derive = derive_lib.derive
networks = networks_lib.build
predictor = predictor_lib.Predictor
programs = programs_lib.programs

_PHASES = {'joint': joint_phase.joint, 'student': student_phase.student}


def phases(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """The members together, then the student that stands for them."""
  return ('joint', 'student') if config.template.student_steps else ('joint',)


def problems(config: ml_collections.ConfigDict) -> list[str]:
  """What cannot be in a config."""
  found = []
  if config.data.input != 'features':
    found.append(
      "config.chain 'template' learns from features, config.data.input is "
      f'{config.data.input!r}; extract features with launch.extract_features, '
      "or take the chain 'paper'"
    )
  batch, members = config.train.batch_per_device, config.template.members
  if members > 0 and batch % members:
    found.append(
      f'config.train.batch_per_device must be divisible by the {members} of '
      f'template.members, got {batch}'
    )
  honest = config.template.honest_weight
  if honest and not 1 <= honest < math.inf:
    found.append(
      'config.template.honest_weight must be 0 (from the data) or a number from 1 '
      f'on, got {honest}'
    )
  for key in ('slow_stages', 'slow_features'):
    slowness = config.template[key]
    if slowness and not 1 <= slowness <= 4:
      found.append(
        f'config.template.{key} must be 0 (from the data) or within [1, 4], got '
        f'{slowness}'
      )
  if config.nms.method == 'none':
    found.append(
      "config.nms.method 'none' would keep thousands of near copies in the "
      "chain 'template'; take 'threshold', 'soft' or 'greedy'"
    )
  reach = dilated.reach(tuple(config.template.dilations))
  if 2 * reach >= predictor_lib.PIECE:
    found.append(
      f'config.template.dilations reach {reach} snippets to either side, they '
      f'must stay below {predictor_lib.PIECE // 2}'
    )
  return found


def phase(name: str, job: protocol.Job) -> protocol.Phase:
  """One of `phases`."""
  return _PHASES[name](job)
